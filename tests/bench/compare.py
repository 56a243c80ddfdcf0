#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The speed of Weir beside nginx, HAProxy and h2o: the same work, the same wire, one core for the proxy. Run by scripts/bench.

    tests/bench/compare.py --build BUILD [--quick] [--only SECTION[,SECTION]] [--rounds N]

Sections: limits (testpmd), memif (Weir alone, and the proof of the generator), veth
(all proxies, at their peaks), latency (all, at half of nginx's peak), wrk (all, with wrk
and an origin of the kernel), stages (cycles of a request by stage).

Each round measures every proxy once, one after the other, so what changes slowly
on the machine is the same for all; ratios are of pairs within a round. Nothing is left out: what failed or had errors
is in the result and makes the exit status 1. All that is started is bounded in time and ended by its pid.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import contest
import outcome
from bench import ORIGIN, ORIGIN_PORT, Failure, expect, frame_buffers
from contest import LOAD_CORE, MEMIF, NGINX, OVER_VETH, SLOTS, Contestant, contestant
from limits import limits

HERE = pathlib.Path(__file__).resolve().parent
SECTIONS = ("limits", "memif", "veth", "latency", "wrk", "stages")
VISIT_S = 100 # a visit that lasts longer is ended


class Shape:
    """What is asked for. kind: 'keep' (requests on connections that stay) or 'shots' (a connection for each)."""

    def __init__(self, name, words, kind, size, at_once, memif_at_once):
        self.name, self.words, self.kind, self.size = name, words, kind, size
        self.at_once, self.memif_at_once = at_once, memif_at_once

    def line(self, args, over_memif=False, rate=None):
        n = self.memif_at_once if over_memif else self.at_once
        pace = "" if rate is None else f" {'rate' if self.kind == 'keep' else 'new'}={rate:.0f}"
        load = f"load seconds={args.seconds} warmup={args.warmup} size={self.size}{pace}"
        if self.kind == "keep":
            return f"{load} active={n}"
        return f"{load} active=0" + ("" if pace else f" shots={n}")


KEEP_0 = Shape("keep-0", "keep-alive, 0 bytes", "keep", 0, 128, 256)
KEEP_128 = Shape("keep-128", "keep-alive, 128 bytes", "keep", 128, 128, 256)
SHOTS = Shape("shots", "one request per connection, 128 bytes", "shots", 128, 64, 256)
BODY_64K = Shape("body-64k", "keep-alive, 64 KiB", "keep", 65536, 16, 64)
BODY_1M = Shape("body-1m", "keep-alive, 1 MiB", "keep", 1 << 20, 16, 8)
SHAPES = (KEEP_0, KEEP_128, SHOTS, BODY_64K, BODY_1M)
BODIES = (BODY_64K, BODY_1M)


class Visit:
    """A limit of time around what one proxy does."""

    def __enter__(self):
        def late(*_):
            raise Failure(f"not done within {VISIT_S} s")
        signal.signal(signal.SIGALRM, late)
        signal.alarm(VISIT_S)

    def __exit__(self, *_):
        signal.alarm(0)


def row_of(section, shape, label, number, report):
    """A row of the result: the figures that the tables use, and the report they are from."""
    new = report.get("new", {})
    keep = shape.kind == "keep" or "wrk" in report
    rate = report.get("requests_per_second" if keep else "none", new.get("good_per_second", 0.0)) or 0.0
    latency = (report.get("latency_us") if keep else None) or new.get("latency_us") or {"n": 0}
    errors = dict(report["errors"])
    for k, v in new.get("errors", {}).items():
        errors[k] = max(errors.get(k, 0), v)
    return {"section": section, "shape": shape.name, "words": shape.words, "proxy": label, "round": number, "rate": rate,
            "gbit_per_second": rate * shape.size * 8e-9, "latency_us": latency if latency["n"] else None,
            "errors": errors, **report.get("cost", {}), "report": report}


def attempt(args, results, section, label, number, fn):
    """Runs a visit; what it raises is a row too."""
    began = time.monotonic()
    try:
        with Visit():
            fn()
    except (Failure, OSError, subprocess.SubprocessError, json.JSONDecodeError, KeyError) as e:
        results.append({"section": section, "proxy": label, "round": number, "failed": f"{type(e).__name__}: {e}"})
        print(f"FAIL  {section}, {label}: {e}", file=sys.stderr, flush=True)
    print(f"{section:8} round {number + 1}: {label} ({time.monotonic() - began:.1f} s)", file=sys.stderr, flush=True)


# -- sections

def back_to_back(args, shapes, mtu):
    """The generator alone: its clients on one end of a memif, its origin on the other, all in one process on one core."""
    with tempfile.TemporaryDirectory(prefix=f"weir-bench{os.getpid()}-") as d:
        more = frame_buffers(mtu)
        p = subprocess.run([f"{args.build}/tests/bench/blast/weir-blast", "--core", str(LOAD_CORE), "-o", "json", "--slots", str(SLOTS),
                            "--descriptors", "2048", "--mtu", str(mtu), "--idle-us", str(args.idle_us),
                            "--port", f"net_memif0,role=server,socket={d}/s,rsize=11{more}",
                            "--port", f"net_memif1,role=client,socket={d}/s,rsize=11{more}", "--target", f"{ORIGIN}:{ORIGIN_PORT}",
                            f"connect n={max(s.memif_at_once for s in shapes)}", *(s.line(args, over_memif=True) for s in shapes)],
                           capture_output=True, text=True, timeout=VISIT_S)
    expect(p.returncode == 0, f"weir-blast ended with {p.returncode}: {p.stderr[-500:]}")
    return [json.loads(line) for line in p.stdout.splitlines()[1:]]


# A window of what is under way to somebody so near is enough, and stays in the cache.
NEAR_BYTES = 131072


def memif_round(args, results, number):
    for mtu, shapes in ((1500, SHAPES), (9000, BODIES)):
        label = MEMIF if mtu == 1500 else f"{MEMIF}, MTU {mtu}"
        near = {}
        if mtu == 9000:
            near = {"zero_copy": True, "limits": {"receive_buffer_bytes": NEAR_BYTES}, "blast": ["--window", str(NEAR_BYTES)]}

        def generator():
            for shape, r in zip(shapes, back_to_back(args, shapes, mtu)):
                row = row_of("generator", shape, label, number, r)
                row["responses_per_used_second"] = r["responses"] / max(r["cpu_seconds"], 1e-9)
                results.append(row)

        def weir():
            with Contestant(args.build, idle_us=args.idle_us, mtu=mtu, **near) as b:
                b.phase(f"connect n={max(s.memif_at_once for s in shapes)}")
                results.extend(row_of("memif", s, label, number, b.cost(s.line(args, over_memif=True))) for s in shapes)

        attempt(args, results, "memif", "weir-blast alone" + ("" if mtu == 1500 else f", MTU {mtu}"), number, generator)
        attempt(args, results, "memif", label, number, weir)


def veth_round(args, results, number, labels=OVER_VETH, shapes=SHAPES):
    for label in labels:
        def visit():
            with contestant(args.build, label, idle_us=args.idle_us) as b:
                r = b.phase(f"connect n={max(s.at_once for s in shapes)}")
                expect(not r["errors"], f"connections: {r['errors']}")
                for s in shapes:
                    results.append(row_of("veth", s, label, number, b.cost(s.line(args))))
        attempt(args, results, "veth", label, number, visit)


def wrk_round(args, results, number):
    for label in OVER_VETH:
        def visit():
            with contestant(args.build, label, idle_us=args.idle_us, load="wrk") as b:
                for s in (KEEP_128, SHOTS):
                    results.append(row_of("wrk", s, label, number, b.wrk(args.seconds, s.at_once, s.kind == "shots")))
        attempt(args, results, "wrk", label, number, visit)


def latency_rates(args, results):
    """{shape: half of nginx's peak}, measured now if it was not before."""
    if not any(r["section"] == "veth" and r["proxy"] == NGINX and "rate" in r for r in results):
        veth_round(args, results, 0, (NGINX,), (KEEP_128, SHOTS))
    peaks = {s: outcome.median_of(results, "veth", s.name, NGINX, "rate") for s in (KEEP_128, SHOTS)}
    return {s: max(peak / 2, 1) for s, peak in peaks.items() if peak is not None}


def latency_round(args, results, number, rates):
    for label in OVER_VETH:
        def visit():
            with contestant(args.build, label, idle_us=args.idle_us) as b:
                b.phase(f"connect n={KEEP_128.at_once}")
                for s, rate in rates.items():
                    results.append(row_of("latency", s, label, number, b.cost(s.line(args, rate=rate))) | {"rate_wanted": rate})
        attempt(args, results, "latency", label, number, visit)


def has_stage_timers(build):
    p = subprocess.run([f"{build}/dataplane/weir-dataplane", "--print-reference"], capture_output=True, text=True, timeout=30)
    return "stage_timers" in p.stdout


def stages_round(args, results, number):
    def visit():
        with Contestant(args.build, idle_us=args.idle_us, stage_timers=True) as b:
            b.phase(f"connect n={KEEP_128.memif_at_once}")
            for s in (KEEP_128, SHOTS, BODY_64K):
                results.append(row_of("stages", s, MEMIF, number, b.cost(s.line(args, over_memif=True))))
    attempt(args, results, "stages", MEMIF, number, visit)


def run_sections(args, results):
    n = range(args.rounds)
    if "limits" in args.only:
        results.extend({"section": "limits", "proxy": r["port"], **r} for r in limits(args.build, args.seconds))
        print("limits   done", file=sys.stderr, flush=True)
    for i in n: # all sections that compare, in turn
        for name, fn in (("memif", memif_round), ("veth", veth_round), ("wrk", wrk_round)):
            if name in args.only:
                fn(args, results, i)
        if "stages" in args.only and has_stage_timers(args.build):
            stages_round(args, results, i)
    if "latency" in args.only:
        rates = latency_rates(args, results)
        for i in n:
            latency_round(args, results, i, rates)


# -- what it was measured on

def output_of(*argv):
    try:
        p = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (p.stdout + p.stderr).strip()


def version_in(text):
    m = re.search(r"\d+\.\d+[\w.+-]*", text)
    return m.group(0) if m else "not there"


def shown_arguments(argv):
    """What was asked for, without the places of this machine."""
    out, skips = [], False
    for a in argv:
        skips = skips or a in ("--build", "--out", "--json")
        if not skips:
            out.append(a)
        elif a not in ("--build", "--out", "--json"):
            skips = False
        if a == "--json":
            out += [a, "FILE"]
    return out


def describe(args):
    cpu = next((line.partition(":")[2].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), "?")
    system = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return {"command": " ".join(["scripts/bench", *args.shown]), "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "cpu": cpu, "cores": os.cpu_count(), "kernel": os.uname().release, "system": system.get("PRETTY_NAME", "?").strip('"'),
            "rounds": args.rounds, "seconds": args.seconds,
            "versions": {"Weir": output_of("git", "-C", HERE, "describe", "--always", "--dirty") or "not from git",
                         **{name: version_in(output_of(*argv)) for name, argv in (
                             ("DPDK", ("pkg-config", "--modversion", "libdpdk")), ("nginx", ("nginx", "-v")), ("HAProxy", ("haproxy", "-v")),
                             ("h2o", ("h2o", "--version")), ("wrk", ("wrk", "-v")))}}}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, help="a build folder, of --buildtype=release for figures")
    parser.add_argument("--quick", action="store_true", help="less than five minutes: fewer and shorter rounds")
    parser.add_argument("--small", action="store_true", help="whether it works, not how fast: one round of fractions of a second")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas between them")
    parser.add_argument("--rounds", type=int, help="of each section (5; quick: 2)")
    parser.add_argument("--seconds", type=float, help="of each measurement (2; quick: 0.5)")
    parser.add_argument("--idle-us", type=int, default=0, help="pollers sleep so long without work: on cores that are not ours alone (0: poll)")
    parser.add_argument("--xdp", default="", help="more arguments of all af_xdp ports, such as busy_budget=0")
    parser.add_argument("--json", help="write the result to this file")
    parser.add_argument("--out", help="write compare.md, compare.json and the plots to this folder")
    args = parser.parse_args()
    args.shown = shown_arguments(sys.argv[1:])
    args.rounds = args.rounds or (1 if args.small else 2 if args.quick else 5)
    args.seconds = args.seconds or (0.2 if args.small else 0.5 if args.quick else 2.0)
    args.warmup = min(args.seconds / 2, 0.5)
    if args.small:
        args.idle_us = 50
    args.only = args.only.split(",")
    unknown = set(args.only) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return args


def main():
    args = parse_arguments()
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda n, _: sys.exit(128 + n)) # leaves the with-blocks
    signal.signal(signal.SIGINT, signal.default_int_handler) # so does this, even if the shell had it ignored
    contest.more_xdp = f",{args.xdp}" if args.xdp else ""
    os.sched_setaffinity(0, {LOAD_CORE}) # this program, and what it starts unless it says otherwise, keeps off the proxy's core
    began, results = time.monotonic(), []
    try:
        run_sections(args, results)
    except KeyboardInterrupt:
        print("interrupted; all that was started has been ended", file=sys.stderr)
        return 130
    about = describe(args) | {"took_seconds": round(time.monotonic() - began)}
    return outcome.publish(args, about, results)


if __name__ == "__main__":
    sys.exit(main())
