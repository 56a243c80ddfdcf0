# SPDX-License-Identifier: Apache-2.0
"""Limits of time with slow kernel peers: short limits, and reasons instead of stop watches."""
import contextlib
import json
import subprocess

from rig import MANIFESTS, PEER4, WEIR4, expect, expect_eq, ingress, service, slice_, takes, wait_until

# Plays one client and prints how it ended: {"status": of the answer or 0, "end": "end", "reset" or "open"}.
SLOW = r"""
import json, socket, sys, time
mode, address, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
HEAD = b'Host: shop.example.com\r\n'
def begin():
    s = socket.socket()
    if mode == 'reader':
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(30)
    s.connect((address, 80))
    if mode == 'head':
        s.sendall(b'GET / HTTP/1.1\r\nX: ')
    elif mode == 'body':
        s.sendall(b'PUT /up/slow HTTP/1.1\r\n' + HEAD + b'Content-Length: 1000000\r\n\r\n')
    elif mode == 'reader':
        s.sendall(b'GET /files/big HTTP/1.1\r\n' + HEAD + b'\r\n')
    elif mode == 'silent':
        s.sendall(b'GET / HTTP/1.1\r\nHost: silent.example.com\r\n\r\n')
    return {'s': s, 'got': b'', 'end': 'open'}
def step(c):
    try:
        if mode in ('head', 'body'):
            c['s'].sendall(b'x')
        c['s'].settimeout(0.001 if mode in ('head', 'body') else 0.05)
        data = c['s'].recv(64)
        c['got'] = (c['got'] + data)[:64]
        if not data:
            c['end'] = 'end'
    except (TimeoutError, socket.timeout):
        pass
    except OSError:
        c['end'] = 'reset'
clients = [begin() for _ in range(n)]
stop = time.monotonic() + 60
while time.monotonic() < stop and any(c['end'] == 'open' for c in clients):
    for c in clients:
        if c['end'] == 'open':
            step(c)
    time.sleep(0.1)
print(json.dumps([[int(c['got'][9:12]) if c['got'][:5] == b'HTTP/' else 0, c['end']] for c in clients]))
"""

# Takes connections and says nothing.
SILENT = r"""
import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
print('listens', flush=True)
kept = []
while True:
    kept.append(s.accept())
"""
SILENT_PORT = 8094

GATEWAY = """apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: weir}
spec: {controllerName: weir.dev/ingress-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: demo, annotations: {%s}}
spec:
  gatewayClassName: weir
  listeners: [{name: http, port: 80, protocol: HTTP, hostname: gw.example.com}]
---
"""


def slow(rig, mode, n):
    return json.loads(rig.run(["python3", "-c", SLOW, mode, WEIR4, str(n)], timeout=180).stdout)


def reason(rig, name):
    return sum(v for k, v in rig.metrics().items() if f'reason="{name}"' in k)


def test_slow_heads_end_by_408_and_hold_up_nobody(make):
    with make(manifests={**MANIFESTS, "gw.yaml": GATEWAY % "weir.dev/header-timeout: 1s"}) as rig:
        p = rig.spawn(["python3", "-c", SLOW, "head", WEIR4, "100"], stdout=subprocess.PIPE)
        for _ in range(20):
            expect_eq(rig.curl("/")[0], 200, "another client")
        out, _ = p.communicate(timeout=180)
        ends = json.loads(out)
        expect_eq(reason(rig, "req_header_timeout"), 100, "counted")
        expect(all(end != "open" for _, end in ends), f"ends {ends}")
        expect(any(status == 408 for status, _ in ends), f"answers {ends}")


def test_slow_bodies_end_by_408(make):
    with make(timeouts="body_bytes_per_s: 1000, body_grace_ms: 4000") as rig:
        ends = slow(rig, "body", 20)
        expect_eq(reason(rig, "req_body_slow"), 20, "counted")
        expect(all(end != "open" for _, end in ends) and any(status == 408 for status, _ in ends), f"ends {ends}")
        big = rig.dir / "body"
        big.write_bytes(b"y" * 300000)
        status, _, _ = rig.curl("/up/slow", args=["-T", big, "--limit-rate", "100k"])
        expect_eq(status, 201, "an upload of a hundred times the rate")


@takes(15)
def test_slow_readers_are_reset(make):
    with make(timeouts="body_bytes_per_s: 100000, body_grace_ms: 4000") as rig:
        (rig.dir / "www/big").write_bytes(b"x" * (16 << 20))
        ends = slow(rig, "reader", 10)
        expect_eq(reason(rig, "req_read_slow"), 10, "counted")
        expect(all(end != "open" for _, end in ends), f"ends {ends}")
        out = rig.run(["curl", "-sS", "--limit-rate", "8M", "-o", "/dev/null", "-w", "%{size_download}", "-H", "Host: shop.example.com",
                       f"http://{WEIR4}/files/big"]).stdout
        expect_eq(int(out), 16 << 20, "bytes of a reader that is fast enough")


def test_idle_clients_are_closed_in_order(make):
    with make(manifests={**MANIFESTS, "gw.yaml": GATEWAY % "weir.dev/idle-timeout: 500ms"}) as rig:
        expect_eq(slow(rig, "idle", 20), [[0, "end"]] * 20, "how they ended")
        expect_eq(reason(rig, "req_idle_timeout"), 20, "counted")


@contextlib.contextmanager
def silent_backend(rig):
    p = rig.spawn(["python3", "-c", SILENT, PEER4, str(SILENT_PORT)], stdout=subprocess.PIPE)
    try:
        p.stdout.readline()
        yield
    finally:
        p.kill()
        p.wait()


def test_limits_of_routes_follow_their_annotations(make):
    def route(annotations):
        text = service("silent") + slice_("silent", PEER4, SILENT_PORT) + ingress("silent", "silent.example.com", [("/", "Prefix", "silent")])
        return text.replace("kind: Ingress\nmetadata: {name: silent,", "kind: Ingress\nmetadata: {annotations: {%s}, name: silent," % annotations)

    with make(manifests={**MANIFESTS, "silent.yaml": route("weir.dev/request-timeout: 500ms")}) as rig, silent_backend(rig):
        status, _, body = rig.curl("/", host="silent.example.com")
        expect_eq((status, "took too long" in body), (504, True), "the whole request")
        expect_eq(reason(rig, "req_timeout"), 1, "counted")
        rule = [r for r in rig.weirctl_json("routes") if r["name"] == "silent"][0]
        expect_eq(rule["limits"], {"request": 500}, "limits of the route")
        expect("request 500 ms" in rig.weirctl("explain", "GET", "http://silent.example.com/"), "weirctl explain shows it")
        expect("request 500 ms" in rig.weirctl("routes"), "weirctl routes shows it")
        before = rig.live_generation()
        rig.write_manifest("silent.yaml", route("weir.dev/request-timeout: soon, weir.dev/first-byte-timeout: 300ms"))
        wait_until("new routes", lambda: rig.live_generation() > before)
        status, _, body = rig.curl("/", host="silent.example.com")
        expect_eq((status, "in time" in body), (504, True), "the first byte")
        problems = rig.weirctl_json("status")["problem_list"]
        expect(any("silent.yaml" in p["file"] and p["name"] == "silent" and "request-timeout" in p["field"] and p["reason"] == "InvalidAnnotation"
                   for p in problems), f"problems {problems}")
        expect_eq(rig.curl("/")[0], 200, "other routes")
