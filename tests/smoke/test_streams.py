# SPDX-License-Identifier: Apache-2.0
"""TCPRoutes and TLSRoutes through a whole Weir, between kernel sockets: whose bytes reach whom, and who ends TLS."""
import collections
import contextlib
import json
import os
import pathlib
import subprocess

from rig import PEER4, WEB, WEIR4, expect, expect_eq, gateway, service, slice_, wait_until
from tls_peers import authority, http_route, listener, pair, secret

PEERS = pathlib.Path(__file__).resolve().parent / "stream_peers.py"
API = "gateway.networking.k8s.io/v1"
PORT = 9000  # of the listener for TCP
A, B, CLOSED = 9101, 9102, 9109  # of peers; nobody listens on the last one


def tcp(name="tcp", port=PORT):
    return f"{{name: {name}, port: {port}, protocol: TCP}}"


def tls(name, hostname=None, *secrets):
    """Without secrets: it is passed through."""
    refs = ", ".join(f"{{name: {s}}}" for s in secrets)
    host = f"hostname: \"{hostname}\", " if hostname else ""
    mode = f"mode: Terminate, certificateRefs: [{refs}]" if secrets else "mode: Passthrough"
    return f"{{name: {name}, port: 443, protocol: TLS, {host}tls: {{{mode}}}}}"


def route(name, section, *backends, kind="TCPRoute", hostnames=()):
    """backends: (service, weight)"""
    hosts = f"  hostnames: {json.dumps(list(hostnames))}\n" if hostnames else ""
    refs = ", ".join(f"{{name: {s}, port: 80, weight: {w}}}" for s, w in backends)
    return f"""apiVersion: {API}
kind: {kind}
metadata: {{name: {name}, namespace: demo}}
spec:
  parentRefs: [{{name: edge, sectionName: {section}}}]
{hosts}  rules: [{{backendRefs: [{refs}]}}]
---
"""


def tls_route(name, section, backend, *hostnames):
    return route(name, section, (backend, 1), kind="TLSRoute", hostnames=hostnames)


def peer(name, port):
    return service(name) + slice_(name, PEER4, port)


@contextlib.contextmanager
def servers(rig, **ports):
    """By name: a port, or a port and a Pair."""
    with contextlib.ExitStack() as stack:
        for name, at in ports.items():
            port, p = at if isinstance(at, tuple) else (at, None)
            child = rig.spawn(["python3", PEERS, "server", PEER4, str(port), name, *([p.crt, p.key] if p else [])],
                              stdout=subprocess.PIPE, text=True)
            stack.enter_context(child.stdout)
            stack.callback(child.wait)
            stack.callback(child.kill)
            expect_eq(child.stdout.readline(), "ready\n", f"server {name}")
        yield


def environment(name):
    return {} if name is None else {"env": {**os.environ, "STREAM_TLS": f"{name}:{authority().root}"}}


def ask(rig, *args, name=None, timeout=300):
    """name: the server name of TLS, '' for none; None: no TLS."""
    out = rig.run(["python3", PEERS, *map(str, args)], timeout=timeout, **environment(name)).stdout.decode()
    return [json.loads(line) for line in out.splitlines()]


def who(rig, port=PORT, name=None):
    answer, = ask(rig, "who", WEIR4, port, 1, name=name)
    return answer


def answers(rig, wanted, port=PORT, name=None):
    wait_until(f"{wanted} answers", lambda: who(rig, port, name).get("who") == wanted)


def explain(rig, *args):
    return json.loads(rig.weirctl("explain", *args, "-o", "json", check=False))  # status 1: no match


def drops(rig):
    return {d["reason"]: d["count"] for d in rig.weirctl_json("drops")}


def is_refused_as_explained(rig, url, port, name=None):
    """The reason that explain gives is the one that is counted for such a connection."""
    reason = explain(rig, url)["reason"]["name"]
    before = drops(rig).get(reason, 0)
    expect("error" in who(rig, port, name), f"{url}: somebody answers")
    wait_until(f"{url}: {reason} is counted", lambda: drops(rig).get(reason, 0) > before)
    return reason


@contextlib.contextmanager
def held(rig, port=PORT, name=None):
    """An open stream; yields a function that has a word echoed."""
    p = rig.spawn(["python3", PEERS, "hold", WEIR4, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                  **environment(name))

    def read():
        return json.loads(p.stdout.readline())

    def say(word):
        p.stdin.write(word + "\n")
        p.stdin.flush()
        return read().get("echoed")

    try:
        yield read()["who"], say
    finally:
        p.kill()
        p.communicate()


def manifests(*listeners, **files):
    return {"edge.yaml": gateway(", ".join(listeners)), **{f"{k}.yaml": v for k, v in files.items()}}


def test_a_tcp_route_carries_bytes_both_ways_and_the_end_of_each_side(make):
    files = manifests(tcp(), peers=peer("a", A), route=route("a", "tcp", ("a", 1)))
    with make(manifests=files, workers=2) as rig, servers(rig, a=A):
        answers(rig, "a")
        expect_eq(ask(rig, "bulk", WEIR4, PORT, 64 << 20), [{"left": 0, "same": True, "ended": True}], "64 MiB each way")
        expect_eq(ask(rig, "half", WEIR4, PORT), [{"rest": "rest"}], "what came behind the client's end")


def test_connections_are_shared_by_weight(make):
    files = manifests(tcp(), peers=peer("a", A) + peer("b", B) + peer("none", A),
                      route=route("shared", "tcp", ("a", 3), ("b", 1), ("none", 0)))
    with make(manifests=files) as rig, servers(rig, a=A, b=B):
        wait_until("a backend answers", lambda: "who" in who(rig))
        n = collections.Counter(x.get("who") for x in ask(rig, "who", WEIR4, PORT, 400))
        expect_eq(n["a"] + n["b"], 400, f"answers: {n}")
        expect(240 <= n["a"] <= 360, f"three of four are for a: {n}")


def test_the_oldest_route_of_a_port_has_it(make):
    def dated(text, day):
        return text.replace("namespace: demo}", f"namespace: demo, creationTimestamp: \"2026-01-0{day}T00:00:00Z\"}}", 1)

    files = manifests(tcp(), peers=peer("a", A) + peer("b", B), younger=dated(route("a-younger", "tcp", ("b", 1)), 2),
                      older=dated(route("older", "tcp", ("a", 1)), 1))
    with make(manifests=files) as rig, servers(rig, a=A, b=B):
        answers(rig, "a")
        expect_eq({x.get("who") for x in ask(rig, "who", WEIR4, PORT, 50)}, {"a"}, "who answers")
        rig.write_manifest("older.yaml", "")
        answers(rig, "b")


def test_a_dead_endpoint_is_passed_by(make):
    both = slice_("a", PEER4, A) + slice_("a", PEER4, CLOSED).replace("name: a-1", "name: a-2")
    files = manifests(tcp(), peers=service("a") + both, route=route("a", "tcp", ("a", 1)))
    with make(manifests=files) as rig, servers(rig, a=A):
        answers(rig, "a")
        expect_eq({x.get("who") for x in ask(rig, "who", WEIR4, PORT, 50)}, {"a"}, "who answers")


def test_a_stream_stays_with_its_backend_when_routes_change(make):
    files = manifests(tcp(), peers=peer("a", A) + peer("b", B), route=route("r", "tcp", ("a", 1)))
    with make(manifests=files) as rig, servers(rig, a=A, b=B):
        answers(rig, "a")
        with held(rig) as (name, say):
            expect_eq(name, "a", "who answers")
            expect_eq(say("one"), "one", "echo")
            rig.write_manifest("route.yaml", route("r", "tcp", ("b", 1)))
            answers(rig, "b")
            expect_eq(say("two"), "two", "echo with the route gone elsewhere")
            rig.write_manifest("route.yaml", "")
            wait_until("no route", lambda: "error" in who(rig))
            expect_eq(say("three"), "three", "echo without a route")


def test_what_leads_nowhere_is_refused(make):
    files = manifests(tcp(), tcp("gone", 9001), tcp("unused", 9002), peers=peer("a", A),
                      route=route("a", "tcp", ("a", 1)) + route("gone", "gone", ("gone", 1)))
    with make(manifests=files) as rig, servers(rig, a=A):
        answers(rig, "a")
        for port in (9001, 9002):
            expect("error" in who(rig, port), f"port {port}: {who(rig, port)}")


def test_tls_that_is_passed_through_is_the_backends(make):
    exact, wild = pair("one.example.com"), pair("*.example.com")
    files = manifests(tls("through", "*.example.com"), peers=peer("a", A) + peer("b", B),
                      routes=tls_route("one", "through", "a", "one.example.com") + tls_route("rest", "through", "b", "*.example.com"))
    with make(manifests=files, workers=2) as rig, servers(rig, a=(A, exact), b=(B, wild)):
        answers(rig, "a", 443, "one.example.com")
        expect_eq(who(rig, 443, "one.example.com"), {"who": "a", "certificate": exact.digest}, "the exact name")
        expect_eq(who(rig, 443, "two.example.com"), {"who": "b", "certificate": wild.digest}, "another name")
        for name in ("example.org", ""):  # no alert: it would be of somebody who ends TLS, and nobody does
            error = who(rig, 443, name).get("error", "")
            expect(error and "UNRECOGNIZED_NAME" not in error, f"{name}: {error}")
        expect_eq(ask(rig, "bulk", WEIR4, 443, 16 << 20, name="one.example.com")[0]["same"], True, "16 MiB each way")


def test_tls_that_weir_ends_has_plain_bytes_behind_it(make):
    ours = pair("tls.example.com")
    files = manifests(tls("ended", "tls.example.com", "ours"), secret=secret("ours", ours), peers=peer("a", A),
                      route=tls_route("a", "ended", "a", "tls.example.com"))
    with make(manifests=files) as rig, servers(rig, a=A):
        answers(rig, "a", 443, "tls.example.com")
        expect_eq(who(rig, 443, "tls.example.com"), {"who": "a", "certificate": ours.digest}, "who is shown")
        expect_eq(ask(rig, "bulk", WEIR4, 443, 16 << 20, name="tls.example.com")[0]["same"], True, "16 MiB each way")
        expect("UNRECOGNIZED_NAME" in who(rig, 443, "example.org").get("error", ""), who(rig, 443, "example.org"))


def test_one_port_has_requests_and_both_modes_of_tls(make):
    ours, theirs, web = pair("tls.example.com"), pair("through.example.com"), pair("web.example.com")
    files = manifests(tls("ended", "tls.example.com", "ours"), tls("through", "through.example.com"),
                      listener("https", "web", hostname="web.example.com"),
                      secrets=secret("ours", ours) + secret("web", web), peers=peer("a", A) + peer("b", B) + peer("c", WEB),
                      routes=tls_route("a", "ended", "a", "tls.example.com") +
                      tls_route("b", "through", "b", "through.example.com") + http_route("c", ["web.example.com"], "https", "c"))
    with make(manifests=files) as rig, servers(rig, a=A, b=(B, theirs)):
        answers(rig, "a", 443, "tls.example.com")
        answers(rig, "b", 443, "through.example.com")
        expect_eq(who(rig, 443, "tls.example.com")["certificate"], ours.digest, "Weir's")
        expect_eq(who(rig, 443, "through.example.com")["certificate"], theirs.digest, "the backend's")
        code = rig.run(["curl", "-s", "-m", "30", "--cacert", authority().root, "--resolve", f"web.example.com:443:{WEIR4}", "-o",
                        "/dev/null", "-w", "%{http_code}", "https://web.example.com/"], check=False).stdout.decode()
        expect(code in ("200", "404"), f"an answer over HTTP was expected: {code}")
        explained = explain(rig, "GET", "https://tls.example.com/")
        expect_eq((explained["matched"], explained.get("stream")), (False, "Gateway demo/edge ended"), "what is said of a request there")
        for name, mode, by in (("tls", "terminate", "a"), ("through", "passthrough", "b"), ("web", "http", None)):
            e = explain(rig, f"tls://{name}.example.com")
            expect_eq((e["matched"], e["mode"], e.get("rule", {}).get("name")), (True, mode, by), f"what is said of {name}")
        expect_eq({r["name"]: (r["kind"], r["path_type"]) for r in rig.weirctl_json("routes")},
                  {"a": ("TLSRoute", "Stream"), "b": ("TLSRoute", "Stream"), "c": ("HTTPRoute", "Prefix")}, "routes")


def test_tls_is_spoken_to_a_backend_of_bytes_as_its_policy_has_it(make):
    theirs = pair("api.test")
    ca = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ca, namespace: demo}}\ndata: {json.dumps({'ca.crt': authority().root.read_text()})}\n---\n"
    policy = f"""apiVersion: {API}
kind: BackendTLSPolicy
metadata: {{name: a, namespace: demo}}
spec:
  targetRefs: [{{group: "", kind: Service, name: a}}]
  validation: {{hostname: api.test, caCertificateRefs: [{{group: "", kind: ConfigMap, name: ca}}]}}
---
"""
    files = manifests(tcp(), tls("through", "api.test"), peers=peer("a", A), ca=ca, policy=policy,
                      routes=route("plain", "tcp", ("a", 1)) + tls_route("through", "through", "a", "api.test"))
    with make(manifests=files) as rig, servers(rig, a=(A, theirs)):
        answers(rig, "a")
        expect_eq(who(rig), {"who": "a"}, "in the clear, with TLS behind it")
        expect_eq(who(rig, 443, "api.test"), {"who": "a", "certificate": theirs.digest}, "no second TLS around what is TLS")


def test_explain_says_who_takes_a_connection_and_why_nobody_does(make):
    theirs, ours = pair("one.example.com"), pair("tls.example.com")
    files = manifests(tcp(), tcp("gone", 9001), tcp("unused", 9002), tls("through", "*.example.com"), tls("ended", "tls.example.com", "ours"),
                      "{name: web, port: 80, protocol: HTTP}", secret=secret("ours", ours),
                      peers=peer("a", A) + peer("b", B) + service("empty"),
                      routes=route("split", "tcp", ("a", 3), ("b", 1)) + route("gone", "gone", ("gone", 1)) +
                      tls_route("one", "through", "a", "one.example.com") + tls_route("none", "through", "empty", "empty.example.com"))
    with make(manifests=files) as rig, servers(rig, a=(A, theirs), b=B):
        answers(rig, "a", 443, "one.example.com")
        e = explain(rig, f"tcp://{WEIR4}:{PORT}")
        expect_eq((e["matched"], e["mode"], e["listener"], e["rule"]["name"]), (True, "tcp", "Gateway demo/edge tcp", "split"), "TCP")
        expect_eq([(b["backend"], b["weight"]) for b in e["rule"]["backends"]], [("demo/a:80", 3), ("demo/b:80", 1)], "its shares")
        expect_eq([(x["address"], x["port"], x["ready"]) for x in e["endpoints"]["demo/b:80"]], [(PEER4, B, True)], "endpoints")
        expect_eq(explain(rig, f"tcp://:{PORT}"), e, "at any address")
        e = explain(rig, f"tls://One.example.com:443@{WEIR4}")
        expect_eq((e["matched"], e["mode"], e["by_name"], e["rule"]["name"]), (True, "passthrough", "*.example.com", "one"), "TLS")
        expect("reason" not in e, f"refused: {e}")
        text = rig.weirctl("explain", "tls://one.example.com")
        for part in ("passthrough (TLS is passed through", "TLSRoute demo/one rule 0", "to           demo/a:80", f"{PEER4} port {A} ready"):
            expect(part in text, f"{part} in:\n{text}")
        for url, port, name, reason in (("tcp://:9001", 9001, None, "stream_bad_backend_ref"), ("tcp://:9002", 9002, None, "stream_no_route"),
                                        ("tcp://:9003", 9003, None, "tcp_no_listener"), ("tls://x.example.org", 443, "x.example.org", "tls_unrecognized_name"),
                                        ("tls://", 443, "", "tls_unrecognized_name"), ("tls://two.example.com", 443, "two.example.com", "stream_no_route"),
                                        ("tls://tls.example.com", 443, "tls.example.com", "stream_no_route"),
                                        ("tls://empty.example.com", 443, "empty.example.com", "stream_no_endpoint")):
            expect_eq(is_refused_as_explained(rig, url, port, name), reason, url)
        expect_eq(explain(rig, "tls://two.example.com")["hosts"], ["empty.example.com", "one.example.com"], "what there is")
        expect_eq(sorted(explain(rig, "tls://x.example.org")["names"]), ["*.example.com", "tls.example.com"], "names that there are")
        expect_eq(explain(rig, "tcp://:80")["why"], "requests of HTTP are expected there", "HTTP")
        expect_eq(explain(rig, "tcp://:443")["why"], "TLS is expected there", "TLS")
        expect("refused      stream_no_endpoint: " in rig.weirctl("explain", "tls://empty.example.com", check=False), "the reason in words")
        for bad in ("tcp://x:1", "tcp://10.0.0.1", "tcp://:0", "tcp://:65536", "tls://x:1x", "tls://x@y", "tls://x/y"):
            expect("error" in explain(rig, bad), bad)
        expect("error" in explain(rig, "tcp://:9000", "-H", "a: b"), "headers")
