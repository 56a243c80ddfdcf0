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

WAIT = 60.0  # how long a peer is given before its silence counts; nothing is measured by it
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
    """A message that was read: first (a match), fields and trailers [(name in lower case, value)], body."""

    def __init__(self, first, fields):
        self.first, self.fields, self.body = first, fields, b""
        self.trailers = []

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


async def read_trailers(reader):
    trailers = []
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        field = FIELD.fullmatch(line[:-2])
        if not field:
            raise Bad(f"trailer {line!r}")
        trailers.append((field[1].lower(), field[2]))
    return trailers


async def read_chunked(reader):
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}\r\n", line):
            raise Bad(f"chunk size {line!r}")
        n = int(line, 16)
        if n == 0:
            return body, await read_trailers(reader)
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
            m.body, m.trailers = await read_chunked(reader)
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


class Client:
    """One run of a case; cuts: where its bytes are sent apart."""

    def __init__(self, slot, address, port, case, cuts, wait):
        self.slot, self.address, self.port, self.case, self.cuts, self.wait = slot, address, port, case, cuts, wait

    async def send(self, data):
        """The pieces between the cuts, each time with a moment in which Weir reads what it has."""
        at = [0, *[c for c in self.cuts if self.sent < c < self.sent + len(data)], len(data)]
        at[1:-1] = [c - self.sent for c in at[1:-1]]
        for a, b in zip(at, at[1:]):
            self.writer.write(data[a:b])
            await self.writer.drain()
            if b < len(data):
                await asyncio.sleep(0.001)
        self.sent += len(data)

    async def send_all(self):
        for piece in self.case.client:
            if isinstance(piece, bytes):
                try:
                    await self.send(piece)
                except ConnectionError:
                    return  # refused before its end; the answer says so
                continue
            m = await read_head(self.reader, STATUS_LINE)
            if not m or int(m.first[1]) != piece[1]:
                self.slot.problems.append(f"waited for {piece[1]}, got {m and m.first[0]!r}")
                return

    async def read_response(self, is_head, interims):
        """The next final response; interim ones before it are added to interims. None at an orderly end."""
        while True:
            m = await read_head(self.reader, STATUS_LINE)
            if not m:
                return None
            status = int(m.first[1])
            if 100 <= status < 200:
                interims.append(m)
                continue
            if not is_head and status not in (204, 304):
                await read_body(self.reader, m, True)
            return m

    async def run(self):
        self.sent = 0
        self.slot.begin(self.case)
        self.reader, self.writer = await asyncio.open_connection(self.address, self.port, limit=1 << 20,
                                                                 local_addr=(self.slot.address, 0))
        try:
            sending = asyncio.ensure_future(self.send_all())
            if any(not isinstance(p, bytes) for p in self.case.client):
                await asyncio.wait_for(sending, self.wait)  # it reads too
            await asyncio.wait_for(self.compare(sending), self.wait)
        except asyncio.TimeoutError:
            self.slot.problems.append("nothing more came")
        except (Bad, Cut) as e:
            self.slot.problems.append(f"the client got {type(e).__name__}: {e}")
        finally:
            self.writer.close()
        return self.slot.problems

    async def compare(self, sending):
        case, problems, n_forwarded = self.case, self.slot.problems, 0
        interims = []
        for e in case.expected:
            if e.kind == "interim":
                continue
            if e.kind in ("nothing", "cut"):
                await self.expect_no_more(e, sending)
                continue
            is_head = e.args[0] == "HEAD" or (e.kind != "forwarded" and case.bytes().startswith(b"HEAD "))
            m = await self.read_response(is_head, interims)
            if not m:
                problems.append(f"{e.kind} {' '.join(e.args)} was expected, but the connection ended")
                return
            if e.kind == "forwarded":
                problems += compare_request(e, self.slot.seen[n_forwarded:n_forwarded + 1], m)
                n_forwarded += 1
            else:
                problems += compare_answer(e, m)
        wanted = [e.args[0] for e in case.expected if e.kind == "interim"]
        if wanted and wanted != [i.first[1].decode() for i in interims]:
            problems.append(f"interim responses: {[i.first[0] for i in interims]}, wanted {wanted}")
        await self.compare_end()
        if len(self.slot.seen) != n_forwarded and not case.server:
            problems.append(f"the backend saw {len(self.slot.seen)} requests, wanted {n_forwarded}: "
                            f"{[m.first[0] for m in self.slot.seen]}")

    async def expect_no_more(self, e, sending):
        """No answer, or no whole one."""
        await sending
        if not self.case.server:
            self.writer.write_eof()
        try:
            m = await self.read_response(False, [])
        except Cut:
            if e.kind == "nothing":
                self.slot.problems.append("part of an answer")
            return
        if m:
            self.slot.problems.append(f"an answer: {m.first[0]!r} {m.body[:80]!r}")

    async def compare_end(self):
        """A connection that was kept serves the next request, in its own framing; one that was closed has ended."""
        try:
            if self.case.end() == "kept":
                self.writer.write(PROBE)
            m = await self.read_response(False, [])
        except (Cut, ConnectionError) as e:
            self.slot.problems.append(f"behind the answers: {e}")
            return
        if self.case.end() == "kept" and (not m or m.first[1] != b"200" or m.body != b"ok"):
            self.slot.problems.append(f"the connection should go on, but {m and (m.first[0], m.body[:80])}")
        if self.case.end() == "closed" and m:
            self.slot.problems.append(f"the connection should end, but {m.first[0]!r} {m.body[:80]!r}")


def compare_conditions(e, m):
    problems, body, trailers = [], b"", []
    for kind, text in e.conditions:
        name, colon, value = text.partition(b":")
        got = m.values(name.strip().lower())
        if kind == "body":
            body = text
        elif kind == "trailer":
            trailers.append((name.strip().lower(), value.strip()))
        elif kind == "-" and got:
            problems.append(f"{name.decode()} should be absent, is {got}")
        elif kind == "+" and colon and got != [value.strip()]:
            problems.append(f"{name.decode()} is {got}, wanted {value.strip()}")
        elif kind == "+" and not got:
            problems.append(f"{name.decode()} is absent")
    if m.trailers != trailers:
        problems.append(f"trailers {m.trailers}, wanted {trailers}")
    return problems, body


def compare_request(e, seen, answer):
    if not seen:
        return [f"not forwarded; {answer.first[0]!r} {answer.body[:80]!r}"]
    m = seen[0]
    got = (m.first[1].decode("latin1"), m.first[2].decode("latin1"))
    problems, body = compare_conditions(e, m)
    if got != (e.args[0], e.args[1]):
        problems.append(f"forwarded as {got}")
    if m.body != body:
        problems.append(f"forwarded with the body {m.body[:80]!r} ({len(m.body)}), wanted {body[:80]!r}")
    return problems


def compare_answer(e, m):
    problems, body = compare_conditions(e, m)
    if m.first[1].decode() != e.args[0]:
        problems.append(f"answered {m.first[0]!r} {m.body[:80]!r}, wanted {' '.join(e.args)}")
    elif len(e.args) > 1 and not m.body.endswith(b": " + e.args[1].encode() + b"\n") and m.body:
        problems.append(f"answered {m.body[:80]!r}, wanted {e.args[1]}")
    if any(k == "body" for k, _ in e.conditions) and m.body != body:
        problems.append(f"answered with {m.body[:80]!r}, wanted {body[:80]!r}")
    return problems


def runs_of(case, i):
    """How a case's bytes are cut: whole; every third short case byte by byte; the others in two at five places."""
    n = len(case.bytes())
    rnd = random.Random(case.name)
    whole = [("whole", [])]
    if n < 2:
        return whole
    if i % 3 == 0 and n <= 400:
        return whole + [("byte by byte", list(range(1, n)))]
    return whole + [(f"cut at {c}", [c]) for c in sorted(rnd.sample(range(1, n), min(5, n - 1)))]


async def work(slot, queue, address, port, wait, failures):
    while queue:
        case, how, cuts = queue.pop()
        problems = await Client(slot, address, port, case, cuts, wait).run()
        for p in problems:
            failures.setdefault(case.name, []).append(f"{how}: {p}")


async def main(spec):
    cases = corpus.read_all(pathlib.Path(spec["corpus"]))
    slots = {}
    for address in spec["clients"]:
        slots[address] = Slot()
        slots[address].address = address
    backend = Backend(slots)
    server = await asyncio.start_server(backend.serve, *spec["backend"], limit=1 << 20)
    queue = [(case, how, cuts) for i, case in enumerate(cases) for how, cuts in runs_of(case, i)]
    n_runs, failures = len(queue), {}
    queue.reverse()
    await asyncio.gather(*(work(s, queue, *spec["weir"], spec.get("wait", WAIT), failures) for s in slots.values()))
    server.close()
    print(json.dumps({"cases": len(cases), "names": [c.name for c in cases], "runs": n_runs, "failures": failures,
                      "strays": backend.strays}))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
