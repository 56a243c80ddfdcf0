# SPDX-License-Identifier: Apache-2.0
"""slowhttptest in its four modes against Weir, while another client goes on: it must not notice."""
import contextlib
import json
import subprocess

from rig import MANIFESTS, WEIR4, expect, expect_eq, wait_until

SECONDS = 600  # of each mode at most: it is ended when Weir has had enough of its clients
CONNECTIONS = 150
LIMITS = "drain_ms: 3000, header_ms: 1000, body_ms: 1000, idle_ms: 60000"
BIG_BYTES = 32 << 20

# Each slow client asks for the host that its URL names.
ROUTES = """apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: all, namespace: demo}
spec:
  rules:
    - http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
"""

# Requests one after the other, on a connection that stays and on new ones: until stdin ends, and thirty at least.
OTHER = r"""
import http.client, json, sys, threading, time
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
out = {'ok': 0, 'failed': [], 'longest_ms': 0}
kept = http.client.HTTPConnection(sys.argv[1], 80, timeout=60)
def ask(c):
    began = time.monotonic()
    try:
        c.request('GET', '/other', headers={'Host': 'shop.example.com'})
        r = c.getresponse()
        body = r.read()
        assert r.status == 200 and body == b'web GET shop.example.com/other\n', (r.status, body[:100])
        out['ok'] += 1
    except Exception as e:
        out['failed'].append(repr(e))
        c.close()
    out['longest_ms'] = max(out['longest_ms'], round((time.monotonic() - began) * 1000))
ask(kept)
print('begun', flush=True)
while not stop.is_set() or out['ok'] + len(out['failed']) < 30:
    ask(kept)
    fresh = http.client.HTTPConnection(sys.argv[1], 80, timeout=60)
    ask(fresh)
    fresh.close()
    time.sleep(0.005)
print(json.dumps(out))
"""

# How many connections, what slowhttptest does, and the reason under which Weir counts the end of it.
MODES = {
    "slow heads": (CONNECTIONS, "/", ["-H", "-i", "10"], "req_header_timeout"),
    "slow bodies": (CONNECTIONS, "/up/slow", ["-B", "-t", "PUT", "-i", "10", "-s", "8192", "-x", "10"], "req_body_timeout"),
    "ranges without end": (CONNECTIONS, "/files/big", ["-R", "-a", "1", "-b", "4000"], "req_too_large"),
    "slow readers": (CONNECTIONS, "/files/big", ["-X", "-k", "1", "-n", "10", "-w", "512", "-y", "1024", "-z", "32"], "req_read_slow"),
}


@contextlib.contextmanager
def mode(rig, n, path, args):
    p = rig.spawn(["slowhttptest", "-c", str(n), "-r", str(n), "-l", str(SECONDS), "-p", "3", "-u", f"http://{WEIR4}{path}", *args],
                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        p.kill()
        p.wait()


def test_slow_clients_disturb_no_other(make):
    with make(manifests={**MANIFESTS, "all.yaml": ROUTES}, timeouts=LIMITS) as rig:
        with open(rig.dir / "www/big", "wb") as f:
            f.truncate(BIG_BYTES)
        for name, (n, path, args, reason) in MODES.items():
            def count(reason=reason):
                return rig.metric_sum("weir_drops_total", f'reason="{reason}"')

            before = count()
            other = rig.spawn(["python3", "-c", OTHER, WEIR4], stdin=-1, stdout=-1)
            try:
                expect_eq(other.stdout.readline(), b"begun\n", "the other client")
                with mode(rig, n, path, args):
                    wait_until(f"{name}: {reason}", lambda: count() - before >= n * 9 // 10)
            finally:
                text, _ = other.communicate(timeout=300)
            seen = json.loads(text)
            print(f"     {name}: {count() - before:.0f} ended by {reason}; another client: {seen['ok']} requests, "
                  f"{seen['longest_ms']} ms at most")
            expect_eq(seen["failed"][:3], [], f"requests of the other client beside {name}")
        wait_until("no connection is left", lambda: rig.metric_sum("weir_client_connections") == 0)
