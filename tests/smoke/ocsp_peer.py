# SPDX-License-Identifier: Apache-2.0
"""An OCSP responder for the smoke tests: ocsp_peer.py PORT FILE, over HTTP on all addresses.

FILE is JSON, read again for each request: {"ca", "index", "signers": {name: [crt, key]}, "of": {name: {...}}}. The first part of
the path is a name; "of" says how it fares: "mode" (good, if it is not said: then `openssl ocsp` says what the index has of
the certificate), "to" of a redirect, "signer", "minutes" until nextUpdate, "max_age". Each request is a line on standard output: METHOD name.
"""
import base64
import http.server
import json
import pathlib
import socketserver
import subprocess
import sys
import tempfile
import time
import urllib.parse

LATER = bytes((0x30, 3, 0x0a, 1, 3))  # tryLater (RFC 6960 4.2.1)


def answer(request, config, how):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "request").write_bytes(request)
        crt, key = config["signers"][how.get("signer", "appointed")]
        subprocess.run(["openssl", "ocsp", "-index", config["index"], "-CA", config["ca"], "-rsigner", crt, "-rkey", key, "-reqin",
                        path / "request", "-respout", path / "response", "-nmin", str(how.get("minutes", 60))],
                       check=True, capture_output=True, timeout=60)
        return (path / "response").read_bytes()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        name, _, rest = self.path[1:].partition("/")
        self.respond(name, base64.b64decode(urllib.parse.unquote(rest)), rest)

    def do_POST(self):
        self.respond(self.path[1:].split("/")[0], self.rfile.read(int(self.headers["Content-Length"])))

    def respond(self, name, request, rest=""):
        config = json.loads(pathlib.Path(sys.argv[2]).read_text())
        how = config["of"].get(name, {})
        mode = how.get("mode", "good")
        sys.stdout.write(f"{self.command} {name}\n")  # whole, for there are several threads
        sys.stdout.flush()
        if mode == "redirect":
            return self.send(302, b"", Location=how["to"] + rest)
        if mode == "slow":
            time.sleep(30)
        if mode == "error":
            return self.send(500, b"no")
        bodies = {"garbage": b"\x30\x82garbage" * 20, "huge": b"\x30" * 200000, "later": LATER}
        body = bodies[mode] if mode in bodies else answer(request, config, how)
        more = {"Cache-Control": f"public, max-age={how['max_age']}"} if "max_age" in how else {}
        return self.send(200, body, **more)

    def send(self, status, body, **headers):
        self.send_response(status)
        self.send_header("Content-Type", "application/ocsp-response")
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


if __name__ == "__main__":
    Server(("", int(sys.argv[1])), Handler).serve_forever()
