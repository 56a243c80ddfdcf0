# SPDX-License-Identifier: Apache-2.0
"""TLS to backends through a whole Weir: nginx with a certificate, told of by BackendTLSPolicies that fit it or do not. What objects
mean is the golden tests' matter."""
import hashlib
import json
import os

import test_filters as filters
import test_tunnel as tunnel
from rig import PEER4, WEB, WEIR4, expect, expect_eq, ingress, service, slice_, wait_until
from tls_peers import authority, pair

PORT = 8643
INSIDE = "inside.example.net"
HOST = "shop.example.com"


def server():
    p, q = pair(INSIDE), pair("elsewhere.example.net")
    return f"""server {{ listen {PEER4}:{PORT + 1} ssl; server_name _; ssl_certificate {q.crt}; ssl_certificate_key {q.key};
    return 200 ok; }}
server {{ listen {PEER4}:{PORT} ssl; server_name _; ssl_certificate {p.crt}; ssl_certificate_key {p.key};
    ssl_protocols TLSv1.2 TLSv1.3; client_max_body_size 0;
    location = /sni {{ add_header X-Sni "$ssl_server_name"; add_header X-Reused "$ssl_session_reused"; return 200 ok; }}
    location = /close {{ keepalive_timeout 0; add_header X-Reused "$ssl_session_reused"; return 200 ok; }}
    location / {{ proxy_pass http://{PEER4}:{WEB}; proxy_http_version 1.1; proxy_request_buffering off; }} }}
"""


def policy(name, hostname, ca="inside"):
    return f"""apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: demo}}
spec:
  targetRefs: [{{group: "", kind: Service, name: {name}}}]
  validation: {{hostname: {hostname}, caCertificateRefs: [{{group: "", kind: ConfigMap, name: {ca}}}]}}
---
"""


def config_map(name, path):
    return (f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: demo}}\n"
            f"data: {json.dumps({'ca.crt': path.read_text()})}\n---\n")


def manifests():
    names = ("good", "other")
    paths = [("/mixed", "Prefix", "mixed"), ("/other", "Prefix", "other"), ("/", "Prefix", "good")]
    return {
        "services.yaml": "".join(service(n) + slice_(n, PEER4, PORT) for n in names) + service("mixed") + slice_("mixed", PEER4, PORT) +
                         slice_("mixed", PEER4, PORT + 1).replace("mixed-1", "mixed-2"),
        "shop.yaml": ingress("shop", HOST, paths),
        "policies.yaml": policy("good", INSIDE) + policy("other", "other.example.net") + policy("mixed", INSIDE) +
                         config_map("inside", authority().root),
    }


def test_backends_are_spoken_to_by_tls_as_their_policy_says(make):
    with make(manifests=manifests(), nginx=server()) as rig:
        wait_until("the backend is reached", lambda: rig.curl("/sni", check=False)[0] == 200)
        status, headers, _ = rig.curl("/sni")
        expect_eq((status, headers["x-sni"]), (200, INSIDE), "the server name that it was sent")
        status, _, body = rig.curl("/other/x")
        expect_eq(status, 502, f"a certificate without the name that is asked for: {body}")
        expect(rig.metric_sum("weir_backend_tls_handshakes_total") >= 1, "handshakes are counted")
        for _ in range(3):
            expect_eq(rig.curl("/close")[0], 200, "each on a connection of its own")
        expect(rig.metric_sum("weir_backend_tls_handshakes_resumed_total") >= 1, "sessions are resumed")
        blob = rig.dir / "blob"
        blob.write_bytes(os.urandom(1 << 20))
        (rig.dir / "www/blob").write_bytes(blob.read_bytes())
        p = rig.run(["curl", "-sS", "-m", "60", "-H", f"Host: {HOST}", f"http://{WEIR4}/files/blob"])
        expect(p.stdout == blob.read_bytes(), "a megabyte comes back unchanged")
        status, _, _ = rig.curl("/files/blob", args=("-X", "POST", "--data-binary", f"@{blob}"))
        expect(status in (200, 405), "a megabyte goes up")
        rig.write_manifest("policies.yaml", policy("good", "nobody.example.net") + policy("other", INSIDE) +
                           config_map("inside", authority().root))
        wait_until("the policies change places", lambda: rig.curl("/sni")[0] == 502 and rig.curl("/other/x")[0] != 502)


def test_an_endpoint_that_is_not_whom_it_should_be_is_passed_by(make):
    with make(manifests=manifests(), nginx=server()) as rig:
        wait_until("the backend is reached", lambda: rig.curl("/sni", check=False)[0] == 200)
        for i in range(20):
            expect(rig.curl(f"/mixed/{i}")[0] != 502, "another endpoint answers")
        expect(rig.metric_sum("weir_upstream_retries_total") >= 1, "some tries failed")


BEHIND = {"ws": (PORT + 2, tunnel.PORT), "first": (PORT + 3, filters.FIRST), "second": (PORT + 4, filters.SECOND)}  # TLS, and plain behind it


def in_front():
    """nginx, which speaks TLS before the peers of other tests."""
    p = pair(INSIDE)
    return server() + "".join(f"""server {{ listen {PEER4}:{port} ssl; ssl_certificate {p.crt}; ssl_certificate_key {p.key};
    client_max_body_size 0; location / {{ proxy_pass http://{PEER4}:{plain}; proxy_http_version 1.1; proxy_request_buffering off;
    proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }} }}
""" for port, plain in BEHIND.values())


def others_manifests():
    return {**manifests(), "edge.yaml": filters.EDGE + filters.MIRRORS, "ws.yaml": tunnel.routes(),
            "others.yaml": "".join(service(n) + slice_(n, PEER4, port) + policy(n, INSIDE) for n, (port, _) in BEHIND.items())}


def test_websockets_pass_to_backends_by_tls(make):
    with make(manifests=others_manifests(), nginx=in_front()) as rig, tunnel.backend(rig):
        with tunnel.client(rig, "many", WEIR4, 50) as (p, read):
            expect_eq(read(), {"open": 50}, "handshakes")
            tunnel.say(p, "first")
            expect_eq(read(), {"echoed": 50}, "messages")
            expect_eq(rig.metric_sum("weir_tls_sessions"), 50, "sessions, all of them with the backend")
            p.stdin.close()
            expect_eq(read(), {"closed": 50}, "closing handshakes")
        expect_eq(tunnel.run_client(rig, "bulk", WEIR4, 8 << 20, "open"), {"total": 8 << 20, "same": True}, "what came back")
        wait_until("no tunnel is left", lambda: tunnel.open_tunnels(rig) == 0)
        wait_until("no session is left", lambda: rig.metric_sum("weir_tls_sessions") == 0)


def test_mirrors_and_large_uploads_go_to_backends_by_tls(make):
    with make(manifests=others_manifests(), nginx=in_front()) as rig, filters.recorders(rig, filters.FIRST, filters.SECOND) as (first, second):
        wait_until("the backend is reached", lambda: rig.curl("/sni", check=False)[0] == 200)
        body = os.urandom(700000)  # less than a mirror may lag behind
        (rig.dir / "body").write_bytes(body)
        args = {"plain": ["-T", rig.dir / "body"], "chunked": ["-T", rig.dir / "body", "-H", "Transfer-Encoding: chunked"], "get": []}
        for name, more in args.items():
            status, _, answer = rig.curl(f"/{name}", host="mirrors.example.com", args=more)
            expect_eq((status, json.loads(answer)), (200, first.seen()[-1]), f"the answer of the backend, {name}")
            wait_until(f"it is mirrored, {name}", lambda: len(second.seen()) == len(first.seen()))
        digests = [hashlib.sha256(b).hexdigest() for b in (body, body, b"")]
        expect_eq([[s["digest"] for s in seen.seen()] for seen in (first, second)], [digests, digests], "bodies at the backend, and at the mirror")
        wait_until("no mirror is left", lambda: filters.mirrors_are_done(rig))
        expect_eq(rig.metric_sum("weir_drops_total", 'reason="mirror'), 0, "none dropped")
        large = os.urandom(24 << 20)
        (rig.dir / "large").write_bytes(large)
        for name, more in (("sized", []), ("chunked", ["-H", "Transfer-Encoding: chunked"])):
            status, _, _ = rig.curl(f"/up/{name}", args=["-T", rig.dir / "large", *more])
            expect(status in (201, 204), f"a large upload, {name}: {status}")
            expect((rig.dir / "www/up" / name).read_bytes() == large, f"it came unchanged, {name}")
