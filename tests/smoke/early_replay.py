#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Early data, and the same bytes once more: early_replay.py OPTIONS, which are JSON: address, ca, name, session, text (a file).

The first flight of openssl s_client is taken by a relay, which sends it to the server three times and never a Finished; with
option finish the first of the three goes on by itself, once a line comes at standard input after one that says "waits". The
last line is JSON: how many records of application data came back each time, where those of the handshake are sealed, too."""
import json
import selectors
import socket
import subprocess
import sys
import time

WAIT = 2.0  # OpenSSL takes no early data for fresh that are 10 s older than they say: the last of them has to come before
QUIET = 0.5


def take(s, seconds, quiet=WAIT):
    """All that comes in so many seconds, or until the end, or until nothing has followed it for a while."""
    got, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        s.settimeout(min(left, quiet) if got else left)
        try:
            data = s.recv(65536)
        except (TimeoutError, ConnectionError):
            break
        if not data:
            break
        got += data
    return got


def n_records(data):
    """Of application data: the first one is the rest of the server's flight."""
    n, at = 0, 0
    while at + 5 <= len(data):
        n += data[at] == 23
        at += 5 + int.from_bytes(data[at + 3:at + 5], "big")
    return n


def go_on(near, far, data):
    """The two of them talk, after this to near, until one has ended."""
    near.sendall(data)
    with selectors.DefaultSelector() as both:
        both.register(near, selectors.EVENT_READ, far)
        both.register(far, selectors.EVENT_READ, near)
        while True:
            for key, _ in both.select(WAIT * 10) or [(None, None)]:
                data = key and key.fileobj.recv(65536)
                if not data:
                    return
                key.data.sendall(data)


def main():
    o = json.loads(sys.argv[1])
    relay = socket.create_server(("127.0.0.1", 0))
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{relay.getsockname()[1]}", "-servername", o["name"], "-CAfile", o["ca"], "-tls1_3",
            "-alpn", "http/1.1", "-sess_in", o["session"], "-early_data", o["text"]]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        near, _ = relay.accept()
        flight = take(near, 10 * WAIT, QUIET)
        seen = []
        for i in range(3):
            with socket.create_connection((o["address"], 443)) as far:
                far.sendall(flight)
                data = take(far, WAIT)
                seen.append(n_records(data))
                if o.get("finish") and i == 0:
                    print('"waits"', flush=True)
                    sys.stdin.readline()
                    go_on(near, far, data)
        client.kill()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
