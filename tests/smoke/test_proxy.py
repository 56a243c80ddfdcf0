# SPDX-License-Identifier: Apache-2.0
"""Requests with real peers: curl, raw sockets, nginx; IPv4 and IPv6; one and two workers; TAP and af_packet."""
import re
import subprocess
import time

from rig import PEER4, WEIR4, WEIR6, expect, expect_eq, takes, wait_until

RAW = r"""
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
for part in sys.argv[3:]:
    s.sendall(part.encode('latin1').decode('unicode_escape').encode('latin1'))
s.shutdown(socket.SHUT_WR)
out = b''
while True:
    d = s.recv(65536)
    if not d: break
    out += d
sys.stdout.buffer.write(out)
"""


def raw(rig, *parts, addr=WEIR4, port=80):
    """Sends bytes as they are (backslash escapes allowed), half-closes, and returns all that comes back."""
    return rig.run(["python3", "-c", RAW, addr, port, *parts]).stdout.decode("latin1")


def check_answers(rig):
    for addr in (WEIR4, WEIR6):
        status, headers, body = rig.curl("/cart?x=1", addr=addr)
        expect_eq((status, body), (200, "web GET shop.example.com/cart?x=1\n"), "by host")
        expect("x-request-id" in headers, "the response has a request id")
        expect_eq(rig.curl("/api/v1", addr=addr)[2], "api GET shop.example.com/api/v1\n", "by path")
        expect_eq(rig.curl("/apiary", addr=addr)[2], "web GET shop.example.com/apiary\n", "prefix by element")
        expect_eq(rig.curl("/exact", addr=addr)[2], "api GET shop.example.com/exact\n", "exact")
        expect_eq(rig.curl("/exact/x", addr=addr)[2], "web GET shop.example.com/exact/x\n", "exact is exact")
        expect_eq(rig.curl("/", host="a.wild.example.com", addr=addr)[0], 200, "wildcard host")
        expect_eq(rig.curl("/", host="a.b.wild.example.com", addr=addr)[0], 404, "one label only")
        expect_eq(rig.curl("/", host="other.example.com", addr=addr)[0], 404, "unknown host")
        expect_eq(rig.curl("/empty", addr=addr)[0], 503, "no endpoint")
        expect_eq(rig.curl("/dead", addr=addr)[0], 502, "nobody listens")
        expect_eq(rig.curl("/gone", addr=addr)[0], 502, "closes without an answer")


def test_requests_reach_their_backends_over_tap(make):
    with make() as rig:
        check_answers(rig)


def test_requests_reach_their_backends_with_two_workers(make):
    with make(workers=2) as rig:
        check_answers(rig)
        for i in range(40):  # new connections land on both
            expect_eq(rig.curl(f"/n{i}")[0], 200, "request")
        expect(rig.metric_sum("weir_steered_out_packets_total") > 0, "some packets were redirected between workers")
        log = (rig.dir / "dataplane.log").read_text()
        expect("port net_tap0: what backends answer " in log, "the log says how answers come to their worker")


def test_requests_reach_their_backends_over_af_packet(make):
    with make(port="af_packet") as rig:
        check_answers(rig)


def test_requests_reach_their_backends_over_af_packet_with_two_workers(make):
    with make(port="af_packet", workers=2) as rig:
        check_answers(rig)


def test_requests_reach_their_backends_over_af_xdp(make):
    with make(port="af_xdp") as rig:
        check_answers(rig)


def test_kernel_pings_both_families(make):
    with make(workers=2) as rig:
        for addr in (WEIR4, WEIR6):
            rig.run(["ping", "-n", "-c", "3", "-i", "0.2", "-W", "20", addr])
            rig.run(["ping", "-n", "-c", "2", "-i", "0.2", "-W", "20", "-s", "1400", addr])


def test_forwarding_headers_are_set(make):
    with make() as rig:
        _, headers, _ = rig.curl("/echo")
        seen = headers["x-seen"].split("|")
        expect_eq(seen[:3], [PEER4, "http", "shop.example.com"], "X-Forwarded-For, -Proto, -Host")
        expect(re.fullmatch(r"[0-9a-f]{32}", seen[3]), "a request id of Weir's own")
        expect_eq(headers["x-request-id"], seen[3], "the client gets the same one")
        _, headers, _ = rig.curl("/echo", args=["-H", "X-Request-Id: mine-1", "-H", "X-Forwarded-For: 203.0.113.9",
                                                "-H", "X-Forwarded-Proto: https", "-H", "Connection: x-hop", "-H", "X-Hop: 1"])
        expect_eq(headers["x-seen"].split("|")[:4], [PEER4, "http", "shop.example.com", "mine-1"], "kept id, nothing else believed")


def test_trusted_proxy_is_believed_others_are_not(make):
    fields = ["-H", "X-Forwarded-For: 192.0.2.1, 203.0.113.9", "-H", "X-Forwarded-Proto: https", "-H", "X-Forwarded-Host: shop"]
    for prefix, seen in ((PEER4 + "/32", [f"192.0.2.1, 203.0.113.9, {PEER4}", "https", "shop"]),
                         ("198.51.100.0/24", [PEER4, "http", "shop.example.com"])):
        with make(extra="forwarding: {trusted_prefixes: [" + prefix + "], forwarded: true, via: gate}") as rig:
            _, headers, _ = rig.curl("/echo", args=fields)
            expect_eq(headers["x-seen"].split("|")[:3], seen, f"trusting {prefix}")
            expect("date" in rig.curl("/no-such", host="no.example")[1], "Date in an answer of Weir's own")


def test_methods_and_bodies(make):
    with make() as rig:
        p = rig.run(["curl", "-sS", "-I", "-m", "60", "-H", "Host: shop.example.com", f"http://{WEIR4}/x"])
        expect(p.stdout.startswith(b"HTTP/1.1 200"), "HEAD")
        expect_eq(rig.curl("/x", args=["-X", "POST", "-d", "hello"])[2], "web POST shop.example.com/x\n", "POST")
        expect_eq(rig.curl("/x", args=["-X", "POST", "-H", "Transfer-Encoding: chunked", "-d", "hello"])[0], 200, "chunked")
        expect_eq(rig.curl("/x", args=["-H", "Expect: 100-continue", "-d", "hello"])[0], 200, "Expect")
        expect_eq(rig.curl("/x", args=["-X", "TRACE"])[0], 405, "TRACE")
        expect_eq(rig.curl("/x", args=["--http1.0"])[0], 200, "HTTP/1.0")
        out = raw(rig, "CONNECT a.example:443 HTTP/1.1\\r\\nHost: a.example:443\\r\\n\\r\\n")
        expect(out.startswith("HTTP/1.1 501"), "CONNECT")
        out = raw(rig, "OPTIONS * HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        expect(out.startswith("HTTP/1.1 204"), "OPTIONS *")


def test_keep_alive_and_pipelining_share_connections(make):
    with make() as rig:
        p = rig.run(["curl", "-sS", "-v", "-m", "60", "-H", "Host: shop.example.com"] + [f"http://{WEIR4}/{i}" for i in range(5)])
        expect_eq(p.stderr.count(b"Connected to"), 1, "client connections")
        expect_eq(p.stdout.count(b"web GET"), 5, "answers")
        out = raw(rig, "".join(f"GET /{i} HTTP/1.1\\r\\nHost: shop.example.com\\r\\n\\r\\n" for i in range(20)))
        expect_eq(re.findall(r"example.com/(\d+)", out), [str(i) for i in range(20)], "pipelined answers in order")
        expect(rig.metric_sum("weir_upstream_connects_total") <= 3, "backend connections are used again")


def test_malformed_requests_are_refused_by_name(make):
    bad = {
        "GET / HTTP/1.1\\r\\n\\r\\n": "bad_host_missing",
        "GET / HTTP/1.1\\r\\nHost: a\\r\\nHost: a\\r\\n\\r\\n": "bad_host_many",
        "GET / HTTP/1.1\\nHost: a\\n\\n": "bad_bare_lf",
        "GET / HTTP/1.1\\r\\nHost: a\\r\\nX : b\\r\\n\\r\\n": "bad_field_name",
        "GET / HTTP/1.1\\r\\nHost: a\\r\\n b\\r\\n\\r\\n": "bad_obs_fold",
        "POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 3\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n":
            "bad_length_and_chunked",
        "POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 3, 3\\r\\n\\r\\nabc": "bad_length",
        "GET / HTTP/1.1\\r\\nHost: a\\r\\nX: " + "y" * 17000 + "\\r\\n\\r\\n": "bad_headers_too_large",
        "GET /" + "y" * 9000 + " HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n": "bad_line_too_long",
        "GET / HTTP/1.1\\r\\nHost: a\\r\\n" + "X: y\\r\\n" * 120 + "\\r\\n": "bad_too_many_fields",
        "GET / HTTP/3.0\\r\\nHost: a\\r\\n\\r\\n": "bad_version_unsupported",
    }
    with make() as rig:
        for text, name in bad.items():
            out = raw(rig, text)
            expect(re.match(r"HTTP/1.1 [45]\d\d ", out) and name in out, f"{text[:60]}: {out[:200]!r}, wanted {name}")
            expect("Connection: close" in out, "and the connection closes")
        expect_eq(rig.curl("/ok")[0], 200, "others do not notice")
        expect_eq(rig.metric_sum("weir_drops_total", 'reason="req_too_large"'), 3, "counted by reason")


@takes(45)
def test_gibibyte_up_and_down_arrives_unchanged_in_flat_memory(make):
    size = 1 << 30
    with make() as rig:
        with open(rig.dir / "www/big", "wb") as f:
            p = subprocess.Popen(["openssl", "enc", "-aes-128-ctr", "-nosalt", "-K", "00" * 16, "-iv", "00" * 16, "-in", "/dev/zero"],
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            left = size
            while left:
                block = p.stdout.read(min(left, 1 << 20))
                f.write(block)
                left -= len(block)
            p.kill()
            p.wait()
        wanted = subprocess.run(["sha256sum", rig.dir / "www/big"], capture_output=True).stdout.split()[0]
        rig.curl("/warm")
        before = rig.rss_kb()
        down = rig.spawn(["sh", "-c", f"curl -sS -H 'Host: shop.example.com' http://{WEIR4}/files/big | sha256sum"],
                         stdout=subprocess.PIPE)
        highest = 0
        while down.poll() is None:
            highest = max(highest, rig.rss_kb())
            try:
                down.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
        expect_eq(down.stdout.read().split()[0], wanted, "digest of what came down")
        up = rig.spawn(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-T", rig.dir / "www/big", "-H",
                        "Host: shop.example.com", f"http://{WEIR4}/up/big2"], stdout=subprocess.PIPE)
        while up.poll() is None:
            highest = max(highest, rig.rss_kb())
            try:
                up.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
        expect_eq(up.stdout.read(), b"201", "status of the upload")
        got = subprocess.run(["sha256sum", rig.dir / "www/up/big2"], capture_output=True).stdout.split()[0]
        expect_eq(got, wanted, "digest of what went up")
        print(f"     memory before {before} kB, highest {highest} kB")
        expect(highest - before < 64 * 1024, f"memory grew from {before} to {highest} kB")
        wait_until("all buffers are back", lambda: rig.metric_sum("weir_mbufs_used") < 2000)


test_gibibyte_up_and_down_arrives_unchanged_in_flat_memory.not_sanitized = True


def test_slow_reader_holds_back_the_backend(make):
    """A client that does not read keeps only a bounded number of buffers in use."""
    with make() as rig:
        (rig.dir / "www/big").write_bytes(b"x" * (64 << 20))
        slow = r"""
import socket, sys
s = socket.create_connection((sys.argv[1], 80), 60)
s.sendall(b'GET /files/big HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n')
sys.stdin.readline()
n = 0
while True:
    d = s.recv(1 << 20)
    if not d: break
    n += len(d)
print(n)
"""
        p = rig.spawn(["python3", "-c", slow, WEIR4], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def is_standing():
            before = rig.metric_sum("weir_http_body_bytes_down_total")
            time.sleep(0.2)
            return before > 0 and rig.metric_sum("weir_http_body_bytes_down_total") == before
        wait_until("the transfer stands", is_standing)
        used = rig.metric_sum("weir_mbufs_used")
        expect(used < 2000, f"{used} buffers in use for a client that does not read")
        out, _ = p.communicate(b"\n", timeout=120)
        expect(int(out) > 64 << 20, f"{out} bytes arrived")


def test_drain_finishes_what_is_in_hand(make):
    with make(timeouts="drain_ms: 60000") as rig:
        (rig.dir / "www/big").write_bytes(b"x" * (8 << 20))
        p = rig.spawn(["curl", "-sS", "--limit-rate", "8M", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", "-H",
                       "Host: shop.example.com", f"http://{WEIR4}/files/big"], stdout=subprocess.PIPE)
        wait_until("the transfer runs", lambda: rig.metric_sum("weir_http_body_bytes_down_total") > 1 << 20)
        expect_eq(rig.stop("dataplane", seconds=90), 0, "exit status after SIGTERM")
        out, _ = p.communicate(timeout=60)
        expect_eq(out.split(), [b"200", str(8 << 20).encode()], "the transfer that ran")


def test_backend_that_closes_idle_connections_costs_no_request(make):
    """The server closes each connection after a few requests: stale ones are tried again."""
    nginx = f"server {{ listen {PEER4}:8085; keepalive_requests 3; location / {{ return 200 \"short\\n\"; }} }}"
    from rig import MANIFESTS, WEB, ingress, service, slice_
    manifests = dict(MANIFESTS)
    manifests["short.yaml"] = service("short") + slice_("short", PEER4, 8085) + ingress("short", "short.example.com",
                                                                                        [("/", "Prefix", "short")])
    with make(nginx=nginx, manifests=manifests) as rig:
        p = rig.run(["h2load", "--h1", "-n", "3000", "-c", "8", f"--connect-to={WEIR4}:80", "http://short.example.com/"])
        text = p.stdout.decode()
        expect("3000 succeeded, 0 failed" in text, text[-600:])
        expect("2xx" in text and re.search(r"status codes: 3000 2xx", text), text[-600:])
