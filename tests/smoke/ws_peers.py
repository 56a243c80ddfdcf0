#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""WebSocket peers (RFC 6455) on kernel sockets, run in the peers' namespace by test_tunnel.py.

    ws_peers.py backend ADDRESS PORT
        /echo sends each message back; /raw sends all bytes back, and its end behind the peer's; /late says "rest" once
        the peer has ended; /no answers 403; /wait says nothing
    ws_peers.py many ADDRESS N        opens N, and for each line on stdin has every one of them echo a message; then closes them
    ws_peers.py bulk ADDRESS BYTES    so many bytes each way in one
    ws_peers.py half ADDRESS          ends its side, and reads the rest
    ws_peers.py hold ADDRESS N PATH   opens N and tells how each ended
    ws_peers.py refused ADDRESS       is refused, and asks for something else on the same connection
A client prints a line of JSON for each step. With WS_CA (a file) in the environment clients speak TLS to port 443; then
`half` cannot be, and `bulk` ends no side.
"""
import asyncio
import base64
import hashlib
import json
import os
import ssl
import struct
import sys

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE, TEXT = 8, 1
WAIT = 60.0  # how long a peer is given; nothing is measured by it


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def frame(opcode, payload, masked):
    n = len(payload)
    head = bytes([0x80 | opcode])
    bit = 0x80 if masked else 0
    head += bytes([bit | n]) if n < 126 else bytes([bit | 126]) + struct.pack(">H", n)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(payload))


async def read_frame(reader, masked):
    first, second = await reader.readexactly(2)
    assert first & 0x80 and bool(second & 0x80) == masked, "a frame that is whole, masked by clients alone"
    n = second & 0x7f
    if n == 126:
        n, = struct.unpack(">H", await reader.readexactly(2))
    mask = await reader.readexactly(4) if masked else bytes(4)
    payload = await reader.readexactly(n)
    return first & 15, bytes(c ^ mask[i % 4] for i, c in enumerate(payload))


async def read_head(reader):
    raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
    return raw[0], {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in raw[1:] if line)}


# -- backend

async def echo(reader, writer):
    while True:
        opcode, payload = await read_frame(reader, True)
        writer.write(frame(opcode, payload, False))
        if opcode == CLOSE:
            return
        await writer.drain()


async def raw(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def late(reader, writer):
    got = await reader.read(-1)
    writer.write(b"rest of " + got)
    writer.write_eof()


async def wait(reader, writer):
    await reader.read(-1)


async def serve(reader, writer):
    try:
        while True:
            line, fields = await read_head(reader)
            path = line.split(" ")[1]
            if fields.get("upgrade") != "websocket" or fields.get("connection") != "upgrade" or path == "/no":
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n")
                continue
            writer.write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          f"Sec-WebSocket-Accept: {accept_of(fields['sec-websocket-key'])}\r\n\r\n").encode())
            await {"/echo": echo, "/raw": raw, "/late": late, "/wait": wait}[path](reader, writer)
            break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def backend(address, port):
    server = await asyncio.start_server(serve, address, int(port), backlog=1024)
    async with server:
        await server.serve_forever()


# -- clients

TLS = ssl.create_default_context(cafile=os.environ["WS_CA"]) if "WS_CA" in os.environ else None
TO = {"port": 443, "ssl": TLS, "server_hostname": "ws.example.com"} if TLS else {"port": 80}


async def connect(address, path):
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, **TO), WAIT)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write((f"GET {path} HTTP/1.1\r\nHost: ws.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                  f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
    line, fields = await asyncio.wait_for(read_head(reader), WAIT)
    if " 101 " in line:
        assert fields["sec-websocket-accept"] == accept_of(key), "the answer belongs to this handshake"
        assert fields["connection"].lower() == "upgrade" and fields["upgrade"].lower() == "websocket"
    return reader, writer, line


async def ask(tunnel, text):
    reader, writer, _ = tunnel
    writer.write(frame(TEXT, text, True))
    return await asyncio.wait_for(read_frame(reader, False), WAIT) == (TEXT, text)


async def close(tunnel):
    """Both close frames, and the end behind them."""
    reader, writer, _ = tunnel
    writer.write(frame(CLOSE, b"\x03\xe8", True))
    opcode, _ = await asyncio.wait_for(read_frame(reader, False), WAIT)
    is_end = await asyncio.wait_for(reader.read(1), WAIT) == b""
    writer.close()
    return opcode == CLOSE and is_end


def say(**what):
    print(json.dumps(what), flush=True)


async def many(address, n):
    tunnels = []
    for first in range(0, int(n), 50):
        tunnels += await asyncio.gather(*(connect(address, "/echo") for _ in range(first, min(first + 50, int(n)))))
    say(open=sum(" 101 " in t[2] for t in tunnels))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        texts = [f"{line.strip()} {i} ".encode() + b"x" * (i % 300) for i in range(len(tunnels))]
        say(echoed=sum(await asyncio.gather(*(ask(t, x) for t, x in zip(tunnels, texts)))))
    say(closed=sum(await asyncio.gather(*map(close, tunnels))))


async def bulk(address, n, how=""):
    """how: "open": our side is not ended, for who is between and knows no such end."""
    stays = TLS or how == "open"
    reader, writer, _ = await connect(address, "/raw")
    n, block = int(n), os.urandom(1 << 20)
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def send():
        for at in range(0, n, len(block)):
            piece = block[at >> 20:] + block[:at >> 20]
            sent.update(piece)
            writer.write(piece)
            await writer.drain()
        if not stays:
            writer.write_eof()

    async def receive():
        total = 0
        while total < (n if stays else n + 1) and (data := await reader.read(1 << 18)):
            got.update(data)
            total += len(data)
        return total

    _, total = await asyncio.gather(send(), receive())
    say(total=total, same=sent.digest() == got.digest())


async def half(address):
    reader, writer, _ = await connect(address, "/late")
    writer.write(b"mine")
    writer.write_eof()
    say(rest=(await asyncio.wait_for(reader.read(-1), WAIT)).decode())


async def how_it_ends(tunnel):
    try:
        data = await asyncio.wait_for(tunnel[0].read(-1), WAIT)
        tunnel[1].close()
        return "end" if data == b"" else "data"
    except ConnectionError:
        return "reset"
    except asyncio.TimeoutError:
        return "open"


async def hold(address, n, path):
    tunnels = await asyncio.gather(*(connect(address, path) for _ in range(int(n))))
    say(open=sum(" 101 " in t[2] for t in tunnels))
    ends = await asyncio.gather(*map(how_it_ends, tunnels))
    say(**{e: ends.count(e) for e in set(ends)})


async def refused(address):
    reader, writer, line = await connect(address, "/no")
    body = await reader.readexactly(3)
    writer.write(b"GET /second HTTP/1.1\r\nHost: ws.example.com\r\n\r\n")
    second, _ = await asyncio.wait_for(read_head(reader), WAIT)
    say(first=line, body=body.decode(), second=second)


asyncio.run({"backend": backend, "many": many, "bulk": bulk, "half": half, "hold": hold, "refused": refused}[sys.argv[1]](*sys.argv[2:]))
