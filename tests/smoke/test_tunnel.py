# SPDX-License-Identifier: Apache-2.0
"""WebSockets through a whole Weir, between kernel sockets: many, much, ends of all kinds, a drain, and changes meanwhile."""
import contextlib
import json
import pathlib
import signal
import subprocess

import test_access_log as access_log
from rig import MANIFESTS, PEER4, WEIR4, expect, expect_eq, ingress, service, slice_, wait_until

PEERS = pathlib.Path(__file__).resolve().parent / "ws_peers.py"
PORT = 8093
SERVICE = service("ws")
ENDPOINT = slice_("ws", PEER4, PORT)


def routes(annotations=""):
    text = ingress("ws", "ws.example.com", [("/", "Prefix", "ws")])
    return text.replace("{name: ws, namespace: demo}", "{name: ws, namespace: demo, annotations: {%s}}" % annotations)


def manifests(annotations=""):
    return {**MANIFESTS, "ws-service.yaml": SERVICE, "ws-slice.yaml": ENDPOINT, "ws.yaml": routes(annotations)}


@contextlib.contextmanager
def backend(rig):
    p = rig.spawn(["python3", PEERS, "backend", PEER4, str(PORT)])
    try:
        wait_until("the backend", lambda: rig.run(["curl", "-s", "-m", "20", f"http://{PEER4}:{PORT}/no"], check=False).returncode == 0)
        yield
    finally:
        p.kill()
        p.wait()


@contextlib.contextmanager
def client(rig, *args):
    """A client that goes on while the test does something; yields a function that reads its next line."""
    p = rig.spawn(["python3", PEERS, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield p, lambda: json.loads(p.stdout.readline())
    finally:
        p.kill()
        p.wait()


def run_client(rig, *args, timeout=300):
    out = rig.run(["python3", PEERS, *map(str, args)], timeout=timeout).stdout.decode()
    return json.loads(out.splitlines()[-1])


def say(p, word):
    p.stdin.write(word + "\n")
    p.stdin.flush()


def open_tunnels(rig):
    return rig.metric_sum("weir_http_tunnels_open")


def reason(rig, name):
    return sum(v for k, v in rig.metrics().items() if f'reason="{name}"' in k)


def test_a_thousand_websockets_stay_open_while_routes_and_endpoints_change(make):
    with make(manifests=manifests(), workers=2) as rig, backend(rig), client(rig, "many", WEIR4, 1000) as (p, read):
        expect_eq(read(), {"open": 1000}, "handshakes")
        say(p, "first")
        expect_eq(read(), {"echoed": 1000}, "messages")
        expect_eq(open_tunnels(rig), 1000, "open tunnels")
        expect_eq(rig.metric_sum("weir_http_requests_active"), 0, "requests in hand")
        expect_eq(rig.weirctl_json("connections", "--protocol", "tunnel")["matched"], 2000, "connections of tunnels, on both sides")
        text = rig.weirctl("connections", "--protocol", "tunnel", "--limit", "1")
        expect("PROTOCOL" in text and " tunnel " in text, text)
        before = rig.live_generation()
        rig.write_manifest("more.yaml", ingress("more", "more.example.com", [("/", "Prefix", "web")]))
        wait_until("new routes", lambda: rig.live_generation() > before)
        rig.write_manifest("ws-slice.yaml", slice_("ws", None, 1))
        wait_until("the endpoint is gone", lambda: rig.curl("/no", host="ws.example.com")[0] == 503)
        say(p, "second")
        expect_eq(read(), {"echoed": 1000}, "messages without a route to the endpoint")
        before = rig.live_generation()
        rig.write_manifest("ws.yaml", ingress("ws", "other.example.com", [("/", "Prefix", "web")]))
        wait_until("the route is gone", lambda: rig.live_generation() > before)
        say(p, "third")
        expect_eq(read(), {"echoed": 1000}, "messages without a route")
        p.stdin.close()
        expect_eq(read(), {"closed": 1000}, "closing handshakes")
        wait_until("no tunnel is left", lambda: open_tunnels(rig) == 0)
        expect_eq(rig.metric_sum("weir_http_tunnels_total"), 1000, "tunnels in all")


def test_a_websocket_carries_64_mib_each_way_unchanged(make):
    with make(manifests=manifests()) as rig, backend(rig):
        expect_eq(run_client(rig, "bulk", WEIR4, 64 << 20), {"total": 64 << 20, "same": True}, "bytes that came back")
        expect_eq(rig.metric_sum("weir_http_tunnel_bytes_up_total"), 64 << 20, "bytes up")
        expect_eq(rig.metric_sum("weir_http_tunnel_bytes_down_total"), 64 << 20, "bytes down")


def test_a_websocket_that_ends_its_side_gets_the_rest(make):
    with make(manifests=manifests()) as rig, backend(rig):
        expect_eq(run_client(rig, "half", WEIR4), {"rest": "rest of mine"}, "what came behind the end")
        wait_until("the tunnel is closed", lambda: open_tunnels(rig) == 0)


def test_a_refused_websocket_is_an_ordinary_request(make):
    with make(manifests=manifests()) as rig, backend(rig):
        expect_eq(run_client(rig, "refused", WEIR4),
                  {"first": "HTTP/1.1 403 Forbidden", "body": "no\n", "second": "HTTP/1.1 403 Forbidden"}, "two answers")
        expect_eq(rig.metric_sum("weir_http_tunnels_total"), 0, "tunnels")


def test_idle_websockets_are_closed_in_order(make):
    with make(manifests=manifests("weir.dev/tunnel-idle-timeout: 500ms")) as rig, backend(rig):
        expect_eq(run_client(rig, "hold", WEIR4, 20, "/wait"), {"end": 20}, "how they ended")
        expect_eq(reason(rig, "tunnel_idle"), 20, "counted")


def test_websockets_have_a_life_time(make):
    with make(manifests=manifests("weir.dev/tunnel-lifetime: 1s")) as rig, backend(rig):
        expect_eq(run_client(rig, "hold", WEIR4, 20, "/wait"), {"end": 20}, "how they ended")
        expect_eq(reason(rig, "tunnel_life"), 20, "counted")


def test_a_drain_closes_websockets_in_order(make):
    # They are closed a tenth of the time before its end: what is left is for the peers to answer.
    with make(manifests=manifests(), timeouts="drain_ms: 8000") as rig, backend(rig), client(rig, "hold", WEIR4, 50, "/wait") as (_, read):
        expect_eq(read(), {"open": 50}, "handshakes")
        expect_eq(rig.stop("dataplane", signal.SIGTERM), 0, "exit status")
        expect_eq(read(), {"end": 50}, "how they ended")


def test_a_websocket_has_one_line_of_the_access_log_when_it_ends(make):
    with make(manifests=manifests("weir.dev/tunnel-idle-timeout: 1s"), ctrl=False, yaml_memory=access_log.LOG) as rig, backend(rig):
        log = access_log.start(rig)
        with client(rig, "hold", WEIR4, 3, "/wait") as (_, read):
            expect_eq(read(), {"open": 3}, "handshakes")
            n_lines = sum(x["status"] == 101 for x in access_log.settled(rig, log))
            expect(n_lines + open_tunnels(rig) <= 3, f"{n_lines} lines of tunnels, of which some are open")
            expect_eq(read(), {"end": 3}, "how they ended")
        expect_eq(run_client(rig, "bulk", WEIR4, 1 << 20), {"total": 1 << 20, "same": True}, "bytes that came back")
        wait_until("no tunnel is left", lambda: open_tunnels(rig) == 0)
        idle, bulk = [], []
        for line in access_log.settled(rig, log):
            if line["status"] == 101:
                (idle if line["target"] == "/wait" else bulk).append(line)
        expect_eq([(x["reason"], x["flags"], x["end_us"] >= 1000000, x["request_bytes"]) for x in idle],
                  [("tunnel_idle", ["upgraded"], True, 0)] * 3, "of those that idled")
        expect_eq([(x["request_bytes"], x["response_bytes"], x["flags"][0]) for x in bulk], [(1 << 20, 1 << 20, "upgraded")], "of the one that did not")
