#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Client and recording backend of compare.py: sends each case through each proxy, and notes what the backend understood.

A proxy has lanes: a front port and a backend port of its own each, so that
what arrives needs no mark to tell whose it is. Behind each case goes a probe.
A case has ended when the backend got the probe, or the proxy closed; only where
neither comes, after some quiet. The backend answers every request alike.
"""
import asyncio
import functools
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import corpus  # noqa: E402

PROBE_TARGET = b"/corpus-probe"
PROBE = b"GET /corpus-probe HTTP/1.1\r\nHost: probe\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
TICKS = 10  # in which quiet is measured
SETTLE_S = 0.03
PATIENCE_S = 10.0  # for what must come; a peer that needs longer is broken
REQUEST_LINE = re.compile(rb"([^ ]+) ([^ ]+) HTTP/1\.([01])")


class Garbage(Exception):
    """The proxy sent what is no request."""


class Lane:
    """One case at a time."""

    def __init__(self, front):
        self.front = front
        self.stirred, self.ended = asyncio.Event(), asyncio.Event()
        self.n_open, self.all_closed = 0, asyncio.Event()
        self.all_closed.set()
        self.writers = set()
        self.begin()

    def begin(self):
        self.seen, self.answer = [], b""
        self.ended.clear()

    def stir(self):
        self.stirred.set()

    def end(self):
        self.ended.set()
        self.stir()

    async def close_backend(self):
        """The proxy answers our FIN with its own: nothing of this case can reach the next."""
        for w in list(self.writers):
            if w.can_write_eof():
                try:
                    w.write_eof()
                except OSError:
                    pass
        try:
            await asyncio.wait_for(self.all_closed.wait(), PATIENCE_S)
        except asyncio.TimeoutError:
            for w in list(self.writers):
                w.transport.abort()


async def read_chunks(reader):
    body = b""
    while True:
        line = await reader.readuntil(b"\n")
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}[ \t]*\r\n", line):
            raise Garbage(f"chunk size {line[:60]!r}")
        n = int(line, 16)
        if n == 0:
            while await reader.readuntil(b"\n") != b"\r\n":
                pass  # trailers
            return body
        body += await reader.readexactly(n)
        if await reader.readexactly(2) != b"\r\n":
            raise Garbage("no CRLF behind a chunk")


async def read_request(reader, writer):
    """(method, target, hosts, body), or None at an orderly end. Who expects 100 gets it."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as e:
        if e.partial:
            raise
        return None
    lines = raw[:-4].split(b"\r\n")
    first = REQUEST_LINE.fullmatch(lines[0])
    if not first:
        raise Garbage(f"request line {lines[0][:80]!r}")
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon:
            raise Garbage(f"field {line[:60]!r}")
        fields.append((name.lower(), value.strip(b" \t")))
    values = {n: [v for k, v in fields if k == n] for n in (b"host", b"content-length", b"transfer-encoding")}
    lengths, codings = values[b"content-length"], values[b"transfer-encoding"]
    if len(lengths) + len(codings) > 1 or (codings and codings[0].lower() != b"chunked"):
        raise Garbage(f"framing {lengths} {codings}")
    body = b""
    if any(n == b"expect" for n, _ in fields):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if codings:
        body = await read_chunks(reader)
    elif lengths:
        if not re.fullmatch(rb"[0-9]{1,15}", lengths[0]):
            raise Garbage(f"Content-Length {lengths[0]!r}")
        body = await reader.readexactly(int(lengths[0]))
    return first[1], first[2], b"|".join(values[b"host"]), body


async def serve(lane, reader, writer):
    """A connection to the backend."""
    lane.n_open += 1
    lane.all_closed.clear()
    lane.writers.add(writer)
    try:
        while True:
            request = await read_request(reader, writer)
            lane.stir()
            if not request:
                return
            if request[1] == PROBE_TARGET:
                lane.end()
            else:
                lane.seen.append([part.decode("latin1") for part in request])
            writer.write(OK_HEAD if request[0] == b"HEAD" else OK)
    except Garbage as e:
        lane.seen.append(["garbage", str(e), "", ""])
        lane.stir()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        pass  # a request given up by the proxy: nobody understood it
    finally:
        lane.writers.discard(writer)
        writer.close()
        lane.n_open -= 1
        if lane.n_open == 0:
            lane.all_closed.set()


async def connect(address, port):
    """Some proxies abort on some input; who started them starts them again."""
    for _ in range(400):
        try:
            return await asyncio.open_connection(address, port, limit=1 << 20)
        except OSError:
            await asyncio.sleep(0.05)
    raise SystemExit(f"nobody listens on port {port}")


async def read_answers(lane, reader):
    try:
        while data := await reader.read(65536):
            lane.answer += data
            lane.stir()
    except OSError:
        pass
    lane.end()


async def is_quiet(lane, seconds):
    """
    Waits for the end of the case; true if for so long nothing happened at all. A moment in which this program itself
    got no time is none in which the others were silent.
    """
    loop, tick, n_calm = asyncio.get_running_loop(), seconds / TICKS, 0
    last = loop.time() + 10 * seconds
    while not lane.ended.is_set() and n_calm < TICKS and loop.time() < last:
        lane.stirred.clear()
        began = loop.time()
        try:
            await asyncio.wait_for(lane.stirred.wait(), tick)
            n_calm = 0
        except asyncio.TimeoutError:
            n_calm += loop.time() - began < 1.2 * tick
    return not lane.ended.is_set()


async def run_case(lane, address, case, quiet_s):
    lane.begin()
    reader, writer = await connect(address, lane.front)
    reading = asyncio.ensure_future(read_answers(lane, reader))
    try:
        for piece in [*case.client, PROBE]:
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
            else:
                await is_quiet(lane, quiet_s)  # for an interim response, which not all of them send
    except OSError:
        pass  # refused before its end
    was_quiet = await is_quiet(lane, quiet_s)
    await asyncio.sleep(SETTLE_S)  # some answer while they still talk to the backend
    reading.cancel()
    writer.transport.abort()
    await lane.close_backend()
    status = re.match(rb"HTTP/1\.[01] (\d\d\d)", lane.answer)
    return {"seen": lane.seen, "status": status[1].decode() if status else "", "quiet": was_quiet}


async def work(lane, address, queue, quiet_s, out):
    while queue:
        case = queue.pop()
        out[case.name] = await run_case(lane, address, case, quiet_s)


async def main(spec):
    names = set(spec["names"])
    cases = [c for c in corpus.read_all() if c.name in names]
    cases.reverse()
    results, tasks, servers = {}, [], []
    for name, proxy in spec["proxies"].items():
        queue, results[name] = list(cases), {}
        for front, back in zip(proxy["fronts"], proxy["backs"]):
            lane = Lane(front)
            servers.append(await asyncio.start_server(functools.partial(serve, lane), spec["backend"], back, limit=1 << 20))
            tasks.append(work(lane, proxy["address"], queue, spec["quiet_s"], results[name]))
    await asyncio.gather(*tasks)
    for s in servers:
        s.close()
    print(json.dumps(results))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
