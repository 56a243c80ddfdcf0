#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A million idle connections on one worker: what each costs, and what they cost the others.

    tests/bench/million.py --build BUILD [--small]

weir-blast opens the connections over memif and holds them. Requests at a fixed
rate go over 1,000 of them, chosen at random, and over 1,000 connections where
there are no others, by turns. Also, for comparison, over all of them. Each is
measured several times: where others use the cores too, the least of the values
says most, since nothing makes a request faster than it is.
"""
import statistics

from bench import Bench, arguments, expect, expect_clean, main_of, print_table, spread, write_json

ACTIVE = 1000
UPSTREAMS = 8192
CLIENT_BYTES = 64 # struct client of proxy/: asserted where it is defined


def base_memory_kb(build):
    """Of a dataplane with the smallest tables."""
    with Bench(build, connections=64, pools={"upstream_connections": 16}, slots=64) as b:
        return b.memory_kb()


def load_once(b, n, active, rate, seconds):
    r = b.measure(f"load seconds={seconds} active={active} rate={rate}")
    expect_clean(r, f"requests beside {n} connections")
    expect(r["connections"] == n, f"{n - r['connections']} of {n} connections were lost")
    expect(r["requests_per_second"] > 0.8 * rate, f"{r['requests_per_second']} requests/s of {rate}: the rate is too high")
    return r


def load(b, n, active, args):
    return [load_once(b, n, active, args.rate, args.seconds) for _ in range(args.repeats)]


def one_round(b, n, args, result):
    r = b.phase(f"close n={ACTIVE}")
    r = b.phase(f"connect n={ACTIVE}")
    expect(r["connections"] == ACTIVE, f"{r['connections']} connections: {r['errors']}")
    result["few"] += load(b, ACTIVE, ACTIVE, args)
    before = b.memory_kb()
    r = b.measure(f"connect n={n}")
    expect_clean(r, "opening the connections")
    expect(r["connections"] == n, f"only {r['connections']} connections of {n}")
    result["opening"].append(r)
    r = b.phase("hold seconds=1")
    expect(r["lost"] == 0, f"{r['lost']} connections were lost while they were idle")
    result["memory"].append({"before_kb": before, "after_kb": b.memory_kb(),
                             "mbufs": b.weirctl("stats")["mbufs_used"]["sum"]})
    result["many"] += load(b, n, ACTIVE, args)
    result["all"] += load(b, n, n, args)


def show(n, base_kb, start_seconds, result):
    memory = result["memory"][0]
    total = (memory["after_kb"] - base_kb) * 1024 / n
    print(f"{n:,} idle connections on one worker")
    print(f"start of the dataplane: {start_seconds:.1f} s; opened {spread([r['opened_per_second'] for r in result['opening']], 0)} a second")
    print(f"memory of the dataplane: {memory['after_kb']:,} kB, {base_kb:,} kB without tables: {total:.0f} bytes a connection "
          f"({CLIENT_BYTES} in proxy/, {total - CLIENT_BYTES:.0f} in tcp/ with its table, 0 in packet buffers: "
          f"{memory['mbufs']} in use in all)\n")
    rows = []
    for key, words in (("few", f"{ACTIVE:,} of {ACTIVE:,}"), ("many", f"{ACTIVE:,} of {n:,}"), ("all", f"all of {n:,}")):
        r = result[key]
        rows.append([words, spread([x["requests_per_second"] for x in r], 0), spread([x["latency_us"]["p50"] for x in r]),
                     spread([x["latency_us"]["p99"] for x in r]), spread([x["weir"]["cycles_per_request"] for x in r], 0),
                     f"{statistics.median([x['weir']['busy_shares'][0] for x in r]):.2f}"])
    print_table(["requests over", "requests/s", "p50 us", "p99 us", "busy cycles a request", "worker busy"], rows)
    ratios = {}
    for what, fn in (("median", statistics.median), ("least", min)):
        for p in ("p50", "p99"):
            many, few = (fn([r["latency_us"][p] for r in result[k]]) for k in ("many", "few"))
            ratios[f"{what}_{p}"] = many / few
    print("1,000 of many against 1,000 alone: " + ", ".join(f"{k.replace('_', ' ')} {v:.2f}" for k, v in ratios.items()))
    return {"bytes_per_connection": total, **ratios}


def main():
    args = arguments(__doc__, connections=(int, 1000000, "connections"), rate=(int, 10000, "requests a second"),
                     seconds=(float, 1.0, "of each measurement"), repeats=(int, 6, "measurements, one after the other"),
                     rounds=(int, 2, "of opening and closing all"))
    if args.small:
        args.connections, args.rate, args.seconds, args.repeats, args.rounds = 10000, 1000, 0.5, 1, 1
    n = args.connections
    result = {"few": [], "many": [], "all": [], "opening": [], "memory": []}
    base_kb = base_memory_kb(args.build)
    # So many requests may be under way at once that a moment without the core is no refusal.
    with Bench(args.build, idle_us=args.idle_us, connections=n + UPSTREAMS, pools={"upstream_connections": UPSTREAMS, "requests": UPSTREAMS},
               limits={"endpoint_connections": UPSTREAMS, "endpoint_idle": UPSTREAMS}, slots=n + n // 16 + 64) as b:
        for _ in range(args.rounds):
            one_round(b, n, args, result)
        summary = show(n, base_kb, b.start_seconds, result)
    write_json(args, {"connections": n, **summary, **result})


main_of(main)
