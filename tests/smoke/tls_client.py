#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TLS clients over Python's ssl, run in the peers' namespace: tls_client.py MODE OPTIONS, which are JSON:

    address, port, ca, name    where to, whom to trust, the server name (null: none is sent, none verified)
    host, path, version        of requests (host: the server name if not given); "1.2" or "1.3": that one alone
    ciphers, alpn              as ssl takes them; ["http/1.1"] if not given
    pair                       files of our own certificate and its key
A mode's last line is JSON: what it saw. MODES at the end says what each does.
"""
import contextlib
import gzip
import hashlib
import http.client
import json
import pathlib
import random
import socket
import ssl
import struct
import sys
import threading
import time

WAIT = 60.0  # a peer's patience; nothing is measured by it


def context_of(o):
    c = ssl.create_default_context(cafile=o["ca"])
    c.check_hostname = bool(o["name"]) and o.get("verify", True)
    if not o.get("verify", True):
        c.verify_mode = ssl.CERT_NONE
    c.set_alpn_protocols(o.get("alpn", ["http/1.1"]))
    if o.get("version"):
        c.minimum_version = c.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[o["version"]]
    if o.get("ciphers"):
        c.set_ciphers(o["ciphers"])
    if o.get("pair"):
        c.load_cert_chain(*o["pair"])
    return c


def connect(o, context=None, session=None):
    raw = socket.create_connection((o["address"], o["port"]), timeout=WAIT)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return (context or context_of(o)).wrap_socket(raw, server_hostname=o["name"], session=session)
    except BaseException:
        raw.close()
        raise


def digest_of(s):
    return hashlib.sha256(s.getpeercert(binary_form=True)).hexdigest()


class Connection(http.client.HTTPConnection):
    """HTTP over a socket that is there."""

    def __init__(self, s, host):
        super().__init__(host)
        self.sock = s
        self.auto_open = 0

    def close(self):
        """Not the socket, which is its owner's: it is asked about after the last answer."""


def ask_on(s, o, method="GET", path=None, body=None, headers=None, close=False):
    """(status, headers, body) of a request."""
    c = Connection(s, o.get("host") or o["name"])
    c.request(method, path or o.get("path", "/"), body, {**(headers or {}), **({"Connection": "close"} if close else {})},
              encode_chunked=bool(headers and "Transfer-Encoding" in headers))
    answer = c.getresponse()
    return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()


# -- modes

def ask(o):
    """One handshake and one request: how they ended."""
    try:
        with connect(o) as s:
            status, headers, body = ask_on(s, o, close=True)
            return {"version": s.version(), "cipher": s.cipher()[0], "alpn": s.selected_alpn_protocol(), "digest": digest_of(s),
                    "status": status, "headers": headers, "body": body.decode("latin1"), "alert": None}
    except ssl.SSLError as e:
        return {"alert": e.reason or str(e), "status": 0, "digest": ""}
    except OSError as e:
        return {"alert": type(e).__name__, "status": 0, "digest": ""}


def several(o):
    """ask() for each of the lists of options in o["of"]."""
    return [ask({**o, **one}) for one in o["of"]]


def resume(o):
    """o["n"] connections, each with the session of the one before. Tickets of 1.3 come with the first answer."""
    context, session, out = context_of(o), None, []
    for _ in range(o["n"]):
        with connect(o, context, session) as s:
            status, _, _ = ask_on(s, o, close=not o.get("keep"))
            out.append({"reused": s.session_reused, "status": status, "version": s.version(), "digest": digest_of(s)})
            session = s.session
    return out


def bodies(o):
    """Each size up and down again, as one connection's requests: which came back otherwise."""
    wrong, rnd = [], random.Random(1)
    with connect(o) as s:
        for i, n in enumerate(o["sizes"]):
            data, path = rnd.randbytes(n), f"/up/{o.get('stem', 'b')}{i}"
            chunked = {"Transfer-Encoding": "chunked"}
            # http.client sends an iterable's items as chunks.
            pieces = [data[at:at + o["chunk"]] for at in range(0, n, o["chunk"])] if o.get("chunk") else None
            steps = [("PUT", path, iter(pieces) if pieces is not None else data, chunked if pieces is not None else {}),
                     ("GET", "/files" + path, None, {}), ("GET", "/zip" + path, None, {"Accept-Encoding": "gzip"}),
                     ("HEAD", "/files" + path, None, {})]
            for method, p, body, headers in steps:
                status, got, answer = ask_on(s, o, method, p, body, headers)
                if got.get("content-encoding") == "gzip":
                    answer = gzip.decompress(answer)
                right = {"PUT": status in (201, 204), "GET": status == 200 and answer == data,
                         "HEAD": status == 200 and answer == b"" and int(got["content-length"]) == n}[method]
                if not right:
                    wrong.append([n, method, p, status, len(answer)])
    return {"wrong": wrong}


def answers(o):
    """Answers without a body, between others on one connection: [status, bytes]."""
    out = []
    with connect(o) as s:
        for method, path, body in (("PUT", "/up/none", b"x"), ("PUT", "/up/none", b"y"), ("GET", "/files/up/none", None),
                                   ("GET since", "/files/up/none", None), ("HEAD", "/files/up/none", None), ("GET", "/files/up/none", None)):
            headers = {"If-Modified-Since": since} if method.endswith("since") else {}
            status, got, answer = ask_on(s, o, method.split()[0], path, body, headers)
            since = got.get("last-modified")
            out.append([status, len(answer)])
    return out


def pipeline(o):
    """o["n"] requests at once, of which none waits for an answer; all of it in one record, in many, and one byte in each."""
    out = []
    host = o.get("host") or o["name"]
    for cut in o["cuts"]:
        asked = b"".join(f"GET /{i} HTTP/1.1\r\nHost: {host}\r\n{'Connection: close' + chr(13) + chr(10) if i == o['n'] - 1 else ''}\r\n".encode()
                         for i in range(o["n"]))
        with connect(o) as s:
            for at in range(0, len(asked), cut):
                s.sendall(asked[at:at + cut])
            got = b""
            while data := s.recv(65536):
                got += data
        out.append([got.count(b"HTTP/1.1 200"), all(f"/{i}\n".encode() in got for i in range(o["n"]))])
    return out


def leave(s, how):
    if how == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "notify":
        s.settimeout(0)
        try:
            s.unwrap()
        except (ssl.SSLError, OSError):
            pass  # it is not waited for
    s.close()


def leave_early(o):
    """Goes at many points of an upload and of a download, in three ways."""
    n = 0
    context = context_of(o)
    for how in ("end", "reset", "notify"):
        for sent in o["points"]:
            s = connect(o, context)
            head = f"PUT /up/early HTTP/1.1\r\nHost: {o['name']}\r\nContent-Length: 1000000\r\n\r\n".encode()
            s.sendall((head + bytes(max(sent - len(head), 0)))[:sent] if sent else b"")
            leave(s, how)
            s = connect(o, context)
            s.sendall(f"GET {o['path']} HTTP/1.1\r\nHost: {o['name']}\r\n\r\n".encode())
            left = sent
            while left > 0 and (data := s.recv(min(left, 65536))):
                left -= len(data)
            leave(s, how)
            n += 2
    return {"left": n}


def half(o):
    """Asks, then close_notify and FIN: the answer comes all the same (RFC 8446 6.1), and the peer's close_notify behind it.

    Over buffers: SSL_shutdown() on a socket sends, then looks for the peer's close_notify, and takes an answer that is already
    there for an error of the peer's. Here it finds nothing, and SSL_read() takes what comes later."""
    got, end = b"", "no close_notify"
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    s = context_of(o).wrap_bio(into, out, server_hostname=o["name"])
    with socket.create_connection((o["address"], o["port"]), timeout=WAIT) as raw:
        def step(f, *args, receives=True):
            """f's result; None: it wants what has not come, and is not waited for."""
            while True:
                try:
                    return f(*args)
                except ssl.SSLWantReadError:
                    if out.pending:
                        raw.sendall(out.read())
                    if not receives:
                        return None
                    data = raw.recv(65536)
                    into.write(data) if data else into.write_eof()
        step(s.do_handshake)
        s.write(f"GET {o['path']} HTTP/1.1\r\nHost: {o['name']}\r\n\r\n".encode())
        step(s.unwrap, receives=False)
        raw.shutdown(socket.SHUT_WR)
        try:
            while data := step(s.read, 65536):
                got += data
        except ssl.SSLZeroReturnError:
            end = "close_notify"
        except (ssl.SSLError, OSError) as e:
            end = f"{type(e).__name__} {e}"
    head, _, body = got.partition(b"\r\n\r\n")
    return {"status": int(head.split()[1]) if head else 0, "digest": hashlib.sha256(body).hexdigest(), "end": end}


def dawdle(o):
    """o["n"] connections of which none sends more than the beginning of a hello; how each of them ended."""
    peers = [socket.socket() for _ in range(o["n"])]
    for i, s in enumerate(peers):
        s.settimeout(WAIT)
        with contextlib.suppress(OSError):  # one too many, which is reset at once
            s.connect((o["address"], o["port"]))
            s.sendall(b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"[:i])
    ends = []
    for s in peers:
        try:
            while s.recv(100):
                pass
            ends.append("end")
        except OSError as e:
            ends.append(type(e).__name__)
        s.close()
    return ends


class SteadyClient(threading.Thread):
    """Judges each of its answers. Every connection has o["each"] requests; every second one asks for resumption, where o["resume"]."""

    def __init__(self, o, i, begun):
        super().__init__(daemon=True)
        self.o, self.i, self.begun = o, i, begun
        self.ok, self.reused, self.connections, self.failed, self.digests, self.began = 0, 0, 0, [], {}, time.monotonic()

    def ask_some(self, context, session):
        """One connection. A request on a kept one that the peer closes in that moment is asked again (RFC 9112 9.3.1)."""
        with connect(self.o, context, session) as s:
            digest = digest_of(s)
            self.connections += 1
            self.reused += s.session_reused
            self.digests[digest] = self.digests.get(digest, 0) + 1
            for k in range(self.o.get("each", 1)):
                last = k == self.o.get("each", 1) - 1
                try:
                    status, headers, body = ask_on(s, self.o, path=f"/steady/{self.i}/{k}", close=last)
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                    if k == 0:
                        raise
                    return None
                if status != 200 or f"/steady/{self.i}/{k}".encode() not in body:
                    raise ValueError(f"{status} {body[:100]!r}")
                self.ok += 1
                self.begun.release()
                if headers.get("connection") == "close":
                    break
            return s.session

    def run(self):
        context, session = context_of(self.o), None
        while not pathlib.Path(self.o["stop"]).exists():
            try:
                got = self.ask_some(context, session if self.o.get("resume") and self.connections % 2 else None)
                session = got or session
            except Exception as e:  # whatever it is, it is a request that failed
                self.failed.append([round(time.monotonic() - self.began, 3), f"{type(e).__name__}: {e}"])
                time.sleep(0.02)
            time.sleep(self.o.get("gap", 0.01))


def steady(o):
    """o["clients"] clients until the file o["stop"] is there: {ok, connections, reused, failed, digests: {digest: connections}}"""
    begun = threading.Semaphore(0)
    clients = [SteadyClient(o, i, begun) for i in range(o.get("clients", 4))]
    for c in clients:
        c.start()
    begun.acquire(timeout=WAIT)
    print(json.dumps({"begun": True}), flush=True)
    for c in clients:
        c.join()
    digests = {}
    for c in clients:
        for d, seen in c.digests.items():
            digests[d] = digests.get(d, 0) + seen
    return {"ok": sum(c.ok for c in clients), "connections": sum(c.connections for c in clients),
            "reused": sum(c.reused for c in clients), "failed": sorted(f for c in clients for f in c.failed)[:20], "digests": digests}


def ask_if_open(s, o):
    """The status; "closed": the connection has ended, and no answer came."""
    try:
        return ask_on(s, o)[0]
    except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return "closed"


def keep(o):
    """Opens a connection for each of o["of"], and for each line on stdin asks on all of them: [status or "closed", ...]; "end": ends."""
    open_ = [(connect({**o, **one}), {**o, **one}) for one in o["of"]]
    print(json.dumps([digest_of(s) for s, _ in open_]), flush=True)
    while (line := sys.stdin.readline().strip()) not in ("", "end"):
        print(json.dumps([ask_if_open(s, one) for s, one in open_]), flush=True)
    return []


MODES = {f.__name__: f for f in (ask, several, resume, bodies, answers, pipeline, leave_early, half, dawdle, steady, keep)}
if __name__ == "__main__":
    print(json.dumps(MODES[sys.argv[1]](json.loads(sys.argv[2]))))
