# SPDX-License-Identifier: Apache-2.0
"""Filters of HTTPRoute, from the object to the wire: real curl, and backends that record what they get."""
import contextlib
import json

from rig import MANIFESTS, PEER4, WEIR4, expect, expect_eq, gateway, service, slice_, wait_until

RECORDER = r"""
import hashlib, http.server, json, sys
out = open(sys.argv[2], 'a')
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args):
        pass
    def body(self):
        if self.headers.get('Transfer-Encoding') == 'chunked':
            data = b''
            while True:
                n = int(self.rfile.readline(), 16)
                data += self.rfile.read(n)
                self.rfile.readline()
                if n == 0:
                    return data
        return self.rfile.read(int(self.headers.get('Content-Length', 0)))
    def answer(self):
        data = self.body()
        seen = json.dumps({'method': self.command, 'path': self.path, 'length': len(data),
                           'digest': hashlib.sha256(data).hexdigest(),
                           'headers': [[k.lower(), v] for k, v in self.headers.items()]}).encode() + b'\n'
        out.write(seen.decode())
        out.flush()
        self.send_response(200)
        self.send_header('X-Origin', 'first')
        self.send_header('X-Secret', 'inner')
        self.send_header('Content-Length', str(len(seen)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(seen)
    do_GET = do_POST = do_PUT = do_HEAD = answer
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(('', int(sys.argv[1])), Handler).serve_forever()
"""

EDGE = gateway("{name: http, port: 80, protocol: HTTP}, {name: alt, port: 8080, protocol: HTTP}")
FIRST, SECOND = 8091, 8092  # ports of recorders


def route(name, rules):
    return f"""apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: demo}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{name}.example.com]
  rules:
{rules}
---
"""


def manifests(*routes):
    services = "".join(service(n) + slice_(n, PEER4, p) for n, p in (("first", FIRST), ("second", SECOND)))
    return {**MANIFESTS, "filters.yaml": EDGE + services + "".join(routes)}


class Recorder:
    def __init__(self, rig, port):
        self.path = rig.dir / f"seen-{port}"
        self.path.touch()
        self.process = rig.spawn(["python3", "-c", RECORDER, str(port), self.path])
        wait_until("a recorder", lambda: rig.run(["curl", "-s", "-m", "60", f"http://{PEER4}:{port}/"], check=False).returncode == 0)
        wait_until("its record", lambda: self.seen())
        self.path.write_text("")

    def seen(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@contextlib.contextmanager
def recorders(rig, *ports):
    started = []
    try:
        for port in ports:
            started.append(Recorder(rig, port))
        yield started
    finally:
        for r in started:
            r.process.kill()
            r.process.wait()


def values(seen, name):
    return [v for k, v in seen["headers"] if k == name]


HEADERS = route("headers", """
  - filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set: [{name: X-Set, value: rule}, {name: X-Both, value: rule}, {name: X-Forwarded-Proto, value: https}]
        add: [{name: X-Add, value: rule}]
        remove: [X-Gone]
    - type: ResponseHeaderModifier
      responseHeaderModifier:
        set: [{name: X-Origin, value: rule}]
        add: [{name: X-Level, value: rule}]
        remove: [x-secret]
    backendRefs:
    - name: first
      port: 80
      filters:
      - type: RequestHeaderModifier
        requestHeaderModifier: {set: [{name: x-both, value: backend}], add: [{name: x-add, value: backend}]}
      - type: ResponseHeaderModifier
        responseHeaderModifier: {set: [{name: X-Origin, value: backend}]}
  - matches: [{path: {value: /host}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: "inner.test:81"}]}}]
    backendRefs: [{name: first, port: 80}]""")


def test_headers_are_changed_by_rule_then_by_backend(make):
    with make(manifests=manifests(HEADERS)) as rig, recorders(rig, FIRST) as (first,):
        _, headers, body = rig.curl("/x?y=1", host="headers.example.com", args=[
            "-H", "X-SET: client", "-H", "x-add: client", "-H", "X-Gone: client", "-H", "X-Kept: client", "-d", "hello"])
        seen = json.loads(body)
        expect_eq((seen["path"], seen["length"]), ("/x?y=1", 5), "the rest is as it was")
        expect_eq(values(seen, "x-set"), ["rule"], "set")
        expect_eq(values(seen, "x-both"), ["backend"], "set again by the backend's filter")
        expect_eq(values(seen, "x-add"), ["client", "rule", "backend"], "added")
        expect_eq(values(seen, "x-gone"), [], "removed")
        expect_eq(values(seen, "x-kept"), ["client"], "kept")
        expect_eq(values(seen, "x-forwarded-proto"), ["https"], "what Weir says itself can be changed")
        expect_eq(values(seen, "host"), ["headers.example.com"], "host")
        expect_eq((headers["x-origin"], headers["x-level"]), ("backend", "rule"), "of the response")
        expect("x-secret" not in headers, "removed from the response")
        _, headers, body = rig.curl("/host", host="headers.example.com")
        seen = json.loads(body)
        expect_eq((values(seen, "host"), values(seen, "x-forwarded-host")), (["inner.test:81"], ["headers.example.com"]), "host")
        expect_eq(headers["x-secret"], "inner", "the other rule's filters are not this one's")
        expect_eq(len(first.seen()), 2, "requests")


CORS = route("cors", """
  - filters:
    - type: CORS
      cors: {allowOrigins: ["https://*.shop.test"], allowMethods: [GET, PUT], allowHeaders: [x-a], allowCredentials: true, maxAge: 60}
    backendRefs: [{name: first, port: 80}]""")


def test_browsers_are_told_whose_scripts_may_read_an_answer(make):
    preflight = ["-X", "OPTIONS", "-H", "Access-Control-Request-Method: PUT", "-H", "Access-Control-Request-Headers: x-a"]
    with make(manifests=manifests(CORS)) as rig, recorders(rig, FIRST) as (first,):
        def ask(origin, *args):
            status, headers, _ = rig.curl("/", host="cors.example.com", args=[*args, "-H", f"Origin: {origin}"])
            return status, {k.removeprefix("access-control-"): v for k, v in headers.items() if k.startswith("access-control-")}
        allowed = {"allow-origin": "https://a.shop.test", "allow-credentials": "true"}
        expect_eq(ask("https://a.shop.test", *preflight),
                  (204, {**allowed, "allow-methods": "GET, PUT", "allow-headers": "x-a", "max-age": "60"}), "a preflight")
        expect_eq(ask("https://shop.test", *preflight), (204, {}), "of another origin")
        expect_eq(first.seen(), [], "requests that reached the backend")
        expect_eq(ask("https://a.shop.test"), (200, allowed), "a request")
        expect_eq(ask("https://shop.test"), (200, {}), "of another origin: it is the browser that refuses the answer")
        expect("cors https://*.shop.test methods GET, PUT with credentials" in rig.weirctl("routes"), "weirctl shows it")


URLS = route("urls", """
  - matches: [{path: {value: /https}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]
  - matches: [{path: {value: /old}}]
    filters:
    - type: RequestRedirect
      requestRedirect: {hostname: new.test, port: 8443, statusCode: 308, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new/}}
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: Cache-Control, value: no-store}]}
  - matches: [{path: {value: /here}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /there}, statusCode: 303}}]
  - matches: [{path: {value: /some}}]
    backendRefs: [{name: first, port: 80, filters: [{type: RequestRedirect, requestRedirect: {statusCode: 307, hostname: some.test}}]}]
  - matches: [{path: {value: /strip}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{name: first, port: 80}]
  - matches: [{path: {value: /both}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: rule.test, path: {type: ReplaceFullPath, replaceFullPath: /rule}}}]
    backendRefs:
    - name: first
      port: 80
      filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /backend}}}]""")


def test_redirects_are_answered_as_the_route_says(make):
    wanted = [
        (80, "/https/x?a=b&c", 301, "https://urls.example.com/https/x?a=b&c"),
        (8080, "/https", 301, "https://urls.example.com/https"),
        (80, "/old/x?a=b", 308, "http://new.test:8443/new/x?a=b"),
        (80, "/old", 308, "http://new.test:8443/new"),
        (80, "/here/x?q", 303, "http://urls.example.com/there?q"),
        (8080, "/here", 303, "http://urls.example.com:8080/there"),
        (80, "/some/x", 307, "http://some.test/some/x"),
    ]
    with make(manifests=manifests(URLS)) as rig:
        for port, path, status, location in wanted:
            got, headers, body = rig.curl(path, host="urls.example.com", port=port)
            expect_eq((got, headers["location"], body), (status, location, ""), f"{path} on {port}")
        expect_eq(rig.curl("/old", host="urls.example.com")[1]["cache-control"], "no-store", "response headers of a redirect")
        got, headers, _ = rig.curl("/https", host="urls.example.com", args=["-d", "x" * 100000])
        expect_eq(got, 301, "of a request with a body")
        expect_eq(rig.metric_sum("weir_http_redirects_total"), len(wanted) + 2, "redirects are counted")
        p = rig.run(["curl", "-sS", "-v", "-m", "60", "-H", "Host: urls.example.com"] + [f"http://{WEIR4}/https/{i}" for i in range(4)])
        expect_eq((p.stderr.count(b"Connected to"), p.stderr.count(b"< HTTP/1.1 301")), (1, 4), "on one connection")


def test_rewrites_change_what_the_backend_gets(make):
    with make(manifests=manifests(URLS)) as rig, recorders(rig, FIRST):
        for path, wanted in (("/strip/a/b?x=1", "/a/b?x=1"), ("/strip", "/"), ("/strip/", "/"), ("/strip?x", "/?x"),
                             ("/both/x", "/backend/x"), ("/both", "/backend")):
            seen = json.loads(rig.curl(path, host="urls.example.com")[2])
            expect_eq(seen["path"], wanted, path)
            host = "rule.test" if path.startswith("/both") else "urls.example.com"
            expect_eq((values(seen, "host"), values(seen, "x-forwarded-host")), ([host], ["urls.example.com"]), f"Host of {path}")


def test_explain_and_routes_show_filters(make):
    with make(manifests=manifests(HEADERS, URLS)) as rig:
        text = rig.weirctl("explain", "GET", "http://headers.example.com/")
        for part in ("filters      request set X-Set=rule; ", "response remove x-secret", "demo/first:80 [request set x-both=backend; "):
            expect(part in text, f"{part!r} in {text}")
        text = rig.weirctl("explain", "GET", "http://urls.example.com/old/x")
        expect("redirect 308 host new.test port 8443 prefix /new; response set Cache-Control=no-store" in text, text)
        expect("rewrite prefix /" in rig.weirctl("routes"), "routes")
        filters = rig.weirctl_json("explain", "GET", "http://urls.example.com/both")["rule"]["filters"]
        expect_eq(filters, [{"type": "URLRewrite", "hostname": "rule.test", "replaceFullPath": "/rule"}], "JSON")


def test_a_wrong_filter_answers_500_and_is_reported(make):
    wrong = route("wrong", """
  - matches: [{path: {value: /framing}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [Content-Length]}}]
    backendRefs: [{name: first, port: 80}]
  - matches: [{path: {value: /unknown}}]
    filters: [{type: ExtensionRef, extensionRef: {group: a.test, kind: K, name: k}}]
    backendRefs: [{name: first, port: 80}]
  - matches: [{path: {value: /backend}}]
    backendRefs: [{name: first, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: "b\\nc: d"}]}}]}]
  - matches: [{path: {value: /right}}]
    backendRefs: [{name: first, port: 80}]""")
    with make(manifests=manifests(wrong)) as rig, recorders(rig, FIRST) as (first,):
        for path in ("/framing", "/unknown", "/backend"):
            expect_eq(rig.curl(path, host="wrong.example.com")[0], 500, path)
        expect_eq(first.seen(), [], "none was served without its filter")
        expect_eq(rig.curl("/right", host="wrong.example.com")[0], 200, "the rule beside them")
        text = rig.weirctl("status")
        for part in ("spec.rules[0].filters[0].requestHeaderModifier.remove[0]: InvalidValue", "spec.rules[1].filters[0]: UnsupportedFilter",
                     "spec.rules[2].backendRefs[0].filters[0].requestHeaderModifier.set[0].value: InvalidValue"):
            expect(f"HTTPRoute demo/wrong {part}" in text, f"{part} in {text}")
        p = rig.run([rig.build / "ctrl/weirctl", "check", rig.dir / "manifests"], check=False)
        expect(p.returncode == 1 and b"HTTPRoute demo/wrong spec.rules[1].filters[0]: UnsupportedFilter" in p.stdout, p.stdout)


MIRROR = "{type: RequestMirror, requestMirror: {backendRef: {name: second, port: 80}%s}}"
MIRRORS = route("mirrors", f"""
  - filters:
    - {MIRROR % ''}
    - {{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: X-Set, value: rule}}]}}}}
    backendRefs: [{{name: first, port: 80}}]
  - matches: [{{path: {{value: /none}}}}]
    filters: [{MIRROR % ', percent: 0'}]
    backendRefs: [{{name: first, port: 80}}]
  - matches: [{{path: {{value: /half}}}}]
    filters: [{MIRROR % ', fraction: {numerator: 1, denominator: 2}'}]
    backendRefs: [{{name: first, port: 80}}]
  - matches: [{{path: {{value: /twice}}}}]
    filters: [{MIRROR % ', percent: 100'}]
    backendRefs: [{{name: first, port: 80, filters: [{MIRROR % ''}]}}]""")


def mirrors_are_done(rig):
    return rig.metric_sum("weir_http_mirrors") == 0


def test_mirrors_get_copies_and_their_answers_go_nowhere(make):
    with make(manifests=manifests(MIRRORS)) as rig, recorders(rig, FIRST, SECOND) as (first, second):
        (rig.dir / "body").write_bytes(bytes(range(256)) * 3000)  # less than a mirror may lag behind
        args = {"plain": ["-T", rig.dir / "body"], "chunked": ["-T", rig.dir / "body", "-H", "Transfer-Encoding: chunked"],
                "small": ["-d", "hello"], "get": []}
        for name, more in args.items():
            status, headers, body = rig.curl(f"/{name}?q", host="mirrors.example.com", args=more)
            expect_eq((status, json.loads(body)), (200, first.seen()[-1]), f"the answer of the backend, {name}")
            wait_until(f"it is mirrored, {name}", lambda: len(second.seen()) == len(first.seen()))  # so that the order is the same
        expect_eq(second.seen(), first.seen(), "what the mirror got is what the backend got")
        expect_eq(values(second.seen()[0], "x-set"), ["rule"], "filters included")
        expect_eq([s["length"] for s in second.seen()], [768000, 768000, 5, 0], "bodies")
        wait_until("no mirror is left", lambda: mirrors_are_done(rig))
        expect_eq(rig.metric_sum("weir_http_mirrored_total"), len(args), "counted")
        expect_eq(rig.metric_sum("weir_drops_total", 'reason="mirror'), 0, "none dropped")


def test_share_of_requests_is_mirrored(make):
    n = 200
    with make(manifests=manifests(MIRRORS)) as rig, recorders(rig, FIRST, SECOND) as (first, second):
        for path, least, most in (("/none", 0, 0), ("/half", 60, 140), ("/twice", 2 * n, 2 * n)):
            second.path.write_text("")
            before = len(first.seen())
            rig.run(["h2load", "--h1", "-n", str(n), "-c", "4", f"--connect-to={WEIR4}:80", f"http://mirrors.example.com{path}"])
            expect_eq(len(first.seen()) - before, n, "requests of the clients")
            wait_until("no mirror is left", lambda: mirrors_are_done(rig))
            got = len(second.seen())
            expect(least <= got <= most, f"{got} of {n} mirrored for {path}")
            expect_eq(rig.metric_sum("weir_drops_total", 'reason="mirror'), 0, "none dropped")


STALLED = r"""
import socket, sys
s = socket.create_server(('', int(sys.argv[1])), backlog=512)
held = []
while True:
    c, _ = s.accept()
    held.append(c)
"""


def test_a_mirror_that_stalls_disturbs_nobody(make):
    n = 1000
    patient = "drain_ms: 3000, response_ms: 600000"  # no mirror is given up meanwhile
    with make(manifests=manifests(MIRRORS), timeouts=patient) as rig, recorders(rig, FIRST):
        stalled = rig.spawn(["python3", "-c", STALLED, str(SECOND)])
        try:
            wait_until("the stalled one listens", lambda: rig.run(
                ["sh", "-c", f"ss -Hltn sport = :{SECOND} | grep -q ."], check=False).returncode == 0)
            (rig.dir / "body").write_bytes(b"x" * (16 << 20))
            for _ in range(4):
                status, _, body = rig.curl("/up", host="mirrors.example.com", args=["-T", rig.dir / "body"])
                expect_eq((status, json.loads(body)["length"]), (200, 16 << 20), "an upload beside it")
            expect_eq(rig.metric_sum("weir_drops_total", 'reason="mirror_slow"'), 4, "mirrors that were cut")
            p = rig.run(["h2load", "--h1", "-n", str(n), "-c", "8", f"--connect-to={WEIR4}:80", "http://mirrors.example.com/x"])
            expect(f"{n} succeeded, 0 failed" in p.stdout.decode(), p.stdout.decode()[-600:])
            full = rig.metric_sum("weir_drops_total", 'reason="mirror_pool_empty"')
            expect(0 < full < n, f"{full} found no room")
            expect_eq(full + rig.metric_sum("weir_http_mirrors"), n, "the others wait for an answer")
            expect("mirror_slow" in rig.weirctl("drops"), "weirctl names them")
            expect_eq(rig.metric_sum("weir_http_responses_5xx_total"), 0, "and no client sees anything of it")
        finally:
            stalled.kill()
            stalled.wait()
        wait_until("their connections end", lambda: mirrors_are_done(rig))
        expect_eq(rig.curl("/none", host="mirrors.example.com")[0], 200, "afterwards")
