#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Client and backend for the corpus of tests/conformance/http1, run in the peers' namespace by test_http1_corpus.py.

Cases run side by side, each slot with an address of its own: the last element
of X-Forwarded-For tells the backend whose request it has. Both ends are strict:
what a lenient reader would mend is a failure of the case.
"""
import asyncio
import json
import pathlib
import random
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance" / "http1"))
import corpus  # noqa: E402

WAIT = 5.0  # how long a peer is given before its silence counts; nothing is measured by it
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.1")
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [\t\x20-\x7e\x80-\xff]*")
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*")
PROBE = b"GET /corpus-probe HTTP/1.1\r\nHost: probe\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Bad(Exception):
    """What came is not strictly HTTP/1.1."""


class Cut(Exception):
    """The connection ended within a message."""


class Message:
    """A message that was read: first (a match), fields [(name in lower case, value)], body."""

    def __init__(self, first, fields):
        self.first, self.fields, self.body = first, fields, b""

    def values(self, name):
        return [v for n, v in self.fields if n == name]


async def read_head(reader, first_line):
    """None at an orderly end."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as e:
        if e.partial:
            raise Cut("within a head") from None
        return None
    except ConnectionError:
        return None
    lines = raw[:-4].split(b"\r\n")
    first = first_line.fullmatch(lines[0])
    fields = [FIELD.fullmatch(line) for line in lines[1:]]
    if not first or not all(fields):
        raise Bad(f"head {raw[:300]!r}")
    return Message(first, [(f[1].lower(), f[2]) for f in fields])


async def read_chunked(reader):
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}\r\n", line):
            raise Bad(f"chunk size {line!r}")
        n = int(line, 16)
        if n == 0:
            if await reader.readexactly(2) != b"\r\n":
                raise Bad("trailers, which Weir drops")
            return body
        body += await reader.readexactly(n)
        if await reader.readexactly(2) != b"\r\n":
            raise Bad("no CRLF behind a chunk")


async def read_body(reader, m, is_response):
    lengths, codings = m.values(b"content-length"), m.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Bad(f"framing {lengths} {codings}")
    try:
        if codings:
            if codings != [b"chunked"]:
                raise Bad(f"Transfer-Encoding {codings}")
            m.body = await read_chunked(reader)
        elif lengths:
            if not lengths[0].isdigit():
                raise Bad(f"Content-Length {lengths}")
            m.body = await reader.readexactly(int(lengths[0]))
        elif is_response:
            m.body = await reader.read()
    except (asyncio.IncompleteReadError, ConnectionError):
        raise Cut("within a body") from None
    return m


class Slot:
    """What the backend is told of a case, and what it saw."""

    def __init__(self):
        self.address = None

    def begin(self, case):
        self.case, self.seen, self.problems, self.n_answered = case, [], [], 0

    def answer(self):
        if not self.case.server:
            return OK, False
        i = min(self.n_answered, len(self.case.server) - 1)
        self.n_answered += 1
        return self.case.server[i], self.case.server_closes


class Backend:
    def __init__(self, slots):
        self.slots, self.strays = slots, []

    async def serve(self, reader, writer):
        try:
            await self.serve_all(reader, writer)
        except (Cut, ConnectionError):
            pass  # Weir gives a request up like this when its body turns out to be wrong
        finally:
            writer.close()

    async def serve_all(self, reader, writer):
        slot = None
        while True:
            try:
                m = await read_head(reader, REQUEST_LINE)
                if not m:
                    return
                by = (m.values(b"x-forwarded-for") or [b""])[-1].rpartition(b" ")[2].decode("latin1")
                slot = self.slots.get(by)
                await read_body(reader, m, False)
            except Bad as e:
                (slot.problems if slot else self.strays).append(f"the backend got {e}")
                return
            if not slot:
                self.strays.append(f"a request of nobody: {m.first[0]!r} {m.fields}")
                return
            if m.first[2] == b"/corpus-probe":
                writer.write(OK)
                continue
            slot.seen.append(m)
            data, closes = slot.answer()
            writer.write(data)
            await writer.drain()
            if closes:
                return
