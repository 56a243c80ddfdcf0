#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One worker and two, one endpoint and two: what a request costs in each case.

    tests/bench/workers.py --build BUILD [--small]

With two cores for two workers and the generator, throughput says nothing of
scaling: the generator sits on the second worker's core. So what is compared is
cost: busy cycles of the first worker, which has core 0 to itself, for each request:
of its own count, since its CPU time holds what the kernel does for its sleeps as well.

A worker's cost depends on its batches and on how often it rests, not only on what
it shares. So both sides of the comparison run in the same process, in turn, with
two workers, and the first one's load is the same: its rate, and its bursts. In
one, all clients are its own ("one loaded": the other one looks for work and finds
none), in the other as many again are the other's. The table shows packets a busy
loop: they have to be alike. Closed loops are not fair: with both loaded the
generator has less of its core, and a worker that gets less to do is dearer for each
request. Nor is polling on the shared core: it hands out slices of milliseconds, and
what comes is what the last slice left. So all sleep for --idle-us (20) when idle.

A connection's frames come to its owner's queue from the first one on, as with
RSS, and the bench makes sure that none is redirected; "scattered": each comes to any
queue, and half are redirected.
"""
import statistics

from bench import Bench, arguments, expect, expect_clean, main_of, print_table, spread, write_json

ALONE, ONE, BOTH, SCATTERED = "one", "two, one loaded", "two, both loaded", "two, scattered"
NAMES = (ALONE, ONE, BOTH, SCATTERED)
UNITS = {"keep": "http_requests", "shots": "tcp_accepted"}
OF_FIRST = (*UNITS.values(), "rx_packets", "worker_busy_loops", "worker_busy_cycles")
REDIRECTED_AT_MOST = 0.001
SLOTS = 1 << 17 # of each worker: an address and port comes again after so many connections


def cost(r, kind):
    """Busy cycles of the first worker for each request or connection."""
    return r["first"]["worker_busy_cycles"] / max(r["first"][UNITS[kind]], 1)


def batch(r):
    """Packets of an iteration of the first worker that found work."""
    return r["first"]["rx_packets"] / max(r["first"]["worker_busy_loops"], 1)


def redirected(r):
    return r["weir"]["counters"].get("steered_out_packets", 0) / r["weir"]["counters"]["rx_packets"]


def share_of_first(r, kind):
    return r["first"][UNITS[kind]] / max(r["weir"]["counters"][UNITS[kind]], 1)


def measure(b, line):
    before = b.weirctl("stats")
    r = b.measure(line)
    after = b.weirctl("stats")
    expect_clean(r, line)
    r["first"] = {k: after[k]["workers"][0] - before[k]["workers"][0] for k in OF_FIRST}
    return r


def expect_place(name, r, kind):
    """The load was where the case wants it."""
    if name == SCATTERED:
        expect(0.3 < redirected(r) < 0.7, f"{name}: {redirected(r):.3f} of the packets were redirected")
    else:
        expect(redirected(r) <= REDIRECTED_AT_MOST, f"{name}: {redirected(r):.5f} of the packets were redirected")
    low, high = (0.05, 0.95) if name in (BOTH, SCATTERED) else (1, 1)
    share = share_of_first(r, kind)
    expect(low <= share <= high, f"{name}: {share:.3f} of the load was the first worker's")


def run_case(args, b, name):
    loaded = 2 if name in (BOTH, SCATTERED) else 1
    n = args.active * loaded
    owner = " owner=0" if name == ONE else ""
    load = f"load seconds={args.seconds} warmup={args.seconds / 3:.3f} scatter={int(name == SCATTERED)}"
    burst = f"burst={args.burst * loaded}"
    r = b.phase(f"connect n={n}{owner}")
    expect(r["connections"] == n, f"only {r['connections']} of {n} connections: {r['errors']}")
    out = {"keep": measure(b, f"{load} active={n} rate={args.rate * loaded} {burst}"), "shots": measure(b, f"{load} active=0 new={args.new * loaded} {burst}{owner}")}
    expect(out["shots"]["new"]["failed"] == 0, f"new connections failed: {out['shots']['new']['errors']}")
    for kind in UNITS:
        expect_place(name, out[kind], kind)
    r = b.phase("close n=0")
    expect(r["connections"] == 0, "connections are left")
    return out


def run_start(args, results, endpoints, workers):
    with Bench(args.build, idle_us=args.idle_us, workers=range(workers), origins=endpoints, slots=SLOTS * workers,
               blast=["--steered"]) as b:
        for _ in range(args.rounds):
            for name in NAMES:
                if (name == ALONE) == (workers == 1):
                    results[name, endpoints].append(run_case(args, b, name))


def show(results):
    for kind, unit in (("keep", "request"), ("shots", "connection of one request")):
        rows = []
        for case in results:
            of_kind = [r[kind] for r in results[case]]
            rate = [r["requests_per_second"] if kind == "keep" else r["new"]["good_per_second"] for r in of_kind]
            rows.append([*case, spread([cost(r, kind) for r in of_kind], 0), spread([batch(r) for r in of_kind], 1),
                         f"{statistics.median([redirected(r) for r in of_kind]):.3f}",
                         f"{statistics.median([share_of_first(r, kind) for r in of_kind]):.2f}", spread(rate, 0)])
        print_table(["workers", "endpoints", f"worker 0: busy cycles a {unit}", "packets a busy loop", "redirected",
                     "share of worker 0", "a second (shared cores)"], rows)


def ratio(results, kind, a, b, scale):
    """Of the costs in two cases: of pairs measured one after the other, and of the least values, since what disturbs only makes dearer."""
    of_a, of_b = ([cost(r[kind], kind) for r in results[c]] for c in (a, b))
    pairs = statistics.quantiles([scale * x / y for x, y in zip(of_a, of_b)] * 2, n=4)
    return f"{pairs[1]:.2f} (quartiles {pairs[0]:.2f} - {pairs[2]:.2f}) by pairs, {scale * min(of_a) / min(of_b):.2f} by the least"


def show_ratios(results):
    for endpoints in (1, 2):
        for name in (BOTH, SCATTERED):
            for kind, words in (("keep", "requests"), ("shots", "connections of one request")):
                print(f"{words}: {name} carry of what one does ({endpoints} endpoint{'s' * (endpoints > 1)}): "
                      f"{ratio(results, kind, (ONE, endpoints), (name, endpoints), 2)}")
    for name in (ALONE, BOTH):
        print(f"cycles of a request with one endpoint, of those with two ({name}): {ratio(results, 'keep', (name, 1), (name, 2), 1)}")


def main():
    args = arguments(__doc__, active=(int, 128, "connections in use, of each worker that is loaded"),
                     seconds=(float, 0.3, "of each measurement"), starts=(int, 2, "times that all is started"),
                     rounds=(int, 8, "repetitions after each start"),
                     rate=(int, 40000, "requests a second of each worker that is loaded"),
                     new=(int, 12000, "new connections a second of each worker that is loaded"),
                     burst=(int, 64, "requests, or new connections, of a worker at a time"))
    args.idle_us = args.idle_us or 20
    if args.small:
        args.seconds, args.starts, args.rounds, args.rate, args.new = 0.5, 1, 1, 3000, 1000
    results = {(name, endpoints): [] for endpoints in (1, 2) for name in NAMES}
    for _ in range(args.starts):
        for endpoints in (1, 2):
            for workers in (1, 2):
                run_start(args, results, endpoints, workers)
    show(results)
    show_ratios(results)
    write_json(args, [{"workers": c[0], "endpoints": c[1], "rounds": results[c]} for c in results])


main_of(main)
