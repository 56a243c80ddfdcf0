#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Peers of byte streams on kernel sockets, run in the peers' namespace by test_streams.py.

    stream_peers.py server ADDRESS PORT NAME [CRT KEY]
        says "ready" on stdout. To each peer it speaks first: its name and a newline. Then it reads a word and a newline: after `echo` it sends all bytes back, and its
        end behind the peer's; after `late` it says "rest" once the peer has ended. With CRT and KEY over TLS
    stream_peers.py who ADDRESS PORT N       who answered each of N connections, one after the other
    stream_peers.py bulk ADDRESS PORT BYTES  so many bytes each way
    stream_peers.py half ADDRESS PORT        ends its side, and reads the rest
    stream_peers.py hold ADDRESS PORT        stays open: echoes each line of stdin
A client prints a line of JSON for each step. With STREAM_TLS, "NAME:CAFILE", in the environment it speaks TLS and gives that
server name (none: ""), and `who` tells the certificate's SHA-256, too.
"""
import asyncio
import hashlib
import json
import os
import socket
import ssl
import sys

WAIT = 60.0  # how long a peer is given; nothing is measured by it


async def answer(reader, writer, name):
    writer.write(name.encode() + b"\n")
    word = await reader.readline()
    while data := await reader.read(65536):
        if word == b"echo\n":
            writer.write(data)
            await writer.drain()
    if word == b"late\n":
        writer.write(b"rest")
    if writer.can_write_eof():
        writer.write_eof()
    writer.close()
    await writer.wait_closed()


async def serve(address, port, name, crt=None, key=None):
    async def one(reader, writer):
        try:
            await answer(reader, writer, name)
        except OSError:
            writer.close()

    context = None
    if crt:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(crt, key)
    server = await asyncio.start_server(one, address, int(port), ssl=context, backlog=512)
    print("ready", flush=True)
    await server.serve_forever()


def tls_of_environment():
    """(the context, the server name), or (None, None)."""
    tls = os.environ.get("STREAM_TLS")
    if tls is None:
        return None, None
    name, ca = tls.split(":", 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.check_hostname = bool(name)
    return context, name


def connect(address, port):
    s = socket.create_connection((address, int(port)), timeout=WAIT)
    context, name = tls_of_environment()
    return context.wrap_socket(s, server_hostname=name or None) if context else s


def read_line(s):
    line = b""
    while not line.endswith(b"\n"):
        data = s.recv(1)
        if not data:
            raise ConnectionResetError("ended within its first line")
        line += data
    return line.decode().strip()


def who(address, port, n):
    for _ in range(int(n)):
        answered = {}
        try:
            with connect(address, port) as s:
                answered["who"] = read_line(s)
                if isinstance(s, ssl.SSLSocket):
                    answered["certificate"] = hashlib.sha256(s.getpeercert(True)).hexdigest()
        except (OSError, ssl.SSLError) as e:
            answered["error"] = getattr(e, "reason", None) or type(e).__name__
        yield answered


async def send_blocks(writer, n, total):
    block = os.urandom(1 << 20)
    while n:
        data = block[:min(n, len(block))]
        total.update(data)
        writer.write(data)
        await writer.drain()
        n -= len(data)
    if writer.can_write_eof():
        writer.write_eof()


# Both ways at a time, but in one thread: a session of OpenSSL is not to be used by two.
async def both_ways(address, port, left):
    context, name = tls_of_environment()
    reader, writer = await asyncio.open_connection(address, int(port), ssl=context, server_hostname=name)
    sent, got = hashlib.sha256(), hashlib.sha256()
    await reader.readline()
    writer.write(b"echo\n")
    sender = asyncio.create_task(send_blocks(writer, left, sent))
    while left and (data := await asyncio.wait_for(reader.read(1 << 20), WAIT)):
        got.update(data)
        left -= len(data)
    if left:
        sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    end = b"" if context else await asyncio.wait_for(reader.read(1), WAIT)
    writer.close()
    return {"left": left, "same": sent.digest() == got.digest(), "ended": end == b""}


def bulk(address, port, n):
    yield asyncio.run(both_ways(address, port, int(n)))


def half(address, port):
    with connect(address, port) as s:
        read_line(s)
        s.sendall(b"late\n")
        s.shutdown(socket.SHUT_WR)
        rest = b""
        while data := s.recv(4096):
            rest += data
    yield {"rest": rest.decode()}


def hold(address, port):
    with connect(address, port) as s:
        yield {"who": read_line(s)}
        s.sendall(b"echo\n")
        for line in sys.stdin:
            s.sendall(line.encode())
            yield {"echoed": read_line(s)}


def main():
    command, *args = sys.argv[1:]
    if command == "server":
        asyncio.run(serve(*args))
        return
    for step in {"who": who, "bulk": bulk, "half": half, "hold": hold}[command](*args):
        print(json.dumps(step), flush=True)


if __name__ == "__main__":
    main()
