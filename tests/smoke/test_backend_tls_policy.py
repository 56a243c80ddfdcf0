# SPDX-License-Identifier: Apache-2.0
"""TLS to backends, from BackendTLSPolicies to what an nginx is asked, and shown."""
import functools
import json

from rig import PEER4, expect, expect_eq, gateway, service, slice_, wait_until
from tls_peers import Pair, authority, pair, secret

PORT = 9443
GATEWAY = "gateway.networking.k8s.io/v1"


def server():
    p = pair("api.test")
    return f"""server {{ listen {PEER4}:{PORT} ssl; ssl_certificate {p.crt}; ssl_certificate_key {p.key}; ssl_verify_client optional_no_ca;
    location / {{ add_header X-Shown "$ssl_server_name|$ssl_client_s_dn"; return 200 "ok\\n"; }} }}
"""


@functools.cache
def us():
    a = authority()
    crt = a.make("us", "/CN=us.test", "middle", "ec", [
        "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth"])
    return Pair(crt, a.dir / "us.key")


def policy(name, host, trust='caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]'):
    return f"""apiVersion: {GATEWAY}
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: demo}}
spec:
  targetRefs: [{{group: "", kind: Service, name: {name}}}]
  validation: {{hostname: {host}, {trust}}}
---
"""


def route(name):
    return f"""apiVersion: {GATEWAY}
kind: HTTPRoute
metadata: {{name: {name}, namespace: demo}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{name}.example.com]
  rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]
---
"""


def edge(has_certificate):
    client = "  tls: {backend: {clientCertificateRef: {name: us}}}\n" if has_certificate else ""
    return gateway().replace("---\n", "---\n", 1).rstrip().removesuffix("---") + client + "---\n"


def ca():
    return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca, namespace: demo}\ndata: " + json.dumps(
        {"ca.crt": authority().root.read_text()}) + "\n---\n"


def test_who_is_named_is_spoken_to_over_tls_and_nobody_else(make):
    names = ("right", "other", "untrusted")
    manifests = {
        "edge.yaml": edge(False),
        "ca.yaml": ca(),
        "us.yaml": secret("us", us()),
        "services.yaml": "".join(service(n) + slice_(n, PEER4, PORT) + route(n) for n in names),
        "policies.yaml": policy("right", "api.test") + policy("other", "other.test") +
                         policy("untrusted", "api.test", "wellKnownCACertificates: System")}
    with make(manifests=manifests, nginx=server()) as rig:
        def ask(name):
            return rig.curl("/", host=f"{name}.example.com")

        wait_until("it is spoken to", lambda: ask("right")[0] == 200)
        expect_eq(ask("right")[1]["x-shown"], "api.test|", "server name, client certificate")
        for name in ("other", "untrusted"):
            expect(ask(name)[0] in (502, 503), f"{name}: {ask(name)}")
        rig.write_manifest("edge.yaml", edge(True))
        wait_until("the Gateway's certificate is shown", lambda: ask("right")[1].get("x-shown") == "api.test|CN=us.test")
        rig.write_manifest("ca.yaml", "")
        wait_until("nothing is sent without CAs", lambda: ask("right")[0] == 500)
