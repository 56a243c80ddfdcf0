#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TLS clients that mean harm, or are merely odd: tls_abuse.py MODE OPTIONS (JSON: address, port, ca, name; metrics: a URL, or null),
run in the peers' namespace. Behind each act it reads by which reasons Weir says that it ended.

    first    what is no ClientHello, or a wrong one        flights    a handshake that goes wrong later
    sealed   records behind the handshake                  odd        what is allowed, and must be served
    cuts     ends of the connection at every byte of a handshake (step, ways)
    late     a connection that idles and one within its handshake, until a line comes on stdin: how they go on
    flood    n hellos of which nobody waits for the answer, at most `open` at a time
A mode's line of JSON is [[name, reasons that are right, reasons counted, alert, end], ...]; of cuts and flood {...}.
"""
import json
import os
import re
import selectors
import socket
import ssl
import struct
import sys
import time
import urllib.request

from tls_wire import (ALERT, CHANGE_CIPHER_SPEC, CLIENT_HELLO, DATA, HANDSHAKE, KEY_UPDATE, WAIT, Peer, extension, fragments, hello, message,
                      record, server_name, split, vector)

NOT_TLS, TOO_LARGE, BAD_HELLO, NO_NAME = "tls_not_tls", "tls_hello_too_large", "tls_bad_hello", "tls_unrecognized_name"
NO_VERSION, NO_CIPHER, PEER_ALERT, PROTOCOL = "tls_no_version", "tls_no_cipher", "tls_peer_alert", "tls_protocol"
GONE, BAD_RECORD, RENEGOTIATION, FLOOD = "tls_client_gone", "tls_bad_record", "tls_renegotiation", "tls_key_update_flood"
MALFORMED = {BAD_HELLO, PROTOCOL}  # as it is hello.c or OpenSSL that sees it
REQUEST = b"GET /%d HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"


def reasons(o):
    if not o.get("metrics"):
        return {}
    with urllib.request.urlopen(o["metrics"], timeout=WAIT) as answer:
        text = answer.read().decode()
    out = {}
    for name, value in re.findall(r'^weir_drops_total\{reason="(tls_\w+)"[^}]*\} (\d+)', text, re.M):
        out[name] = out.get(name, 0) + int(value)
    return out


def counted(o, before, wanted=1, seconds=WAIT):
    """What has been counted since: as soon as there is so much of it."""
    end = time.monotonic() + seconds
    while True:
        now = reasons(o)
        new = {k: v - before.get(k, 0) for k, v in now.items() if v != before.get(k, 0)}
        if sum(new.values()) >= wanted or time.monotonic() > end or not o.get("metrics"):
            return new
        time.sleep(0.005)


def clienthello(**k):
    return record(HANDSHAKE, message(CLIENT_HELLO, hello(**k)))


def versions(*v):
    """Extensions of a client that gives these in supported_versions (RFC 8446 4.2.1), and all else that 1.3 wants but a key share."""
    return (extension(10, vector(2, b"\x00\x1d")) + extension(13, vector(2, b"\x04\x03")) +
            extension(43, vector(1, b"".join(struct.pack(">H", x) for x in v))))


def first_bytes():
    """[(name, bytes, reasons that are right)]"""
    good = hello()
    sigalgs, groups = extension(13, vector(2, b"\x04\x03")), extension(10, vector(2, b"\x00\x17"))
    large = extension(21, bytes(16000)) + extension(0x5a5a, bytes(40000))
    return [
        ("plain HTTP", REQUEST % 0, {NOT_TLS}),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", {NOT_TLS}),
        ("SSLv2", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(37), {NOT_TLS}),
        ("data", record(DATA, bytes(100)), {NOT_TLS}),
        ("an alert", record(ALERT, b"\x02\x30"), {NOT_TLS, PEER_ALERT}),
        ("ChangeCipherSpec", record(CHANGE_CIPHER_SPEC, b"\x01"), {NOT_TLS}),
        ("a heartbeat", record(24, b"\x01\x40\x00"), {NOT_TLS}),
        ("a record of version 2", record(HANDSHAKE, message(1, good), version=0x0200), {NOT_TLS, BAD_HELLO}),
        ("an empty record", record(HANDSHAKE, b""), {NOT_TLS, BAD_HELLO}),
        ("empty records without end", record(HANDSHAKE, b"") * 5000, {NOT_TLS, BAD_HELLO, TOO_LARGE}),
        ("an empty record within a hello", record(HANDSHAKE, message(1, good)[:9]) + record(HANDSHAKE, b"") * 3 +
         record(HANDSHAKE, message(1, good)[9:]), {BAD_HELLO, TOO_LARGE}),
        ("data within a hello", record(HANDSHAKE, message(1, good)[:9]) + record(DATA, b"x"), {BAD_HELLO, NOT_TLS}),
        ("a record that is too long", record(HANDSHAKE, message(1, good) + bytes(20000)), {BAD_HELLO, TOO_LARGE, NOT_TLS}),
        ("a hello of 16 MB", record(HANDSHAKE, message(1, good[:200], length=0xffffff)), {TOO_LARGE}),
        ("a hello of 56 kB", fragments(record(HANDSHAKE, message(1, hello(extensions=groups + sigalgs + large))), 9000), {TOO_LARGE}),
        ("another message", record(HANDSHAKE, message(16, bytes(66))), {BAD_HELLO, NOT_TLS, PROTOCOL}),
        ("a ServerHello", record(HANDSHAKE, message(2, bytes(70))), {BAD_HELLO, NOT_TLS, PROTOCOL}),
        ("an empty hello", record(HANDSHAKE, message(1, b"")), MALFORMED),
        ("two hellos", clienthello() + clienthello(), {PROTOCOL, BAD_HELLO}),
        ("a tail behind the extensions", clienthello(tail=b"xyz"), MALFORMED),
        ("a session id of 33 bytes", clienthello(session_id=bytes(33)), MALFORMED),
        ("half a cipher suite", clienthello(suites=b"\xc0\x2b\xc0"), MALFORMED),
        ("no cipher suites", clienthello(suites=b""), MALFORMED | {NO_CIPHER}),
        ("no compression", clienthello(compressions=b""), MALFORMED),
        ("compression that must be", clienthello(compressions=b"\x01"), MALFORMED | {NO_CIPHER}),
        ("an extension that is too long", clienthello(extensions=b"\x00\x0a\x00\xff\x00"), MALFORMED),
        ("an extension twice", clienthello(extensions=groups + sigalgs + groups), MALFORMED),
        ("an empty name", clienthello(name=b""), MALFORMED | {NO_NAME}),
        ("a name with NUL", clienthello(name=b"shop.example.com\0.evil"), MALFORMED | {NO_NAME}),
        ("a name of 300 bytes", clienthello(name=b"a." * 150), MALFORMED | {NO_NAME}),
        ("two names", clienthello(name=None, extensions=server_name(b"shop.example.com", b"b.example.com") + groups + sigalgs), MALFORMED),
        ("an empty list of names", clienthello(name=None, extensions=extension(0, vector(2, b"")) + groups + sigalgs), MALFORMED | {NO_NAME}),
        ("a name that nobody has", clienthello(name=b"nobody.example.com"), {NO_NAME}),
        ("no name", clienthello(name=None), {NO_NAME}),
        ("SSL 3.0", clienthello(version=0x0300), {NO_VERSION, BAD_HELLO}),
        ("TLS 1.0", clienthello(version=0x0301), {NO_VERSION}),
        ("TLS 1.1", clienthello(version=0x0302), {NO_VERSION}),
        ("TLS 1.1 among supported versions", clienthello(extensions=versions(0x0302, 0x0301)), {NO_VERSION}),
        ("TLS 1.3 without a key share", clienthello(extensions=versions(0x0304)), {PROTOCOL, BAD_HELLO, NO_CIPHER}),
        ("cipher suites that nobody has", clienthello(suites=b"\x5a\x5a\xfa\xfa"), {NO_CIPHER}),
        ("RC4", clienthello(suites=b"\x00\x05"), {NO_CIPHER}),
        ("RSA for a key that is none", clienthello(suites=b"\xc0\x2f"), {NO_CIPHER}),
        ("no common group", clienthello(extensions=extension(10, vector(2, b"\x5a\x5a")) + sigalgs), {NO_CIPHER}),
        ("SHA-1 alone", clienthello(extensions=groups + extension(13, vector(2, b"\x02\x03"))), {NO_CIPHER}),
    ]


def first(o):
    out = []
    for name, data, right in first_bytes():
        before = reasons(o)
        p = Peer(o)
        try:
            p.send(data)
        except OSError:
            pass  # it ended before it had all of it
        alert, end = p.how_it_ends()
        out.append([name, sorted(right), counted(o, before), alert, end])
    return out


# -- handshakes that go wrong behind the hello: each sends something in the place of the second flight

def send_hello(o, version):
    p = Peer(o, version)
    p.send(p.flight())
    return p


def garbled(records, at):
    b = bytearray(records)
    b[at] ^= 0x55
    return bytes(b)


def refuse(o, version):
    """A client that knows no authority says so by an alert."""
    p = Peer(o, version)
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.maximum_version = p.context.maximum_version
    p.tls = c.wrap_bio(p.incoming, p.outgoing, server_hostname=o["name"])
    p.send(p.flight())
    try:
        p.flight()
    except ssl.SSLError:
        p.send(p.outgoing.read())
    return p


SECOND = [  # (name, version, second flight of the client's own one, reasons that are right)
    ("an alert", "1.2", lambda p: record(ALERT, b"\x02\x30"), {PEER_ALERT}),
    ("an alert that is not sealed", "1.3", lambda p: record(ALERT, b"\x02\x30"), {PEER_ALERT, PROTOCOL}),
    ("close_notify", "1.2", lambda p: record(ALERT, b"\x01\x00"), {GONE, PEER_ALERT, PROTOCOL}),
    ("close_notify that is not sealed", "1.3", lambda p: record(ALERT, b"\x01\x00"), {GONE, PEER_ALERT, PROTOCOL}),
    ("an alert of half its size", "1.2", lambda p: record(ALERT, b"\x02"), {PROTOCOL, GONE}),
    ("warnings without end", "1.2", lambda p: record(ALERT, b"\x01\x5a") * 1000, {PROTOCOL, PEER_ALERT}),
    ("ChangeCipherSpec without end", "1.3", lambda p: record(CHANGE_CIPHER_SPEC, b"\x01") * 1000, {PROTOCOL}),
    ("empty records without end", "1.3", lambda p: record(HANDSHAKE, b"") * 1000, {PROTOCOL}),
    ("empty records without end", "1.2", lambda p: record(HANDSHAKE, b"") * 1000, {PROTOCOL}),
    ("noise", "1.3", lambda p: record(DATA, os.urandom(100)), {PROTOCOL}),
    ("noise", "1.2", lambda p: record(HANDSHAKE, message(16, vector(1, os.urandom(65)))), {PROTOCOL}),
    ("no records", "1.3", lambda p: b"\x99" * 100, {PROTOCOL, NO_VERSION}),
    ("a record that is too long", "1.3", lambda p: record(DATA, bytes(16384 + 257)), {PROTOCOL}),
    ("plain data", "1.2", lambda p: record(DATA, REQUEST % 0), {PROTOCOL}),
    ("the hello again", "1.2", lambda p: clienthello(), {PROTOCOL}),
    ("the hello again", "1.3", lambda p: clienthello(), {PROTOCOL}),
    ("a Finished with a wrong bit", "1.3", lambda p: garbled(p.flight(), -1), {PROTOCOL}),
    ("a Finished with a wrong bit", "1.2", lambda p: garbled(p.flight(), -1), {PROTOCOL}),
    ("a key exchange that is not on the curve", "1.2", lambda p: garbled(p.flight(), 20), {PROTOCOL}),
    ("no ChangeCipherSpec", "1.2", lambda p: b"".join(record(k, c) for k, c in split(p.flight()) if k != CHANGE_CIPHER_SPEC), {PROTOCOL}),
    ("nothing but ChangeCipherSpec", "1.2", lambda p: record(CHANGE_CIPHER_SPEC, b"\x01"), {PROTOCOL}),
    ("ChangeCipherSpec of two bytes", "1.3", lambda p: record(CHANGE_CIPHER_SPEC, b"\x01\x01"), {PROTOCOL}),
]


def flights(o):
    out = []
    for name, version, second, right in SECOND:
        before = reasons(o)
        p = send_hello(o, version)
        try:
            p.take()
            p.send(second(p))
        except OSError:
            pass
        alert, end = p.how_it_ends()
        out.append([f"{name} ({version})", sorted(right), counted(o, before), alert, end])
    for version in ("1.2", "1.3"):
        before = reasons(o)
        alert, end = refuse(o, version).how_it_ends()
        out.append([f"the certificate is refused ({version})", [PEER_ALERT], counted(o, before), alert, end])
    return out


# -- records behind the handshake

def update(s, value=0, tail=b""):
    sealed = s.seal(HANDSHAKE, message(KEY_UPDATE, bytes([value])) + tail)
    s.update()
    return sealed


def again(sealed):
    return sealed + sealed


SEALED = [  # (name, version, what is sent, reasons that are right; none: it ends as it likes)
    ("noise", "1.3", lambda s: record(DATA, os.urandom(100)), {BAD_RECORD}),
    ("noise", "1.2", lambda s: record(DATA, os.urandom(100)), {BAD_RECORD}),
    ("plain HTTP", "1.3", lambda s: REQUEST % 0, {BAD_RECORD}),
    ("plain HTTP", "1.2", lambda s: REQUEST % 0, {BAD_RECORD}),
    ("a record of 3 bytes", "1.3", lambda s: record(DATA, b"abc"), {BAD_RECORD}),
    ("a record of 3 bytes", "1.2", lambda s: record(DATA, b"abc"), {BAD_RECORD}),
    ("a record that is too long", "1.3", lambda s: record(DATA, bytes(16384 + 257)), {BAD_RECORD}),
    ("a record that is too long", "1.2", lambda s: record(DATA, bytes(16384 + 2049)), {BAD_RECORD}),
    ("content that is too long", "1.3", lambda s: s.seal(DATA, bytes(16385)), {BAD_RECORD}),
    ("content that is too long", "1.2", lambda s: s.seal(DATA, bytes(16385)), {BAD_RECORD}),
    ("a record again", "1.3", lambda s: again(s.seal(DATA, b"GET / HTT")), {BAD_RECORD}),
    ("a record again", "1.2", lambda s: again(s.seal(DATA, b"GET / HTT")), {BAD_RECORD}),
    ("a plain alert", "1.3", lambda s: record(ALERT, b"\x02\x00"), {BAD_RECORD}),
    ("empty records without end", "1.3", lambda s: b"".join(s.seal(DATA, b"") for _ in range(2000)), {BAD_RECORD}),
    ("empty records without end", "1.2", lambda s: b"".join(s.seal(DATA, b"") for _ in range(2000)), {BAD_RECORD}),
    ("nothing but padding", "1.3", lambda s: s.seal(0, b"", 300), {BAD_RECORD}),
    ("a type that is none", "1.3", lambda s: s.seal(99, b"x"), {BAD_RECORD}),
    ("a heartbeat", "1.2", lambda s: s.seal(24, b"\x01\x40\x00" + bytes(16)), {BAD_RECORD}),
    ("an empty handshake record", "1.3", lambda s: s.seal(HANDSHAKE, b""), {BAD_RECORD}),
    ("ChangeCipherSpec", "1.3", lambda s: record(CHANGE_CIPHER_SPEC, b"\x01"), {BAD_RECORD}),
    ("ChangeCipherSpec", "1.2", lambda s: s.seal(CHANGE_CIPHER_SPEC, b"\x01"), {BAD_RECORD}),
    ("warnings without end", "1.3", lambda s: b"".join(s.seal(ALERT, b"\x01\x5a") for _ in range(1000)), {BAD_RECORD}),
    ("warnings without end", "1.2", lambda s: b"".join(s.seal(ALERT, b"\x01\x5a") for _ in range(1000)), {BAD_RECORD}),
    ("a fatal alert", "1.3", lambda s: s.seal(ALERT, b"\x02\x50"), None),
    ("a fatal alert", "1.2", lambda s: s.seal(ALERT, b"\x02\x50"), None),
    ("a ClientHello", "1.3", lambda s: s.seal(HANDSHAKE, message(CLIENT_HELLO, hello())), {BAD_RECORD}),
    ("a ticket", "1.3", lambda s: s.seal(HANDSHAKE, message(4, bytes(40))), {BAD_RECORD}),
    ("a message of 16 MB", "1.3", lambda s: s.seal(HANDSHAKE, message(KEY_UPDATE, b"\0", length=0xffffff)), {BAD_RECORD}),
    ("KeyUpdate with a value that is none", "1.3", lambda s: update(s, 2), {BAD_RECORD}),
    ("KeyUpdate with more behind it", "1.3", lambda s: update(s, 0, message(KEY_UPDATE, b"\0")), {BAD_RECORD}),
    ("data within KeyUpdate", "1.3", lambda s: s.seal(HANDSHAKE, message(KEY_UPDATE, b"\0")[:3]) + s.seal(DATA, b"GET"), {BAD_RECORD}),
    ("KeyUpdate under the old keys", "1.3", lambda s: again(s.seal(HANDSHAKE, message(KEY_UPDATE, b"\0"))), {BAD_RECORD}),
    ("KeyUpdates without end", "1.3", lambda s: b"".join(update(s) for _ in range(5000)), {FLOOD}),
    ("KeyUpdates without end that ask for more", "1.3", lambda s: b"".join(update(s, 1) for _ in range(5000)), {FLOOD}),
    ("other handshakes without end", "1.2", lambda s: b"".join(s.seal(HANDSHAKE, message(CLIENT_HELLO, hello())) for _ in range(1000)),
     {RENEGOTIATION, BAD_RECORD}),
    ("HelloRequests", "1.2", lambda s: b"".join(s.seal(HANDSHAKE, message(0, b"")) for _ in range(1000)), {BAD_RECORD, RENEGOTIATION}),
    ("a Finished", "1.2", lambda s: s.seal(HANDSHAKE, message(20, bytes(12))), {BAD_RECORD, RENEGOTIATION}),
]


def sealed(o):
    out = []
    for name, version, what, right in SEALED:
        before = reasons(o)
        p = Peer(o, version).handshake()
        try:
            p.send(what(p.sealer()))
        except OSError:
            pass
        alert, end = p.how_it_ends()
        out.append([f"{name} ({version})", sorted(right or []), counted(o, before, 1 if right else 0), alert, end])
    return out


# -- what is allowed

def one_by_one(p):
    """Byte by byte, each a packet (or some, as the kernel likes)."""
    for flight in (p.flight, p.flight):
        for b in flight():
            p.send(bytes([b]))


def of_records(n):
    return lambda p: p.handshake(lambda records: fragments(records, n) if n else records)


def with_request(p):
    """Finished and a request in one segment."""
    p.send(p.flight())
    last = p.flight()
    s = p.sealer()
    p.send(last + s.seal(DATA, REQUEST % 1))
    return s


def padded(s):
    return s.seal(DATA, b"", 1000) + b"".join(s.seal(DATA, bytes([b]), 50) for b in REQUEST % 1)


ODD = [  # (name, version, handshake, records before a request)
    ("hello and Finished byte by byte", "1.3", one_by_one, None),
    ("hello and the rest byte by byte", "1.2", one_by_one, None),
    ("a record for each byte of the hello", "1.3", of_records(1), None),
    ("records of 37 bytes", "1.3", of_records(37), None),
    ("records of 3 bytes", "1.2", of_records(3), None),
    ("Finished with a request", "1.3", with_request, None),
    ("some empty records", "1.3", of_records(0), lambda s: b"".join(s.seal(DATA, b"") for _ in range(10))),
    ("some empty records", "1.2", of_records(0), lambda s: b"".join(s.seal(DATA, b"") for _ in range(10))),
    ("padding", "1.3", of_records(0), padded),
    ("a record for each byte", "1.2", of_records(0), lambda s: b"".join(s.seal(DATA, bytes([b])) for b in REQUEST % 1)),
    ("KeyUpdate", "1.3", of_records(0), update),
    ("KeyUpdate that asks for one", "1.3", of_records(0), lambda s: update(s, 1)),
    ("KeyUpdate in pieces", "1.3", of_records(0),
     lambda s: b"".join(s.seal(HANDSHAKE, bytes([b])) for b in message(KEY_UPDATE, b"\0")) + (s.update() or b"")),
    ("KeyUpdate within a request", "1.3", of_records(0), lambda s: s.seal(DATA, (REQUEST % 1)[:20]) + update(s) + s.seal(DATA, (REQUEST % 1)[20:])),
]


def odd(o):
    """The request behind it is answered, and no reason is counted."""
    out = []
    for name, version, shake, before_request in ODD:
        before = reasons(o)
        p, alert = Peer(o, version), ""
        try:
            sealer = shake(p)
            sealer = p.sealer() if not hasattr(sealer, "seal") else sealer
            while version == "1.2" and not p.is_finished():
                p.take()
            if before_request:
                p.send(before_request(sealer))
            status = p.ask(sealer, "/2")
        except (EOFError, OSError, ssl.SSLError) as e:
            status, alert = 0, f"{type(e).__name__} {e}"
        p.leave()
        out.append([f"{name} ({version})", [], counted(o, before, 0), alert, status])
    return out


def no_renegotiation(o):
    """A client of 1.2 that asks for one is told that there is none; its connection goes on. Types of the records that came: 21 and 23."""
    before = reasons(o)
    p = Peer(o, "1.2").handshake()
    sealer, at = p.sealer(), len(p.raw)
    p.send(sealer.seal(HANDSHAKE, message(CLIENT_HELLO, hello())) + sealer.seal(DATA, (REQUEST % 1).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    end = p.how_it_ends()[1]
    return {"types": sorted({k for k, _ in split(p.raw[at:])}), "reasons": counted(o, before, 0), "end": end}


# -- ends at every byte

def leave_after(o, data, how):
    s = socket.create_connection((o["address"], o["port"]), timeout=WAIT)
    s.sendall(data)
    if how == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def cuts(o):
    """Connections that end behind each byte of the client's flights, by FIN and by RST: how many of each."""
    n = {"end": 0, "reset": 0}
    for version in ("1.3", "1.2"):
        whole = Peer(o, version)
        first_flight = whole.flight()
        whole.leave()  # one that said nothing
        n["end"] += 1
        for how in n:
            for at in range(1, len(first_flight), o["step"]):
                leave_after(o, first_flight[:at], how)
                n[how] += 1
            at, size = 0, 1
            while at < size:
                p = send_hello(o, version)
                second = p.flight()
                size = len(second)
                p.send(second[:at])
                p.leave(how)
                n[how] += 1
                at += o["step"]
    return n


def late(o):
    """For a drain. {idle: how it ends, told: by close_notify, late: the status of its request, end}"""
    idle = Peer(o).handshake()
    idle.ask(idle.sealer())
    p = send_hello(o, "1.3")
    last = p.flight()
    print(json.dumps({"begun": True}), flush=True)
    sys.stdin.readline()
    alert, end = idle.how_it_ends()
    told = False
    try:
        told = idle.tls.read(1) == b""
    except ssl.SSLZeroReturnError:
        told = True
    except ssl.SSLError:
        pass
    p.send(last)
    status = p.ask(p.sealer())
    return {"idle": alert or end, "told": told, "late": status, "end": p.how_it_ends()[1]}


def flood(o):
    """Hellos that are real (each makes the server sign), whose clients go when the answer's first bytes are there or at once."""
    before, begun, open_, sel = reasons(o), 0, {}, selectors.DefaultSelector()
    data = Peer(o, "1.3").flight()
    while begun < o["n"] or open_:
        while begun < o["n"] and len(open_) < o["open"]:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.setblocking(False)
            s.connect_ex((o["address"], o["port"]))
            open_[s] = begun
            sel.register(s, selectors.EVENT_WRITE)
            begun += 1
        for key, mask in sel.select(1.0):
            s = key.fileobj
            try:
                if mask & selectors.EVENT_WRITE:
                    s.send(data)
                    if open_[s] % 2:
                        sel.modify(s, selectors.EVENT_READ)
                        continue
                else:
                    s.recv(10)
            except OSError:
                pass
            sel.unregister(s)
            s.close()
            del open_[s]
    return {"begun": begun, "reasons": counted(o, before, 0)}


MODES = {f.__name__: f for f in (first, flights, sealed, odd, no_renegotiation, cuts, late, flood)}
if __name__ == "__main__":
    print(json.dumps(MODES[sys.argv[1]](json.loads(sys.argv[2]))))
