# SPDX-License-Identifier: Apache-2.0
"""What the tests of TLS share: a certificate authority, the objects that name its certificates, and clients of all kinds.

The authority is made once in a process, by openssl: a root that clients trust, and an intermediate that issues. Where a
client connects to is a Front, so that a client can be tried against another server than Weir (nginx_front()).
"""
import atexit
import base64
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import tempfile

from rig import MANIFESTS, PEER4, WEB, WEIR4, Skipped, expect, gateway, ingress, service, slice_

HERE = pathlib.Path(__file__).resolve().parent
CLIENT, ABUSE, GO_CLIENT = HERE / "tls_client.py", HERE / "tls_abuse.py", HERE / "tls_go"
ZIP = 8083  # port of nginx where it compresses, so in chunks
ZIP_SERVER = f"""server {{ listen {PEER4}:{ZIP}; gzip on; gzip_min_length 1; gzip_comp_level 1; gzip_types *; gzip_proxied any;
    location /zip/ {{ proxy_pass http://{PEER4}:{WEB}/files/; proxy_http_version 1.1; }} }}
"""


# -- certificates

class Pair:
    """A certificate with its chain and its key, as files in PEM; digest: SHA-256 of the leaf, in hex."""

    def __init__(self, crt, key):
        self.crt, self.key = crt, key
        leaf = ssl.PEM_cert_to_DER_cert(crt.read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
        self.digest = hashlib.sha256(leaf).hexdigest()


class Authority:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="weir-tls-"))
        self.dir.chmod(0o755)
        atexit.register(shutil.rmtree, self.dir, ignore_errors=True)
        self.n = 0
        ca = ["keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash"]
        self.root = self.make("root", "/CN=root", None, "ec", ["basicConstraints=critical,CA:TRUE", *ca])
        self.middle = self.make("middle", "/CN=middle", "root", "ec", [
            "basicConstraints=critical,CA:TRUE,pathlen:0", "authorityKeyIdentifier=keyid", *ca])

    def make(self, name, subject, issuer, key, extensions):
        crt, out = self.dir / f"{name}.crt", self.dir / f"{name}.key"
        kinds = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}
        by = ["-CA", self.dir / f"{issuer}.crt", "-CAkey", self.dir / f"{issuer}.key"] if issuer else []
        subprocess.run(["openssl", "req", "-x509", "-newkey", *kinds[key], "-nodes", "-days", "90", "-keyout", out, "-out", crt,
                        "-subj", subject, *by, *(a for e in extensions for a in ("-addext", e))],
                       check=True, capture_output=True, timeout=60, env={**os.environ, "OPENSSL_CONF": self.conf()})
        return crt

    def conf(self):
        """Without the default file's extensions, which would make a leaf an authority."""
        path = self.dir / "openssl.cnf"
        path.write_text("[req]\ndistinguished_name=dn\n[dn]\n")
        return str(path)

    def issue(self, *names, key="ec"):
        self.n += 1
        stem = f"leaf{self.n}"
        crt = self.make(stem, f"/CN={names[0]}", "middle", key, [
            "subjectAltName=" + ",".join(f"DNS:{n}" for n in names), "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature" + (",keyEncipherment" if key == "rsa" else ""), "extendedKeyUsage=serverAuth",
            "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid"])
        crt.write_text(crt.read_text() + self.middle.read_text())
        return Pair(crt, self.dir / f"{stem}.key")


@functools.cache
def authority():
    return Authority()


@functools.cache
def issued(names, key, edition):
    return authority().issue(*names, key=key)


def pair(*names, key="ec", edition=0):
    """Of the authority, the same one each time; another one for another edition."""
    return issued(names, key, edition)


# -- objects

def secret(name, p, key=None, ns="demo"):
    """Of a Pair; key: of another one, which does not fit."""
    data = {n: base64.b64encode(path.read_bytes()).decode() for n, path in (("tls.crt", p.crt), ("tls.key", (key or p).key))}
    return f"""apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {ns}}}
type: kubernetes.io/tls
data: {json.dumps(data)}
---
"""


def tls_ingress(name, host, paths, secret_name):
    tls = f"  tls: [{{hosts: [{host}], secretName: {secret_name}}}]\n"
    return ingress(name, host, paths).replace("spec:\n", "spec:\n" + tls, 1)


def listener(name, *secrets, hostname=None, port=443):
    refs = ", ".join(f"{{name: {s}}}" for s in secrets)
    host = f"hostname: \"{hostname}\", " if hostname else ""
    return f"{{name: {name}, port: {port}, protocol: HTTPS, {host}tls: {{certificateRefs: [{refs}]}}}}"


def http_route(name, hostnames, section, backend="web"):
    return f"""apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: demo}}
spec:
  parentRefs: [{{name: edge, sectionName: {section}}}]
  hostnames: {json.dumps(hostnames)}
  rules: [{{backendRefs: [{{name: {backend}, port: 80}}]}}]
---
"""


SHOP, EXACT, WILD, ANY = "shop.example.com", "exact.example.org", "*.wild.example.org", "any.example.net"
ANY_PORT = 8443  # of the listener without a host name


def manifests(**more):
    """An Ingress and a Gateway with listeners of all kinds; more: other files, dashes for underscores."""
    exact = [pair(EXACT), pair(EXACT, key="rsa")]
    edge = gateway(", ".join(["{name: http, port: 80, protocol: HTTP}", listener("exact", "exact-ec", "exact-rsa", hostname=EXACT),
                              listener("wild", "wild", hostname=WILD), listener("any", "any", port=ANY_PORT)]))
    shop = [("/", "Prefix", "web"), ("/api", "Prefix", "api"), ("/zip", "Prefix", "zip")]
    return {
        "services.yaml": MANIFESTS["services.yaml"] + service("zip") + slice_("zip", PEER4, ZIP),
        "shop.yaml": tls_ingress("shop", SHOP, shop, "shop"),
        "shop-secret.yaml": secret("shop", pair(SHOP)),
        "edge.yaml": edge + http_route("exact", [EXACT], "exact") + http_route("wild", [WILD], "wild", "api") +
                     http_route("any", [ANY], "any"),
        "edge-secrets.yaml": secret("exact-ec", exact[0]) + secret("exact-rsa", exact[1]) +
                             secret("wild", pair(WILD)) + secret("any", pair(ANY, key="rsa")),
        **{name.replace("_", "-") + ".yaml": text for name, text in more.items()}}


# -- clients

class Front:
    """A server with TLS: where it is, and clients that go there from the rig's namespace."""

    def __init__(self, rig, address=WEIR4, port=443):
        self.rig, self.address, self.port = rig, address, port
        self.ca = authority().root

    def curl(self, path, *args, host=SHOP, port=None, check=True, timeout=120):
        """(status, headers in lower case, body): as rig.curl(), with the certificate verified."""
        p = self.rig.run(["curl", "-sS", "-i", "--path-as-is", "-m", "60", "--http1.1", "--cacert", self.ca, "--resolve",
                          f"{host}:{port or self.port}:{self.address}", *args, f"https://{host}:{port or self.port}{path}"],
                         check=check, timeout=timeout)
        head, _, body = p.stdout.partition(b"\r\n\r\n")
        lines = head.decode("latin1").split("\r\n")
        headers = dict((k.strip().lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines[1:]))
        return int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else 0, headers, body.decode("latin1")

    def s_client(self, *args, name=SHOP, path="/", port=None):
        """One request by openssl s_client. {answer, digest of the leaf, n_chain, version, reused, alpn, signature, errors, ok}"""
        request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
        sni = ["-servername", name] if name else ["-noservername"]
        p = self.rig.run(["openssl", "s_client", "-connect", f"{self.address}:{port or self.port}", *sni, "-CAfile", self.ca,
                          "-verify_return_error", "-showcerts", "-ign_eof", "-alpn", "http/1.1", *args], check=False, input=request)
        text = p.stdout.decode("latin1")
        find = lambda pattern: (re.findall(pattern, text, re.M) or [""])[0]
        leaves = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", text, re.S)
        return {"answer": find(r"^HTTP/1\.1 (\d+)"), "n_chain": len(re.findall(r"^ *\d s:", text, re.M)),
                "digest": hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaves[0])).hexdigest() if leaves else "",
                "version": find(r"^(?:New|Reused), (\S+),"), "reused": bool(find(r"^(Reused), ")), "alpn": find(r"^ALPN protocol: (\S+)"),
                "signature": find(r"^Peer signature type: (\S+)"), "group": find(r"^Negotiated TLS1\.3 group: (\S+)"), "errors": p.stderr.decode("latin1"), "ok": p.returncode == 0}

    def gnutls(self, version, name=SHOP):
        """Two connections of gnutls-cli, of which the second one resumes; its output."""
        request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
        p = self.rig.run(["gnutls-cli", "--x509cafile", self.ca, "--port", str(self.port), "--sni-hostname", name, "--verify-hostname",
                          name, "--priority", f"NORMAL:-VERS-ALL:+VERS-TLS{version}", "--resume", "--waitresumption",
                          "--alpn", "http/1.1", self.address], check=False, input=request)
        return p.stdout.decode("latin1") + p.stderr.decode("latin1")

    def argv(self, mode, program=CLIENT, **options):
        """Of tls_client.py or tls_abuse.py."""
        base = {"address": self.address, "port": self.port, "ca": str(self.ca), "name": SHOP}
        return ["python3", program, mode, json.dumps({**base, **options})]

    def client(self, mode, timeout=300, **options):
        out = self.rig.run(self.argv(mode, **options), timeout=timeout).stdout.decode()
        return json.loads(out.splitlines()[-1])

    def ask(self, **options):
        return self.client("ask", **options)

    def h2load(self, *args, name=SHOP, path="/"):
        """{what: requests} of its summary."""
        out = self.rig.run(["h2load", "--h1", f"--connect-to={self.address}:{self.port}", *args, f"https://{name}:{self.port}{path}"],
                           timeout=300).stdout.decode()
        found = re.search(r"^requests: (.*)$", out, re.M)
        expect(found, out[-2000:])
        return {what: int(n) for n, what in re.findall(r"(\d+) (\w+)", found[1])}

    def abuse(self, mode, timeout=300, **options):
        out = self.rig.run(self.argv(mode, ABUSE, **options), timeout=timeout).stdout.decode()
        return json.loads(out.splitlines()[-1])


class Steady:
    """Clients that ask all the time, while the with-block runs (tls_client.py steady); finish() gives what they saw."""

    def __init__(self, front, **options):
        self.front, self.options, self.stop = front, options, front.rig.dir / f"steady-{os.urandom(4).hex()}"

    def __enter__(self):
        self.process = self.front.rig.spawn(self.front.argv("steady", stop=str(self.stop), **self.options),
                                            stdout=subprocess.PIPE, text=True)
        expect(json.loads(self.process.stdout.readline()) == {"begun": True}, "every client has had an answer")
        return self

    def finish(self):
        self.stop.touch()
        out, _ = self.process.communicate(timeout=120)
        return json.loads(out.splitlines()[-1])

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@functools.cache
def openssl_version():
    """(major, minor) of the openssl of this machine, with which Weir was built."""
    text = subprocess.check_output(["openssl", "version"], text=True, timeout=60)
    return tuple(map(int, re.match(r"OpenSSL (\d+)\.(\d+)", text).groups()))


@functools.cache
def go_version():
    """(major, minor)"""
    return tuple(map(int, re.search(r"go(\d+)\.(\d+)", subprocess.check_output(["go", "version"], text=True, timeout=60)).groups()))


@functools.cache
def go_client():
    """The program tls_go/, built; its cache is Go's own, so this costs only once."""
    if not shutil.which("go"):
        raise Skipped("no Go on this machine")
    out = authority().dir / "tls_go"
    subprocess.run(["go", "build", "-o", out, "."], cwd=GO_CLIENT, check=True, timeout=600,
                   env=dict(os.environ, CGO_ENABLED="0", GOFLAGS="-mod=readonly -buildvcs=false", GOWORK="off", GOTOOLCHAIN="local"))
    return out


# -- metrics

def tls_metrics(rig):
    """{name without weir_ and _total: sum over the workers} of what is said of TLS; reasons by their own names. Without
    the group of key exchange, which is a matter of the client's library, and who waited for a turn, which is one of time."""
    out = {}
    for key, value in rig.metrics().items():
        name = key.split("{")[0].removeprefix("weir_").removesuffix("_total")
        if name == "drops":
            name = re.search(r'reason="([^"]*)"', key)[1]
        if name.startswith("tls_") and name not in ("tls_handshakes_post_quantum", "tls_turn_waits"):
            out[name] = out.get(name, 0) + int(value)
    return out


def difference(before, after):
    return {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)}


# -- another server, against which the clients are tried

def nginx_server(port=443):
    """Text for Rig(nginx=...): nginx with TLS before the rig's nginx, with the certificates of manifests()."""
    def server(name, *pairs, default=""):
        keys = "".join(f"ssl_certificate {p.crt}; ssl_certificate_key {p.key}; " for p in pairs)
        return f"""server {{ listen {PEER4}:{port} ssl {default}; server_name {name}; {keys}
    location / {{ proxy_pass http://{PEER4}:{WEB}; proxy_http_version 1.1; proxy_set_header Host $host; proxy_request_buffering off;
                  proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Forwarded-For $remote_addr; }}
    location /zip/ {{ proxy_pass http://{PEER4}:{ZIP}; proxy_http_version 1.1; }} }}
"""
    return (ZIP_SERVER + f"ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on; ssl_prefer_server_ciphers off;\n"
            f"server {{ listen {PEER4}:{port} ssl default_server; ssl_reject_handshake on; }}\n" +
            server(SHOP, pair(SHOP)) + server(EXACT, pair(EXACT), pair(EXACT, key="rsa")) + server(WILD, pair(WILD)))
