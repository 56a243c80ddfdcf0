#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What rest costs and saves: workers that spin, pause, sleep shortly, or sleep until an interrupt.

    tests/bench/idle.py --build BUILD

Over a TAP: the dataplane's CPU time without a request, and how long an answer of Weir's own (no route: 404) takes after a
pause of 3 to 20 ms on an open connection. What a way of rest adds to it is the difference to spinning; the kernel's share and
the client's are in both, and on a machine with other work the time that a tenth of the answers did not exceed says most; beside it stands what the machine itself needs to wake a thread (wake.c). Over memif, with weir-blast: requests a second
with as many connections in use as keep the worker busy, and busy cycles for each. The ways take turns, round by round.
"""
import json
import os
import pathlib
import statistics
import subprocess
import time

from bench import Bench, arguments, expect_clean, main_of, print_table, spread, write_json
from rig import WEIR4, Rig

WAYS = ("spin", "pause", "sleep", "interrupt")

# Prints the microseconds of each answer that followed a pause.
CLIENT = r"""
import json, random, socket, sys, time
n = int(sys.argv[2])
s = socket.create_connection((sys.argv[1], 80))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
random.seed(1)
out = []
for i in range(n):
    time.sleep(random.uniform(0.003, 0.02))
    start = time.perf_counter_ns()
    s.sendall(b'GET / HTTP/1.1\r\nHost: nobody.example.com\r\n\r\n')
    got = s.recv(4096)
    out.append((time.perf_counter_ns() - start) / 1e3)
    assert got.startswith(b'HTTP/1.1 404'), got
print(json.dumps(out))
"""


def cpu_seconds(pid, threads):
    """CPU time of the threads whose name has this text."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if threads in (task / "comm").read_text():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def over_tap(args, way):
    with Rig(args.build, idle=way, sanitizers=False, yaml_workers=f", idle_latency_us: {args.latency_us}") as rig:
        pid = rig.procs["dataplane"].pid
        time.sleep(0.5)  # the start's work
        start, cpu, worker = time.monotonic(), cpu_seconds(pid, ""), cpu_seconds(pid, "worker")
        time.sleep(args.seconds)
        took = time.monotonic() - start
        out = {"way": way, "process_share": (cpu_seconds(pid, "") - cpu) / took, "worker_share": (cpu_seconds(pid, "worker") - worker) / took}
        answers = rig.run(["taskset", "-c", str(os.cpu_count() - 1), "python3", "-c", CLIENT, WEIR4, args.answers]).stdout
        out["answers_us"] = json.loads(answers)
        out["wakes"] = {k: v for k, v in rig.metrics().items() if "_wakes_" in k or "_sleeps_" in k}
    return out


def alone(args):
    """What the machine itself needs: wake.c."""
    return json.loads(subprocess.run([pathlib.Path(args.build) / "tests/bench/bench_wake", str(args.answers)], check=True, capture_output=True).stdout)


def over_memif(args, way):
    with Bench(args.build, idle=way) as b:
        b.phase(f"connect n={args.active}")
        r = b.measure(f"load seconds={args.seconds} active={args.active} size=128")
        expect_clean(r, way)
    sleeps = sum(r["weir"]["counters"].get(k, 0) for k in ("worker_sleeps", "worker_wakes_port", "worker_wakes_call", "worker_wakes_timer"))
    return {"way": way, "rate": r["requests_per_second"], "sleeps_per_s": sleeps / args.seconds, "cycles": r["weir"]["cycles_per_request"], "report": r}


def quantile(values, q):
    return sorted(values)[min(int(len(values) * q), len(values) - 1)]


def tap_rows(rounds):
    def pairs(way, q):
        """Of each round, what the way adds to spinning there."""
        return [quantile(r[way]["answers_us"], q) - quantile(r["spin"]["answers_us"], q) for r in rounds]
    return [[way, spread([100 * r[way]["worker_share"] for r in rounds]), spread([100 * r[way]["process_share"] for r in rounds]),
             spread([quantile(r[way]["answers_us"], 0.1) for r in rounds]), spread([statistics.median(r[way]["answers_us"]) for r in rounds]), spread([quantile(r[way]["answers_us"], 0.99) for r in rounds]),
             spread(pairs(way, 0.1)), spread(pairs(way, 0.5)), spread(pairs(way, 0.99))] for way in rounds[0]]


def memif_rows(rounds):
    return [[way, spread([r[way]["rate"] for r in rounds], 0), spread([r[way]["rate"] / r["spin"]["rate"] for r in rounds], 3),
             spread([r[way]["cycles"] for r in rounds], 0), spread([r[way]["cycles"] / r["spin"]["cycles"] for r in rounds], 3),
             spread([r[way]["sleeps_per_s"] for r in rounds])] for way in rounds[0]]


def wake_rows(rounds):
    return [[name, *(spread([quantile(r[key], q) / 1e3 for r in rounds]) for q in (0.1, 0.5, 0.99))]
            for name, key in (("a thread in epoll_wait()", "wake"), ("a sleep of 50 us ends late by", "late"))]


PARTS = {
    "tap": (over_tap, tap_rows, ["worker, % of a core", "whole dataplane", "answer after a pause, us: 10 %", "median", "99 %", "more than spin: 10 %", "median", "99 %"]),
    "memif": (over_memif, memif_rows, ["requests/s", "ratio to spin", "busy cycles a request", "ratio to spin", "sleeps a second meanwhile"])}


def main():
    args = arguments(__doc__, rounds=(int, 5, "repetitions"), seconds=(float, 3.0, "of each measurement"), answers=(int, 500, "after a pause, each"),
                     active=(int, 256, "connections in use under load"), latency_us=(int, 50, "idle_latency_us, over TAP"), parts=(str, "tap,memif", "what is measured"), ways=(str, ",".join(WAYS), "what is compared, spin first"))
    ways, parts = args.ways.split(","), args.parts.split(",")
    got = {part: [] for part in parts}
    wakes = []
    for i in range(args.rounds):
        wakes.append(alone(args))
        turn = ways[i % len(ways):] + ways[:i % len(ways)]
        for part in parts:
            r = {way: PARTS[part][0](args, way) for way in turn}
            got[part].append({way: r[way] for way in ways})
    print_table(["the machine itself, us", "10 %", "median", "99 %"], wake_rows(wakes))
    for part in parts:
        print_table(["idle", *PARTS[part][2]], PARTS[part][1](got[part]))
    write_json(args, {"wakes": wakes, **got})


main_of(main)
