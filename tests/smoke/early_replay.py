#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Early data, and the same bytes once more: early_replay.py OPTIONS, which are JSON: address, ca, name, session, text (a file).

The first flight of openssl s_client is taken by a relay, which sends it to the server three times and never a Finished. The
last line is JSON: how many records of application data came back each time, where those of the handshake are sealed, too."""
import json
import socket
import subprocess
import sys
import time

WAIT = 3.0


def take(s, seconds):
    """All that comes in so many seconds, or until the end."""
    got, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        s.settimeout(left)
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


def main():
    o = json.loads(sys.argv[1])
    relay = socket.create_server(("127.0.0.1", 0))
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{relay.getsockname()[1]}", "-servername", o["name"], "-CAfile", o["ca"], "-tls1_3",
            "-alpn", "http/1.1", "-sess_in", o["session"], "-early_data", o["text"]]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        near, _ = relay.accept()
        flight = take(near, WAIT)
        seen = []
        for _ in range(3):
            with socket.create_connection((o["address"], 443)) as far:
                far.sendall(flight)
                seen.append(n_records(take(far, WAIT)))
        client.kill()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
