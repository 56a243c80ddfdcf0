# SPDX-License-Identifier: Apache-2.0
"""A name server for the smoke tests: dns_peer.py PORT FILE, over UDP on 127.0.0.1.

FILE is JSON, read again for each query: {"name": [addresses]}. A name that is not there does not exist.
Each query is a line on standard output. The TTL is a second.
"""
import ipaddress
import json
import pathlib
import socket
import sys

A, AAAA = 1, 28


def question(query):
    """(name, type, where it ends)"""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("latin1").lower())
        at += 1 + query[at]
    return ".".join(labels), int.from_bytes(query[at + 1:at + 3], "big"), at + 5


def answer(query, names):
    name, kind, end = question(query)
    addresses = names.get(name)
    found = [ipaddress.ip_address(a) for a in addresses or ()]
    found = [a.packed for a in found if kind == {4: A, 6: AAAA}[a.version]]
    head = query[:2] + bytes((0x85, 0x80 if addresses is not None else 0x83, 0, 1, 0, len(found), 0, 0, 0, 0))
    records = b"".join(b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\1" + len(a).to_bytes(2, "big") + a for a in found)
    print(name, kind, flush=True)
    return head + query[12:end] + records


def main():
    port, file = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))
        while True:
            query, peer = s.recvfrom(4096)
            s.sendto(answer(query, json.loads(file.read_text())), peer)


if __name__ == "__main__":
    main()
