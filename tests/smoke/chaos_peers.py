# SPDX-License-Identifier: Apache-2.0
"""Clients and a faulty origin over the kernel's TCP, in one process, so that each outcome can be judged.

    chaos_peers.py WEIR ORIGIN FIRST_PORT N_PORTS REQUESTS SEED

The origin listens on N_PORTS ports. What it does to a request is drawn when the
request is made (FAULTS) and done to the first try that comes; what really happened
is noted, and the client takes for right only what that explains. The last line is
a JSON object.
"""
import asyncio
import hashlib
import json
import random
import re
import socket
import struct
import sys

FAULTS = ("close", "close_untold", "close_later", "stale_rst", "stale_fin", "rst_at_once", "fin_at_once", "rst_in_head", "fin_in_head",
          "rst_in_body", "fin_in_body", "stall", "byte_by_byte", "until_close", "chunked", "interim", "early")
TRIES = 3  # limits.tries
CLIENTS = 24
PATIENCE = 60  # seconds; nothing is measured by it
weir, origin, first_port, n_ports, n_requests, seed = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
rnd = random.Random(seed)
requests = {}  # id: Request
totals = {"answers": 0, "status_502": 0, "cuts": 0, "posts": 0, "seen_again": 0, "seen": 0, "by_idle_close": 0}
idle_closes = 0
errors = []
PATTERN = hashlib.shake_128(b"weir").digest(1 << 20)


def body_of(ident, size):
    at = ident * 16 % 65536
    return PATTERN[at:at + size]


def some_size():
    return rnd.randrange((1 << rnd.choice((0, 3, 7, 7, 7, 10, 12, 14, 17))) + 1)


class Request:
    def __init__(self, ident):
        self.id, self.size = ident, some_size()
        self.is_post = rnd.random() < 0.3
        self.post = some_size() if self.is_post else 0
        self.is_chunked = self.is_post and rnd.random() < 0.3
        self.fault = rnd.choice(FAULTS) if rnd.random() < 0.3 else None
        if self.size == 0 and self.fault in ("rst_in_body", "fin_in_body"):
            self.fault = None
        self.seen = self.failed = self.cut_head = self.cut_body = self.whole = 0

    def text(self):
        framing = "Transfer-Encoding: chunked\r\n" if self.is_chunked else f"Content-Length: {self.post}\r\n" if self.is_post else ""
        head = f"{'POST' if self.is_post else 'GET'} /{self.id} HTTP/1.1\r\nHost: chaos.example.com\r\n{framing}\r\n".encode()
        data = body_of(self.id, self.post)
        return head + (chunks(data) if self.is_chunked else data)

    def __str__(self):
        return f"{'POST' if self.is_post else 'GET'} {self.__dict__}"


def chunks(data):
    out, at = b"", 0
    while at < len(data):
        n = rnd.randrange(1, 5000)
        out += f"{len(data[at:at + n]):x}\r\n".encode() + data[at:at + n] + b"\r\n"
        at += n
    return out + b"0\r\n\r\n"


async def read_head(reader):
    """(first line, {name: value}), or None at an orderly end before it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as e:
        if e.partial:
            raise
        return None
    lines = head.decode("latin1").split("\r\n")
    return lines[0], {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:-2])}


async def read_body(reader, fields):
    if fields.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(fields.get("content-length", 0)))
    out = b""
    while True:
        n = int((await reader.readuntil(b"\r\n"))[:-2], 16)
        data = await reader.readexactly(n + 2)
        if data[-2:] != b"\r\n":
            raise ValueError("no end of a chunk")
        out += data[:-2]
        if n == 0:
            return out


# -- origin

class Ended(Exception):
    """The origin ends this connection."""


def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    raise Ended


async def finish(reader, writer):
    """FIN, then whatever still comes."""
    writer.write_eof()
    while await reader.read(65536):
        pass
    raise Ended


def answer_of(rq, fault):
    data = body_of(rq.id, rq.size)
    head = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" if fault == "interim" else ""
    head += f"HTTP/1.1 200 OK\r\nX-Id: {rq.id}\r\n"
    if fault in ("close", "until_close"):
        head += "Connection: close\r\n"
    if fault == "chunked":
        return (head + "Transfer-Encoding: chunked\r\n\r\n").encode(), chunks(data)
    return (head + ("" if fault == "until_close" else f"Content-Length: {rq.size}\r\n") + "\r\n").encode(), data


async def send_cut(rq, fault, head, data, writer, reader):
    where = "cut_head" if fault.endswith("head") else "cut_body"
    setattr(rq, where, 1)
    if fault.startswith("rst"): # it may overtake what was sent
        rq.failed += 1
        rq.cut_head = 1
    whole = head + data
    writer.write(whole[:rnd.randrange(1, len(head)) if where == "cut_head" else rnd.randrange(len(head), len(whole))])
    if fault.startswith("fin"):
        await finish(reader, writer)
    if rnd.random() < 0.5:
        await asyncio.sleep(0.005)
    reset(writer)


async def answer(rq, fault, reader, writer):
    global idle_closes
    head, data = answer_of(rq, fault)
    if fault and fault[4:] in ("in_head", "in_body"):
        await send_cut(rq, fault, head, data, writer, reader)
    if fault == "stall":
        await asyncio.sleep(rnd.choice((0.001, 0.02, 0.2)))
    rq.whole = 1
    whole = head + data
    if fault == "byte_by_byte":
        for i in range(min(60, len(whole))):
            writer.write(whole[i:i + 1])
            await asyncio.sleep(0.001)
        whole = whole[60:]
    writer.write(whole)
    await writer.drain()
    if fault in ("close", "until_close", "close_untold"):
        idle_closes += fault == "close_untold"  # its FIN comes behind the answer, at once or not
        await finish(reader, writer)


async def one_request(reader, writer, doom):
    """Returns what the next request on this connection is to meet."""
    global idle_closes
    got = await read_head(reader)
    if not got:
        raise Ended
    line, fields = got
    m = re.fullmatch(r"(GET|POST) /(\d+) HTTP/1.1", line)
    rq = requests[int(m.group(2))]
    rq.seen += 1
    totals["seen"] += 1
    totals["seen_again"] += rq.seen > 1
    if rq.is_post != (m.group(1) == "POST") or (rq.is_post and rq.seen > 1):
        errors.append(f"at the origin: {rq}")
    fault = rq.fault if rq.seen == 1 else None
    for kind in (doom, fault):
        if kind in ("stale_rst", "stale_fin") and kind == doom or kind in ("rst_at_once", "fin_at_once"):
            rq.failed += 1
            if "rst" in kind:
                reset(writer)
            await finish(reader, writer)
    if fault == "early":
        await answer(rq, fault, reader, writer)
    if await read_body(reader, fields) != body_of(rq.id, rq.post):
        errors.append(f"body at the origin: {rq}")
    if fault != "early":
        await answer(rq, fault, reader, writer)
    if fault == "close_later":
        await asyncio.sleep(rnd.choice((0.0, 0.001, 0.004)))
        idle_closes += 1
        await finish(reader, writer)
    return fault


async def serve(reader, writer):
    doom = None
    try:
        while True:
            doom = await one_request(reader, writer, doom)
    except (Ended, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass
    except Exception as e:
        errors.append(f"origin: {e!r}")
    writer.close()


# -- clients

def judge_status(rq, status):
    global idle_closes
    refused = 1  # of the tries: one of the endpoints is not there
    if status == 502 and (rq.cut_head or rq.failed + refused >= TRIES or (rq.is_post and rq.failed)):
        totals["status_502"] += 1
    elif status == 502 and idle_closes > 0 and (rq.is_post or rq.failed): # the request crossed the FIN of an idle connection: nobody saw it
        idle_closes -= 1
        totals["status_502"] += 1
        totals["by_idle_close"] += 1
    else:
        errors.append(f"status {status}: {rq}")


def judge(rq, status, fields, data):
    if status != 200:
        judge_status(rq, status)
    elif fields.get("x-id") != str(rq.id) or data != body_of(rq.id, rq.size) or not rq.whole:
        errors.append(f"wrong answer of {len(data)} bytes: {rq}")
    else:
        totals["answers"] += 1


async def ask(rq, reader, writer):
    """True if the connection goes on."""
    writer.write(rq.text())
    try:
        status = 100
        while status < 200:
            got = await read_head(reader)
            if not got:
                raise ConnectionResetError("closed without an answer")
            status, fields = int(got[0].split()[1]), got[1]
        data = await read_body(reader, fields)
    except (ConnectionError, asyncio.IncompleteReadError) as e:
        totals["cuts"] += 1
        if not rq.cut_body:
            errors.append(f"{e!r}: {rq}")
        return False
    judge(rq, status, fields, data)
    return fields.get("connection") != "close"


async def client(ids):
    conn = None
    for ident in ids:
        rq = requests[ident] = Request(ident)
        totals["posts"] += rq.is_post
        conn = conn or await asyncio.open_connection(weir, 80, limit=1 << 21)
        try:
            keeps = await asyncio.wait_for(ask(rq, *conn), PATIENCE)
        except Exception as e:
            errors.append(f"{e!r}: {rq}")
            keeps = False
        if not keeps:
            conn[1].transport.abort()
            conn = None


async def main():
    servers = [await asyncio.start_server(serve, origin, first_port + i, limit=1 << 21) for i in range(n_ports)]
    print("ready", flush=True)
    sys.stdin.readline()
    ids = iter(range(n_requests))
    await asyncio.gather(*(client(ids) for _ in range(CLIENTS)))
    for s in servers:
        s.close()
    print(json.dumps({**totals, "requests": n_requests, "errors": errors[:10], "n_errors": len(errors)}), flush=True)


asyncio.run(main())
