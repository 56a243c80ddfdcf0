#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A soak in miniature: mixed load, faults and changes all the time, and memory that stays flat.

    tests/bench/soak.py --build BUILD [--minutes 20] [--small]

Requests of mixed sizes on connections that stay and on one each, some of which meet a
fault of the origin (see chaos.py); those that are a POST pass filters and a mirror that
resets, closes or says nothing. Twice a second the manifests change: endpoints go and
come back, a filter is another one, routes on other hosts appear and vanish. Now and then
weir-ctrl is ended, or killed, and started again. What each fault explains may fail, nothing
else; memory and everything that is counted must be as large at the end as after the warm-up.
"""
import random
import signal
import statistics
import threading
import time

from bench import ORIGIN, ORIGIN_PORT, Bench, arguments, endpoint_slice, expect, gateway, main_of, print_table, resident_kb, service, wait_until, write_json
from procs import end_process

ORIGINS = 4 # behind them one more, which is the mirror's
CTRL_EVERY_S = 23
GAUGES = ("mbufs_used", "http_requests_active", "http_mirrors", "tcp_connections", "client_connections", "upstream_idle", "neighbours")


def address(i):
    first, last = ORIGIN.rsplit(".", 1)
    return f"{first}.{int(last) + i}"


def main_route(value):
    return f"""apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: main, namespace: demo}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [blast.example.com]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /}}, method: POST}}]
    filters:
    - {{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: X-Soak, value: "{value}"}}], remove: [User-Agent]}}}}
    - {{type: ResponseHeaderModifier, responseHeaderModifier: {{add: [{{name: X-Soak, value: "{value}"}}]}}}}
    - {{type: RequestMirror, requestMirror: {{backendRef: {{name: mirror, port: 80}}, percent: 2}}}}
    backendRefs: [{{name: origin, port: 80}}]
  - matches: [{{path: {{type: PathPrefix, value: /}}}}]
    backendRefs: [{{name: origin, port: 80}}]
---
"""


def other_routes(rnd):
    return "".join(f"""apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: other-{i}, namespace: demo}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [h{rnd.randrange(10000)}.example.com]
  rules: [{{backendRefs: [{{name: origin, port: 80}}]}}]
---
""" for i in range(rnd.randrange(200)))


class Changes(threading.Thread):
    """Changes the manifests and restarts weir-ctrl until it is told to stop."""

    def __init__(self, bench):
        super().__init__()
        self.bench, self.rnd = bench, random.Random(1)
        self.stopping = threading.Event()
        self.lock = threading.Lock() # weir-ctrl is there and serves
        self.n, self.n_restarts, self.failure, self.gone = 0, 0, None, None

    def write(self, gone=None, value=0):
        addrs = [address(i) for i in range(ORIGINS) if i != gone]
        self.bench.write_manifest("origin.yaml", service("origin") + endpoint_slice("origin", addrs, ORIGIN_PORT) +
                                  service("mirror") + endpoint_slice("mirror", [address(ORIGINS)], ORIGIN_PORT))
        self.bench.write_manifest("main.yaml", gateway() + main_route(value))

    def change(self):
        kind = self.rnd.randrange(3)
        if kind == 0: # no more than one is away: a request has three tries
            self.gone = None if self.gone is not None else self.rnd.randrange(ORIGINS)
            self.write(self.gone, self.n)
        elif kind == 1:
            self.write(self.gone, self.n)
        else:
            self.bench.write_manifest("others.yaml", other_routes(self.rnd))
        self.n += 1

    def restart(self):
        with self.lock:
            sig = signal.SIGKILL if self.n_restarts % 2 else signal.SIGTERM
            rc = end_process(self.bench.procs["ctrl"], 30, sig)
            expect(rc in (0, -signal.SIGKILL), f"weir-ctrl ended with {rc}")
            time.sleep(self.rnd.random())
            self.bench.start_ctrl()
            self.n_restarts += 1

    def run(self):
        restart_at = time.monotonic() + CTRL_EVERY_S / 2
        try:
            while not self.stopping.wait(0.5):
                self.change()
                if time.monotonic() > restart_at:
                    self.restart()
                    restart_at = time.monotonic() + CTRL_EVERY_S
        except Exception as e: # told in the main thread
            self.failure = e


class Samples(threading.Thread):
    def __init__(self, bench, changes, every_s):
        super().__init__()
        self.bench, self.changes, self.every_s = bench, changes, every_s
        self.stopping = threading.Event()
        self.rows, self.failure = [], None

    def run(self):
        began = time.monotonic()
        try:
            while not self.stopping.wait(self.every_s):
                with self.changes.lock:
                    s = self.bench.weirctl_sums()
                    self.rows.append({"second": round(time.monotonic() - began), "dataplane_kb": self.bench.memory_kb(),
                                      "ctrl_kb": resident_kb(self.bench.procs["ctrl"].pid), "blast_kb": self.bench.memory_kb("blast"),
                                      **{g: s[g] for g in GAUGES}})
        except Exception as e:
            self.failure = e


def load(b, args, seconds):
    """Phases, one after the other; sums of what they tell."""
    total = {"responses": 0, "shots": 0}
    end = time.monotonic() + seconds
    n = 0
    while time.monotonic() < end:
        b.phase(f"connect n={args.active}")
        r = b.phase(f"load seconds={min(args.phase, seconds):.1f} warmup=0 active={args.active} shots={args.shots} timeout=300 faults={args.faults} "
                    f"posts=0.3 seed={n} stall={3 * args.patience} mirror=1")
        expect(not r["errors"], f"errors: {r['errors']}\n{b.log('blast')[-3000:]}")
        total["responses"] += r["responses"]
        total["shots"] += r["new"]["begun"]
        n += 1
    return {**total, "faults": r["faults"]}


def judge(rows, n_active):
    """After the warm-up: medians of its first third and of the last one."""
    rows = rows[len(rows) // 4:]
    third = max(len(rows) // 3, 1)
    out, grown = [], []
    for key in rows[0]:
        if key == "second":
            continue
        first, last = (statistics.median([r[key] for r in part]) for part in (rows[:third], rows[-third:]))
        room = first * 0.03 + 3000 if key.endswith("_kb") else first * 0.5 + 4 * n_active
        out.append([key, f"{first:,.0f}", f"{last:,.0f}", f"{max(r[key] for r in rows):,}"])
        if last > first + room:
            grown.append(f"{key} grew from {first:,.0f} to {last:,.0f}")
    return out, grown


def settle(b):
    """What is left when nothing is asked any more."""
    b.phase("close n=0")
    wait_until("nothing is in hand", lambda: not any(b.weirctl_sums()[k] for k in ("http_requests_active", "http_mirrors", "client_connections")), 90)
    s = b.weirctl_sums()
    expect(s["mbufs_used"] <= 64, f"{s['mbufs_used']} packet buffers are in use at the end")
    return {g: s[g] for g in GAUGES}


def main():
    args = arguments(__doc__, minutes=(float, 20.0, "how long"), active=(int, 128, "connections that stay"), shots=(int, 8, "of one request, at one time"),
                     faults=(float, 0.02, "share of requests that meet a fault"), phase=(float, 60.0, "seconds of one phase of the load"),
                     patience=(int, 20, "seconds that Weir waits for an origin"))
    if args.small:
        args.minutes, args.active, args.patience, args.phase = 0.17, 32, 4, 5
    timeouts = {"response_ms": args.patience * 1000, "body_ms": args.patience * 1000, "connect_ms": args.patience * 2000}
    with Bench(args.build, origins=ORIGINS + 1, idle_us=args.idle_us or 50, timeouts=timeouts, slots=1 << 16) as b:
        changes = Changes(b)
        changes.write()
        b.write_manifest("all.yaml", None)
        wait_until("the routes are there", lambda: b.weirctl("status")["matches"] == 2 and not b.weirctl("status")["problem_list"])
        samples = Samples(b, changes, 0.5 if args.small else 5)
        try:
            changes.start()
            samples.start()
            r = load(b, args, args.minutes * 60)
        finally:
            for t in (samples, changes):
                t.stopping.set()
            for t in (samples, changes):
                if t.is_alive():
                    t.join()
        for t in (changes, samples):
            if t.failure:
                raise t.failure
        left = settle(b)
        drops = {d["reason"]: d["count"] for d in b.weirctl("drops") if d["count"]}
    rows, grown = judge(samples.rows, args.active)
    print_table(["", "first third after the warm-up", "last third", "most"], rows)
    print(f"{args.minutes} minutes: {r['responses']:,} right answers, {r['shots']:,} connections of one request, {changes.n:,} changes, weir-ctrl restarted "
          f"{changes.n_restarts} times; {r['faults']}\nat the end: {left}; reasons: {drops}", flush=True)
    write_json(args, {"samples": samples.rows, "load": r, "changes": changes.n, "restarts": changes.n_restarts, "drops": drops, "left": left})
    expect(not grown or args.small, "; ".join(grown))


main_of(main)
