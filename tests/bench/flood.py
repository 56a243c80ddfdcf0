#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A SYN flood at the highest rate that the port takes, from random sources.

    tests/bench/flood.py --build BUILD [--small]

Requests at a fixed rate go over 1,000 established connections, and new good
connections are opened beside them, one request each: without the flood and with it,
by turns. Then the same in a closed loop, where the worker has no time left: there the
flood takes its share of it.
"""
import statistics

from bench import Bench, arguments, expect, expect_clean, main_of, print_table, spread, write_json

CONNECTIONS = 1000


def counters(b):
    """What the dataplane counts of SYNs and cookies: {name: value}."""
    stats = {k: v["sum"] for k, v in b.weirctl("stats").items()}
    drops = {d["reason"]: d["count"] for d in b.weirctl("drops")}
    return {k: v for k, v in {**stats, **drops}.items() if "syn" in k or "cookie" in k or k == "tcp_accepted"}


def has_cookies(b):
    return any("cookie" in k for k in b.weirctl("stats"))


def load(b, line, what):
    before = counters(b)
    r = b.measure("load " + line)
    after = counters(b)
    r["counted"] = {k: after[k] - before.get(k, 0) for k in after if after[k] != before.get(k, 0)}
    errors = {k: v for k, v in r["errors"].items() if k not in r.get("new", {}).get("errors", {})} # of the established ones
    expect(not errors, f"{what}: {errors}")
    expect(r["connections"] == CONNECTIONS, f"{what}: {CONNECTIONS - r['connections']} established connections were lost")
    return r


def show(title, quiet, flooded, rate_key="requests_per_second"):
    rows = []
    for words, rs in (("without", quiet), ("with the flood", flooded)):
        new = [r["new"] for r in rs if "new" in r]
        rows.append([words, spread([r.get("flood_per_second", 0) for r in rs], 0), spread([r[rate_key] for r in rs], 0),
                     spread([r["latency_us"]["p99"] for r in rs]), f"{sum(n['good'] for n in new)} of {sum(n['begun'] for n in new)}",
                     spread([n["latency_us"]["p99"] for n in new]), f"{statistics.median([r['weir']['busy_shares'][0] for r in rs]):.2f}"])
    print(title)
    print_table(["", "SYNs/s", "requests/s", "p99 us", "new connections that succeeded", "their p99 us", "worker busy"], rows)
    ratios = [f[rate_key] / q[rate_key] for q, f in zip(quiet, flooded)]
    print(f"throughput of established connections with the flood: {spread(ratios, 3)} of that without")
    total = {}
    for r in flooded:
        for k, v in r["counted"].items():
            total[k] = total.get(k, 0) + v
    print("counted with the flood: " + ", ".join(f"{k} {v:,}" for k, v in sorted(total.items())) + "\n", flush=True)
    return {"ratio": ratios, "counted": total}


def main():
    args = arguments(__doc__, rate=(int, 20000, "requests a second"), new=(int, 500, "new connections a second"),
                     seconds=(float, 3.0, "of each measurement"), rounds=(int, 3, "repetitions"),
                     flood=(str, "max", "SYNs a second, or max"), timeout=(float, 5.0, "seconds that a new connection has"))
    if args.small:
        args.rate, args.new, args.seconds, args.rounds, args.timeout = 500, 50, 0.5, 1, 60.0
    result = {}
    with Bench(args.build, idle_us=args.idle_us, connections=65536, slots=1 << 18) as b:
        cookies = has_cookies(b)
        r = b.phase(f"connect n={CONNECTIONS}")
        expect(r["connections"] == CONNECTIONS, f"only {r['connections']} connections: {r['errors']}")
        for name, more in (("open", f"rate={args.rate} new={args.new}"), ("closed", f"new={args.new}")):
            quiet, flooded = [], []
            for _ in range(args.rounds):
                line = f"seconds={args.seconds} active={CONNECTIONS} timeout={args.timeout} {more}"
                quiet.append(load(b, line, "without a flood"))
                flooded.append(load(b, line + f" flood={args.flood}", "with the flood"))
                if cookies: # else a new connection gets in by luck only, and for a minute after the flood too
                    expect_clean(quiet[-1], "without a flood")
                    expect(not flooded[-1]["new"]["failed"], f"new connections failed: {flooded[-1]['new']['errors']}")
            title = {"open": f"{args.rate:,} requests a second wanted", "closed": "closed loop: as many as there is time for, so the flood takes its share"}[name]
            result[name] = {"quiet": quiet, "flooded": flooded, **show(title, quiet, flooded)}
    write_json(args, result)


main_of(main)
