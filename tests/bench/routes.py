#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What 100,000 routes on 10,000 hosts cost, against one.

    tests/bench/routes.py --build BUILD [--small]

HTTPRoutes, one for each host, with a rule for each of its paths; some rules ask for
a method or a header as well, so that a path has up to three. weir-blast spreads its
requests over all hosts and paths. By turns, in the same processes: all routes, then
one, then all again; what changes between two measurements is the manifests. What is
compared is the worker's busy cycles for each request, at a fixed rate, of pairs of
neighbours, since others may use the core too.

Printed as well: bytes of the snapshot for each route, which is what a copy of the
dataplane's takes (one for main, one for each worker), and what weir-ctrl needs.
"""
import statistics
import time

from bench import Bench, arguments, expect, expect_clean, gateway, main_of, print_table, resident_kb, spread, wait_until, write_json

HOSTS_A_FILE = 1000
MOST_BYTES = 1024  # of a route in a copy
MOST_COST = 1.15


def rule(path, more=""):
    return f"  - {{matches: [{{path: {{type: PathPrefix, value: /p{path:02d}}}{more}}}], backendRefs: [{{name: origin, port: 80}}]}}\n"


def rules(n_paths):
    """One of ten paths is taken apart by a method, another one by a header: their requests meet the last rule."""
    out = ""
    for p in range(n_paths):
        if p % 10 == 3:
            out += rule(p, ", method: POST")
        if p % 10 == 7:
            out += rule(p, ", headers: [{name: x-stage, value: canary}]") + rule(p, ", method: PUT")
        out += rule(p)
    return out


def http_route(host, n_paths):
    return f"""apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: h{host:05d}, namespace: demo}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [h{host:05d}.routes.example.com]
  rules:
{rules(n_paths)}---
"""


def n_rules(n_hosts, n_paths):
    return n_hosts * rules(n_paths).count("\n")


class Table:
    """Sets of manifests that can be put in and taken out."""

    def __init__(self, bench):
        self.bench, self.files = bench, []

    def put(self, n_hosts, n_paths):
        """Seconds until all of it is live in the worker."""
        b = self.bench
        before = b.weirctl("status")["live_generation"]
        began = time.monotonic()
        old, self.files = self.files, []
        texts = {f"routes-{first}.yaml": "".join(http_route(h, n_paths) for h in range(first, min(first + HOSTS_A_FILE, n_hosts)))
                 for first in range(0, n_hosts, HOSTS_A_FILE)}
        for name in set(old) - set(texts):
            b.write_manifest(name, None)
        for name, text in texts.items():
            b.write_manifest(name, text)
            self.files.append(name)
        wait_until("the routes are live", lambda: self.is_live(n_hosts, n_paths, before), 600)
        return time.monotonic() - began

    def is_live(self, n_hosts, n_paths, before):
        s = self.bench.weirctl("status")
        return s["live_generation"] > before and s["live_generation"] == s["generation"] and s["matches"] == n_rules(n_hosts, n_paths) + 1


def load(b, args, hosts, paths):
    r = b.measure(f"load seconds={args.seconds} warmup={args.seconds / 4} active={args.active} rate={args.rate} burst={args.burst} hosts={hosts} paths={paths}")
    expect_clean(r, f"requests over {hosts} hosts")
    expect(r["weir"]["counters"].get("http_responses_2xx") == r["weir"]["counters"]["http_requests"], f"not all were answered: {r['weir']}")
    return r


def main():
    args = arguments(__doc__, hosts=(int, 10_000, "hosts"), paths=(int, 10, "of each"), active=(int, 128, "connections in use"),
                     rate=(int, 40_000, "requests a second"), burst=(int, 32, "requests at a time"), seconds=(float, 2.0, "of each measurement"), rounds=(int, 5, "repetitions"))
    if args.small:
        args.hosts, args.rate, args.seconds, args.rounds = 200, 2000, 0.3, 1 # enough for looking ahead
    results = {"one": [], "all": [], "put": []}
    n = args.hosts * args.paths
    with Bench(args.build, idle_us=args.idle_us or 20, arena_mb=128) as b:
        b.write_manifest("gateway.yaml", gateway())
        table = Table(b)
        b.phase(f"connect n={args.active}")
        before_kb = b.memory_kb(), resident_kb(b.procs["ctrl"].pid)
        for _ in range(args.rounds):
            for name, hosts, paths in (("one", 1, 1), ("all", args.hosts, args.paths)):
                seconds = table.put(hosts, paths)
                results[name].append(load(b, args, hosts, paths))
                if name == "all":
                    results["put"].append({"seconds": seconds, "ctrl_kb": resident_kb(b.procs["ctrl"].pid), "dataplane_kb": b.memory_kb()})
        status = b.weirctl("status")
    cycles = {k: [r["weir"]["cycles_per_request"] for r in results[k]] for k in ("one", "all")}
    ratios = [a / o for a, o in zip(cycles["all"], cycles["one"])]
    bytes_a_route = status["snapshot_bytes"] / n
    print_table(["routes", "busy cycles a request", "requests/s"],
                [[k, spread(cycles[k], 0), spread([r["requests_per_second"] for r in results[k]], 0)] for k in cycles])
    put = results["put"][-1]
    print(f"cycles with {n:,} routes on {args.hosts:,} hosts, of those with one: {spread(ratios, 3)} of pairs, "
          f"{min(cycles['all']) / min(cycles['one']):.3f} of the least\n"
          f"snapshot: {status['snapshot_bytes']:,} bytes, {bytes_a_route:.0f} a route in each copy ({status['matches']:,} rules)\n"
          f"from manifests to live: {spread([p['seconds'] for p in results['put']], 1)} s; weir-ctrl {before_kb[1]:,} kB before, {put['ctrl_kb']:,} kB after; "
          f"dataplane {before_kb[0]:,} kB and {put['dataplane_kb']:,} kB", flush=True)
    expect(bytes_a_route <= MOST_BYTES, f"{bytes_a_route:.0f} bytes a route")
    expect(args.small or statistics.median(ratios) <= MOST_COST, f"{n:,} routes cost {statistics.median(ratios):.3f} of one")
    write_json(args, {**results, "status": status, "ratios": ratios})


main_of(main)
