#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An HTTPS server for test_http.c, and the certificates for it: ca.pem, client.pem, client.key in FOLDER.

Prints its port, that of the same without TLS, and those of four that speak HTTP/2 (class Http2: three dead, one alive). Ends when its standard input does. What a path answers is in Handler.do_GET.
"""
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading

folder = sys.argv[1]


def openssl(*args):
    subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_certificates():
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    for name, names in (("server", "IP:127.0.0.1,DNS:api.test"), ("client", "DNS:somebody.test")):
        with open(os.path.join(folder, "ext"), "w") as f:
            f.write(f"subjectAltName={names}\n")
        openssl("req", "-new", *key[:-2], "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "ext", "-out", f"{name}.pem")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def echo(self):
        n = int(self.headers.get("Content-Length", 0))
        peer = (self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None) or {}
        names = dict(pair for rdn in peer.get("subject", ()) for pair in rdn)
        return json.dumps({
            "method": self.command, "path": self.path, "body": self.rfile.read(n).decode(), "host": self.headers["Host"],
            "auth": self.headers.get("Authorization", ""), "accept": self.headers.get("Accept", ""),
            "type": self.headers.get("Content-Type", ""), "cert": names.get("commonName", ""),
        }).encode()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def do_GET(self):
        body = self.echo()
        if self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"0123456789")
            self.close_connection = True
        elif self.path == "/hang":
            forever.wait()
        elif self.path in ("/stream", "/silent"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.chunk(b"one")
            if self.path == "/silent":
                forever.wait()
            self.chunk(b"two")
            self.chunk(b"")
        elif self.path == "/busy":
            self.answer(429, b"{}", Retry_After="7")
        elif self.path == "/moved":
            self.answer(302, b"", Location="/echo")
        elif self.path == "/guarded" and self.headers.get("Authorization") != "Bearer second":
            self.answer(401, b"no")
        elif self.path == "/large":
            self.answer(200, b"x" * (4 << 20))
        else:
            self.answer(200, body)

    do_POST = do_PATCH = do_DELETE = do_GET


class Http2:
    """As much of HTTP/2 as an answer takes, by the number of a connection and of a stream, on a port of its own.

    The first stream of the first connection is answered and stays open, as a watch. dead: on that connection nothing else
    is said. Not so: its second stream is not answered, all others are. Of other connections all are.
    """
    def __init__(self, is_dead):
        self.is_dead, self.n_connections = is_dead, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            raw, _ = self.listener.accept()
            self.n_connections += 1
            threading.Thread(target=self.serve, args=(raw, self.n_connections), daemon=True).start()

    @staticmethod
    def frame(kind, flags=0, stream=0, payload=b""):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def answer(self, stream, number):
        status_200 = self.frame(1, 4, stream, b"\x88")
        if number > 1 or stream > (1 if self.is_dead else 3):
            return b"" if number == 1 and self.is_dead else status_200 + self.frame(0, 1, stream, b"{}")
        return status_200 + self.frame(0, 0, stream, b"one") if stream == 1 else b""

    def serve(self, raw, number):
        try:
            with http2_context.wrap_socket(raw, server_side=True) as s, s.makefile("rb") as f:
                f.read(24)  # the preface
                s.sendall(self.frame(4))
                while len(head := f.read(9)) == 9:
                    kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
                    f.read(int.from_bytes(head[:3], "big"))
                    if kind == 1:
                        s.sendall(self.answer(stream, number))
        except OSError:
            pass


forever = threading.Event()
make_certificates()
http.server.ThreadingHTTPServer.handle_error = lambda *args: None  # clients that refuse us, and go away
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
context.load_verify_locations(os.path.join(folder, "ca.pem"))
context.verify_mode = ssl.CERT_OPTIONAL
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
plain.daemon_threads = True
for s in (server, plain):
    threading.Thread(target=s.serve_forever, daemon=True).start()
http2_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
http2_context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
http2_context.set_alpn_protocols(["h2"])
print(server.server_address[1], plain.server_address[1], *(Http2(is_dead).port for is_dead in (True, True, True, False)), flush=True)
sys.stdin.read()
