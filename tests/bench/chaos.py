#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Not one wrong, missing or reordered byte, whatever the origin does.

    tests/bench/chaos.py --build BUILD [--requests N] [--small]

weir-blast's origin closes, resets, refuses, stalls, cuts and dribbles at random
(tests/bench/blast/plan.h), for one request in twelve, and its client knows of each
request what the origin did to it, so which outcome is right (chaos.h). Sizes are
mixed, 0 to 1 MiB both ways; three in ten requests are a POST. Then Weir's own
counters have to add up with what both ends saw, reason by reason.
"""
from bench import Bench, arguments, expect, expect_clean, main_of, print_table, write_json

ORIGINS = 4
# Reasons for a request to fail, and whatever else the origin's faults explain.
FAILURES = ("req_upstream_refused", "req_upstream_closed", "req_upstream_bad", "req_upstream_truncated", "req_response_timeout")
EXPLAINED = FAILURES + (
    "close_normal", "close_reset_by_peer", "close_refused", "close_aborted", "close_data_after_close", "tcp_no_connection",
    "tcp_no_connection_rate", "tcp_time_wait", "tcp_out_of_window", "tcp_refused",
    "tcp_syn_received", "tcp_paws", "tx_full") # what is late, and comes again, where somebody else has the core


def check_counters(r, counters, drops):
    """What Weir counted against what the two ends saw."""
    f = r["faults"]
    failed = f["status_502"] + f["status_504"] + f["cuts"]
    asked = r["responses"] + failed
    sums = {
        "requests": (counters["http_requests"], asked),
        "answers of 5xx": (counters.get("http_responses_5xx", 0), f["status_502"] + f["status_504"]),
        "failures by reason": (sum(drops.get(k, 0) for k in FAILURES), failed),
        "retries, at least those that the origin saw": (min(counters.get("upstream_retries", 0), f["seen_again"]), f["seen_again"]),
        "refused connections": (drops.get("close_refused", 0), f["refused_connections"]),
        "requests at the origin": (r["requests_at_origin"], asked - f["unseen"] + f["seen_again"]),
        "requests that the origin never saw, at most those refused": (max(f["unseen"], drops.get("req_upstream_refused", 0)),
                                                                      drops.get("req_upstream_refused", 0)),
    }
    wrong = {k: v for k, v in sums.items() if v[0] != v[1]}
    expect(not wrong, f"Weir's counters against what both ends saw: {wrong}")
    others = {k: v for k, v in drops.items() if v and k not in EXPLAINED}
    expect(not others, f"reasons that nothing explains: {others}")


def run(args, workers, requests):
    line = f"load seconds={args.seconds} warmup=0 active={args.active} requests={requests} faults={args.faults} posts=0.3 seed={args.seed + workers} stall={3 * args.patience}"
    timeouts = {"response_ms": args.patience * 1000, "body_ms": args.patience * 1000, "connect_ms": args.patience * 2000}
    with Bench(args.build, workers=range(workers), origins=ORIGINS, idle_us=args.idle_us, timeouts=timeouts, slots=1 << 17,
               blast=["--drop", str(args.drop)]) as b:
        b.phase(f"connect n={args.active}")
        r = b.measure(line)
        drops = {d["reason"]: d["count"] for d in b.weirctl("drops")}
        print(f"{workers} worker(s): {r['responses']:,} answers, {r['body_gbit_per_second']} Gbit/s; {r['faults']}; Weir: "
              f"{ {k: v for k, v in drops.items() if v} }", flush=True)
        log = b.log("blast")
        expect(not r["errors"], f"errors: {r['errors']}\n{log[-3000:]}")
        check_counters(r, b.weirctl_sums(), drops)
        gauges = b.weirctl_sums()
        r["left"] = {k: gauges[k] for k in ("http_requests_active", "mbufs_used", "tcp_connections")}
        expect(gauges["http_requests_active"] == 0, f"requests in hand at the end: {gauges['http_requests_active']}")
    r["workers"], r["drops"] = workers, drops
    return r


def main():
    args = arguments(__doc__, requests=(int, 10_000_000, "requests in all, half of them with one worker, half with two"),
                     active=(int, 512, "connections in use"), drop=(int, 0, "frames lost of a million"), seed=(int, 0, "of what happens to which request"), patience=(int, 20, "seconds that Weir waits for an origin; more where others use the cores too"), faults=(float, 0.08, "share of requests that meet a fault"),
                     seconds=(float, 7200, "at most, of each run"))
    if args.small:
        args.requests, args.active, args.patience = 20000, 64, 4
    results = [run(args, n, args.requests // 2) for n in (1, 2)]
    kinds = list(results[0]["faults"]["fired"])
    print_table(["fault", "1 worker", "2 workers"], [[k, *(f"{r['faults']['fired'][k]:,}" for r in results)] for k in kinds])
    print_table(["workers", "requests", "right answers", "502", "504", "cut", "seen again", "POST", "wrong"],
                [[r["workers"], f"{r['weir']['counters']['http_requests']:,}", f"{r['responses']:,}", r["faults"]["status_502"],
                  r["faults"]["status_504"], r["faults"]["cuts"], r["faults"]["seen_again"], r["faults"]["posts"], 0] for r in results])
    write_json(args, results)


main_of(main)
