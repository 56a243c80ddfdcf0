#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One worker and two, one endpoint and two: what a request costs in each case.

    tests/bench/workers.py --build BUILD [--small]

With two cores for two workers and the generator, throughput says nothing of
scaling: the generator sits on the second worker's core. So what is compared is
cost. The first worker has core 0 to itself in every case; its busy cycles for a
request (CPU time of its thread times the share of its cycles that found work) with
two workers, against those with one, say what two workers on cores of their own
would carry: 2 * (cycles with one) / (cycles with two).

"learned": a connection's frames come to the queue that last answered it, as a NIC
with flow steering does; only its first frame may have to be redirected.
"scattered": each frame comes to any queue: half of them are redirected.
"""
import statistics

from bench import Bench, arguments, expect, expect_clean, main_of, print_table, spread, write_json

CASES = [(1, 1, False), (1, 2, False), (2, 1, False), (2, 2, False), (2, 1, True), (2, 2, True)] # workers, endpoints, scattered


def cycles_of_first(r, counter):
    """Busy cycles of the first worker for each unit of a counter."""
    n = r["first"][counter]
    return r["weir"]["busy_cycles"][0] / n if n else 0


def measure(b, line):
    before = b.weirctl("stats")
    r = b.measure(line)
    after = b.weirctl("stats")
    expect_clean(r, line)
    r["first"] = {k: after[k]["workers"][0] - before[k]["workers"][0] for k in ("http_requests", "tcp_accepted")}
    r["share_of_first"] = r["first"]["http_requests"] / max(r["weir"]["counters"]["http_requests"], 1)
    return r


def run_case(args, workers, endpoints, scattered):
    n = args.active * workers
    with Bench(args.build, idle_us=args.idle_us, workers=range(workers), origins=endpoints, slots=1 << 18, blast=["--scatter"] if scattered else []) as b:
        r = b.phase(f"connect n={n}")
        expect(r["connections"] == n, f"only {r['connections']} of {n} connections: {r['errors']}")
        keep = measure(b, f"load seconds={args.seconds} active={n}")
        shots = measure(b, f"load seconds={args.seconds} active=0 shots={args.active // 8 * workers}")
        expect(shots["new"]["failed"] == 0, f"new connections failed: {shots['new']['errors']}")
        r = b.phase("close n=0")
        expect(r["connections"] == 0, "connections are left")
    return keep, shots


def show(results):
    rows = []
    for case in CASES:
        keep, shots = results[case]["keep"], results[case]["shots"]
        rows.append([case[0], case[1], "scattered" if case[2] else "learned",
                     spread([cycles_of_first(r, "http_requests") for r in keep], 0), spread([r["requests_per_second"] for r in keep], 0),
                     spread([cycles_of_first(r, "tcp_accepted") for r in shots], 0), spread([r["new"]["good_per_second"] for r in shots], 0),
                     f"{statistics.median([r['share_of_first'] for r in keep]):.2f}",
                     spread([r["weir"]["counters"].get("steered_out_packets", 0) / r["weir"]["counters"]["rx_packets"] for r in keep], 2)])
    print_table(["workers", "endpoints", "frames", "worker 0: busy cycles a request", "requests/s (shared cores)",
                 "worker 0: busy cycles a connection with one request", "connections/s (shared cores)", "share of worker 0",
                 "redirected"], rows)


def cost(results, case, kind, fn):
    counter = {"keep": "http_requests", "shots": "tcp_accepted"}[kind]
    return fn([cycles_of_first(r, counter) for r in results[case][kind]])


def show_ratios(results):
    """Of medians and of the least values: what disturbs a measurement only makes it dearer."""
    for scattered in (False, True):
        for endpoints in (1, 2):
            text = []
            for kind, words in (("keep", "requests"), ("shots", "connections")):
                ratio = [2 * cost(results, (1, endpoints, False), kind, fn) / cost(results, (2, endpoints, scattered), kind, fn)
                         for fn in (statistics.median, min)]
                text.append(f"{words} {ratio[0]:.2f} by the median, {ratio[1]:.2f} by the least")
            print(f"two workers carry, of what one does, by cycles ({endpoints} endpoint{'s' * (endpoints > 1)}, "
                  f"{'scattered' if scattered else 'learned'}): {'; '.join(text)}")
    for workers in (1, 2):
        ratio = [cost(results, (workers, 1, False), "keep", fn) / cost(results, (workers, 2, False), "keep", fn)
                 for fn in (statistics.median, min)]
        print(f"one endpoint against two, {workers} worker{'s' * (workers > 1)}: {ratio[0]:.2f} of the cycles by the median, "
              f"{ratio[1]:.2f} by the least")


def main():
    args = arguments(__doc__, active=(int, 512, "connections in use, of each worker"), seconds=(float, 1.0, "of each measurement"),
                     rounds=(int, 4, "repetitions"))
    if args.small:
        args.active, args.seconds, args.rounds = 32, 0.5, 1
    results = {c: {"keep": [], "shots": []} for c in CASES}
    for _ in range(args.rounds):
        for c in CASES:
            keep, shots = run_case(args, *c)
            results[c]["keep"].append(keep)
            results[c]["shots"].append(shots)
    show(results)
    show_ratios(results)
    write_json(args, [{"workers": c[0], "endpoints": c[1], "scattered": c[2], **results[c]} for c in CASES])


main_of(main)
