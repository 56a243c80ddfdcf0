# SPDX-License-Identifier: Apache-2.0
"""Certificates of clients, from the objects that demand them to what backends are told: curl with certificates of an authority of
their own, one of which is revoked, and of another one. What objects mean is the golden tests' matter."""
import contextlib
import json
import os
import subprocess

import tls_peers as peers
from rig import PEER4, expect, expect_eq, gateway, service, slice_, wait_until
from test_tls import subprocess_client
from tls_peers import EXACT, SHOP, Front, authority, http_route, pair, secret, tls_ingress

TELLS = 8084  # port of nginx that tells what it was told
TELLS_SERVER = f"""server {{ listen {PEER4}:{TELLS}; location / {{ add_header X-Xfcc "$http_x_forwarded_client_cert";
    add_header X-Client-Cert "$http_client_cert"; return 200 ok; }} }}
"""
OPEN, STRICT_PORT, LAX_PORT = "open.example.com", 8443, 8444


class Clients:
    """An authority that issues certificates of clients, and what it has revoked."""

    def __init__(self, name):
        self.name, self.dir = name, authority().dir
        self.conf = self.dir / f"{name}.cnf"
        index, number = self.dir / f"{name}.index", self.dir / f"{name}.number"
        index.touch()
        number.write_text("01\n")
        self.conf.write_text(f"[ca]\ndefault_ca=x\n[x]\ndatabase={index}\ncrlnumber={number}\ndefault_md=sha256\n")
        authority().make(name, f"/CN={name}", None, "ec", ["basicConstraints=critical,CA:TRUE", "subjectKeyIdentifier=hash",
                                                           "keyUsage=critical,keyCertSign,cRLSign"])

    def pem(self, kind):
        return (self.dir / f"{self.name}.{kind}").read_text()

    def client(self, name):
        """Arguments of curl."""
        stem = f"{self.name}-{name}"
        authority().make(stem, f"/CN={name}", self.name, "ec", [
            "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth",
            "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid", f"subjectAltName=URI:spiffe://example.com/{name}"])
        return ["--cert", self.dir / f"{stem}.crt", "--key", self.dir / f"{stem}.key"]

    def ca(self, *args):
        subprocess.run(["openssl", "ca", "-config", self.conf, "-keyfile", self.dir / f"{self.name}.key", "-cert",
                        self.dir / f"{self.name}.crt", *args], check=True, capture_output=True, timeout=60,
                       env={**os.environ, "OPENSSL_CONF": str(self.conf)})

    def revoke(self, name):
        self.ca("-revoke", self.dir / f"{self.name}-{name}.crt")
        self.ca("-gencrl", "-crldays", "30", "-out", self.dir / f"{self.name}.crl")
        return self.pem("crl")


def config_map(name, crt, crl=None):
    data = {"ca.crt": crt, **({"ca.crl": crl} if crl else {})}
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: demo}}\ndata: {json.dumps(data)}\n---\n"


def demand(ingress, **annotations):
    notes = ", ".join(f"weir.dev/{key.replace('_', '-')}: {value}" for key, value in annotations.items())
    return ingress.replace("metadata: {", f"metadata: {{annotations: {{{notes}}}, ", 1)


def refs(*names):
    return "caCertificateRefs: [" + ", ".join(f"{{group: '', kind: ConfigMap, name: {n}}}" for n in names) + "]"


def https(name, port):
    return peers.listener(name, "exact", hostname=EXACT, port=port)


def manifests(own):
    edge = gateway(", ".join([https("strict", STRICT_PORT), https("lax", LAX_PORT)]))
    frontend = (f"  tls: {{frontend: {{default: {{validation: {{{refs('clients')}}}}}, perPort: [{{port: {LAX_PORT}, tls: {{validation: "
                f"{{mode: AllowInsecureFallback, {refs('clients')}}}}}}}]}}}}\n")
    tells = [("/", "Prefix", "tells")]
    return {
        "services.yaml": service("tells") + slice_("tells", PEER4, TELLS),
        "shop.yaml": demand(tls_ingress("shop", SHOP, tells, "shop"), client_certificate_ca="clients",
                            client_certificate_fields="'xfcc,rfc9440'"),
        "open.yaml": tls_ingress("open", OPEN, tells, "open"),
        "edge.yaml": edge.replace("  listeners:", frontend + "  listeners:", 1) + http_route("strict", [EXACT], "strict", "tells") +
                     http_route("lax", [EXACT], "lax", "tells"),
        "secrets.yaml": secret("shop", pair(SHOP)) + secret("open", pair(OPEN)) + secret("exact", pair(EXACT)),
        "clients.yaml": config_map("clients", own.pem("crt")),
    }


@contextlib.contextmanager
def client_rig(make, own):
    with make(manifests=manifests(own), nginx=TELLS_SERVER) as rig:
        front = Front(rig)
        wait_until("TLS is served", lambda: front.curl("/", host=OPEN, check=False)[0] == 200)
        yield rig, front


def test_an_ingress_that_demands_certificates_serves_nobody_without(make):
    own, other = Clients("clients"), Clients("strangers")
    good, bad, revoked = own.client("good"), other.client("bad"), own.client("revoked")
    forged = ["-H", "X-Forwarded-Client-Cert: Hash=00", "-H", "Client-Cert: :AA==:"]
    with client_rig(make, own) as (rig, front):
        status, headers, _ = front.curl("/", *good, *forged)
        expect_eq(status, 200, "with a certificate")
        expect("spiffe://example.com/good" in headers["x-xfcc"] and "Hash=00" not in headers["x-xfcc"], headers)
        expect(headers["x-client-cert"].startswith(":") and headers["x-client-cert"] != ":AA==:", headers)
        expect_eq(front.curl("/", check=False)[0], 0, "without a certificate")
        expect_eq(front.curl("/", *bad, check=False)[0], 0, "with one of somebody else")
        status, headers, _ = rig.curl("/a?b", host=SHOP)
        expect_eq((status, headers["location"]), (308, f"https://{SHOP}/a?b"), "in the clear")
        status, headers, _ = front.curl("/", "-H", f"Host: {SHOP}", host=OPEN)
        expect_eq(status, 421, "by a connection to a name that demands none")
        status, headers, _ = front.curl("/", *forged, host=OPEN)
        expect_eq((status, headers.get("x-xfcc"), headers.get("x-client-cert")), (200, None, None), "nobody forges one elsewhere")

        expect_eq(front.curl("/", *revoked)[0], 200, "not revoked yet")
        kept = [{"name": SHOP, "pair": [str(a) for a in (revoked[1], revoked[3])]}, {"name": OPEN}]
        with subprocess_client(front, "keep", of=kept) as (say, read):
            expect_eq(len(read()), 2, "connections that stay open")
            say("ask")
            expect_eq(read(), [200, 200], "requests on them")
            rig.write_manifest("clients.yaml", config_map("clients", own.pem("crt"), own.revoke("revoked")))
            wait_until("the connection of a name that asks otherwise now is closed",
                       lambda: rig.metric_sum("weir_drops_total", 'reason="tls_client_auth_changed"') == 1)
            say("ask")
            expect_eq(read(), ["closed", 200], "who was revoked has no more requests, and others go on")
        wait_until("a certificate is revoked", lambda: front.curl("/", *revoked, check=False)[0] == 0)
        expect_eq(front.curl("/", *good)[0], 200, "the others are not")
        rows = [c for c in rig.weirctl_json("certificates") if c["kind"] == "trust"]
        expect_eq([(c["objects"], c["cas"], c["crls"]) for c in rows], [(["ConfigMap demo/clients"], 1, 1)], "weirctl certificates")
        expect(f"{SHOP} (required)" in rows[0]["hosts"] and f"{EXACT} (insecure)" in rows[0]["hosts"], rows)
        expect("ConfigMap demo/clients" in rig.weirctl("certificates"), "weirctl certificates, for people")

        (rig.dir / "manifests" / "clients.yaml").unlink()
        wait_until("nobody is trusted", lambda: front.curl("/", *good, check=False)[0] == 0)
        expect_eq(front.curl("/", host=OPEN)[0], 200, "others are served")
        rig.write_manifest("clients.yaml", config_map("clients", own.pem("crt")))
        wait_until("they are trusted again", lambda: front.curl("/", *good, check=False)[0] == 200)


def test_a_gateway_asks_by_port(make):
    own, other = Clients("clients-of-ports"), Clients("strangers-to-ports")
    good, bad = own.client("good"), other.client("bad")
    with client_rig(make, own) as (rig, front):
        def got(port, *args):
            return front.curl("/", *args, host=EXACT, port=port, check=False)

        wait_until("the Gateway is served", lambda: got(STRICT_PORT, *good)[0] == 200)
        expect_eq([got(STRICT_PORT, *args)[0] for args in (good, bad, [])], [200, 0, 0], "AllowValidOnly")
        expect_eq([got(LAX_PORT, *args)[0] for args in (good, bad, [])], [200, 200, 200], "AllowInsecureFallback")
        told = [got(LAX_PORT, *args)[1].get("x-xfcc", "") for args in (good, bad, [])]
        expect("spiffe://example.com/good" in told[0] and told[1:] == ["", ""], f"only of a valid one backends are told: {told}")
        rig.write_manifest("clients.yaml", config_map("clients", other.pem("crt")))
        wait_until("other clients are trusted", lambda: got(STRICT_PORT, *bad)[0] == 200)
        wait_until("and no others", lambda: got(STRICT_PORT, *good)[0] == 0)


def test_authorities_and_lists_that_end_are_told_of(make):
    own = Clients("ending")
    own.ca("-gencrl", "-crlsec", "1", "-out", own.dir / "ending.crl")
    soon = own.dir / "soon.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout",
                    own.dir / "soon.key", "-out", soon, "-subj", "/CN=soon"], check=True, capture_output=True, timeout=60)
    with client_rig(make, own) as (rig, _):
        def row():
            return next(c for c in rig.weirctl_json("certificates") if c["kind"] == "trust")

        expect_eq((row()["cas"], row()["problems"]), (1, []), "nothing ends")
        late = rig.metric_sum("weir_ca_not_after_seconds")
        rig.write_manifest("clients.yaml", config_map("clients", own.pem("crt") + soon.read_text(), own.pem("crl")))
        wait_until("both are told of", lambda: row()["problems"] == ["a CA expires soon", "a CRL is out of date"])
        expect((row()["cas"], row()["days_left"]) in ((2, 1), (2, 2)), f"that which ends first counts: {row()}")
        expect(0 < rig.metric_sum("weir_ca_not_after_seconds") < late, "and for the metric")
