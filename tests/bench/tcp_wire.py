#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Weir's TCP as a sender against Linux's, through one impaired wire, to the kernel's TCP as the receiver. As root.

    tests/bench/tcp_wire.py --build BUILD              tables of throughput and fairness, about 6 minutes
    tests/bench/tcp_wire.py --build BUILD --quick      does it all work: less than a minute, no figures to go by
    tests/bench/tcp_wire.py --build BUILD --instead kernel     the rig against itself: nginx as the proxy; ratios of about 1

Throughput: for each loss (each way) and round-trip time, some connections to Weir and as many to Linux download at the
same time through a wire without a bottleneck, so that they do not touch each other. A repetition has another seed. The figure
is the mean of the connections, each from its first byte, then the median of the repetitions. Connection i of either sender
begins at the same time and loses its packets of the same numbers, so they are pairs: the ratio is that of all their sums, and
its "+-" one standard error (jackknife over the pairs), far less than the scatter of the connections.

Retransmissions are what the wire saw. Spurious: what was sent again had not been lost. Stalls: silences with data in
flight longer than RTT + 150 ms, so retransmission timeouts, in one minute of a connection.

The exit status is 1 only if something did not work (wrong bytes, a connection that ended); what the ratios are is printed.
"""
import argparse
import json
import math
import os
import pathlib
import platform
import signal
import statistics
import sys

from wire_rig import FAR, MBUFS, RECEIVE_BUFFER, SEND_BUFFER, SYSCTLS, Failure, WireRig

GOAL_RATIO, GOAL_SHARE = 0.95, (0.40, 0.60)
# Of the ACKs, as other traffic would make it: without any, which flow loses depends on microseconds; as much as between two
# ACKs, and they come in clumps, which a sender that paces smooths and another passes on to the queue.
FAIR_JITTER_US = 250
MSS = 1448
RARE = 0.005  # a loss below this needs more time for as many losses
PEAK_MS = 250  # apart: the slow starts of connections that lose so rarely, or together they ask too much of this machine


def expected_mbit(loss, rtt_ms):
    """Of one connection: the square-root law (Mathis et al. 1997); enough to choose how many of them there are."""
    return MSS * 8 * 1.22 / math.sqrt(max(loss, 1e-4)) / (rtt_ms * 1000)


def n_flows(loss, rtt_ms, total_mbit):
    return max(1, min(32, round(total_mbit / expected_mbit(loss, rtt_ms))))


def read_file(path):
    return pathlib.Path(path).read_text().strip()


def print_configuration(args):
    print(f"kernel {platform.release()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"Linux: {args.linux_cc} of {read_file('/proc/sys/net/ipv4/tcp_available_congestion_control')}; "
          "nginx with sendfile; offloads off")
    print("every namespace: " + ", ".join(f"{k.split('.')[-1]}={v}" for k, v in SYSCTLS.items() if "tcp" in k))
    if args.instead:
        print("in Weir's place: nginx as a proxy, on the kernel's TCP")
    else:
        print(f"Weir: one worker, af_packet, send_buffer_bytes {SEND_BUFFER}, receive_buffer_bytes {RECEIVE_BUFFER}, mbufs {MBUFS}"
              + (f", {args.extra!r}" if args.extra else ""))
    print(f"wire and Weir run with {'SCHED_FIFO' if not args.no_realtime else 'the usual scheduling'}", flush=True)


class Problems:
    def __init__(self):
        self.failures, self.doubts = [], []

    def look_at(self, what, flows, wire, rig, delay_us):
        for f in flows:
            if f["error"]:
                self.failures.append(f"{what}: {f['sender']} (client port {f['local_port']}): {f['error']}")
        asleep_s = max(f["asleep_s"] for f in flows)
        if asleep_s > 0.5:
            self.doubts.append(f"{what}: the receiver could not run for {asleep_s:.1f} s")
        lost = wire["socket_drops"] + wire["send_errors"] + wire["too_long"] + wire["up"]["no_frame"] + wire["down"]["no_frame"]
        if lost:
            self.doubts.append(f"{what}: the wire lost {lost} frames that it should not have")
        if rig.kernel_drops():
            self.doubts.append(f"{what}: the kernel dropped {rig.kernel_drops()} packets between the namespaces")
            rig.softnet0 += rig.kernel_drops()
        for way in ("up", "down"):
            if wire[way]["late_mean_us"] > 0.05 * delay_us:
                self.doubts.append(f"{what}: frames {way} were {wire[way]['late_mean_us']} us late in the mean, "
                                   f"{wire[way]['late_max_us']} us at most")


# -- throughput

class Side:
    """One sender's figures in a cell of the table."""

    def __init__(self):
        self.flows, self.means = [], []  # Mbit/s
        self.seconds = 0
        self.data = self.retransmits = self.spurious = self.stalls = 0

    def add(self, flows, wire_flows):
        mbit = [0 if f["error"] else f["bytes"] * 8e-6 / f["seconds"] for f in flows]
        self.flows += mbit
        self.means.append(statistics.mean(mbit))
        self.seconds += sum(f["seconds"] for f in flows)
        for w in wire_flows:
            self.data += w["data_packets"]
            self.retransmits += w["retransmits"]
            self.spurious += w["spurious"]
            self.stalls += w["stalls"]

    def median(self):
        return statistics.median(self.means)

    def text(self):
        return f"{self.median():6.2f} ({min(self.means):.2f}-{max(self.means):.2f})"

    def recovery(self):
        share = 100 / max(1, self.data)
        return f"{self.retransmits * share:5.2f} {self.spurious * share:5.2f} {60 * self.stalls / max(1e-9, self.seconds):5.1f}"


def paired_ratio(a, b):
    """(sum of a / sum of b, its standard error), by the jackknife: Weir's flows and Linux's are pairs."""
    n, sum_a, sum_b = len(a), sum(a), sum(b)
    if n < 2 or min(sum_b - v for v in b) <= 0:
        return (sum_a / sum_b if sum_b else float("nan")), float("nan")
    without = [(sum_a - x) / (sum_b - y) for x, y in zip(a, b)]
    mean = statistics.mean(without)
    return sum_a / sum_b, math.sqrt((n - 1) / n * sum((w - mean) ** 2 for w in without))


def wire_options(rtt_ms, **lane):
    options = ["--delay-us", rtt_ms * 500]
    for key, value in lane.items():
        options += [f"--{key.replace('_', '-')}", value]
    return [str(o) for o in options]


def run_cell(rig, args, loss, rtt_ms, seconds, seed, n, sides, problems):
    what = f"loss {loss:.1%} RTT {rtt_ms} ms seed {seed}"
    options = wire_options(rtt_ms, loss_ppm=round(loss * 1e6), seed=seed) + args.wire.split()
    if args.trace:
        options += ["--trace", f"{args.trace}-{loss * 100:g}-{rtt_ms}-{seed}"]
    for turn in ([["weir"], ["linux"]] if args.in_turn else [["weir", "linux"]]):
        rig.start_wire(*options)
        apart_ms = PEAK_MS if loss < RARE else rtt_ms / n
        flows = rig.download([(sender, round(i * apart_ms)) for i in range(n) for sender in turn], seconds)
        wire = rig.stop_wire()
        for sender in turn:
            sides[sender].add([f for f in flows if f["sender"] == sender], [f for f in wire["flows"] if f["far"] == FAR[sender]])
        problems.look_at(what, flows, wire, rig, rtt_ms * 500)
        if args.verbose:
            late = {way: (wire[way]["late_mean_us"], wire[way]["late_max_us"]) for way in ("up", "down")}
            print(f"# {what}: wire busy {wire['cpu_ms'] / wire['elapsed_ms']:.0%}, late (mean, max us) {late}", flush=True)


def throughput(rig, args, problems, out):
    print(f"\nThroughput of each of n connections of a sender in Mbit/s, median (least-most) of {args.repetitions} repetitions of s "
          f"seconds{', senders in turn' if args.in_turn else ', both senders at once'}")
    print(f"{'':39}|{'':22}|{'':22}|{'':21}| sent again %, spurious %, stalls/min")
    print(f"{'loss (each way)  RTT':>20} {'n':>4} {'s':>4} {'pairs':>7} | {'Weir':>20} | {'Linux':>20} | {'ratio':^19} | {'Weir':^18} | {'Linux':^18}")
    for rtt_ms in args.rtt_ms:
        for loss in args.loss:
            n = args.flows or n_flows(loss, rtt_ms, args.total_mbit)
            seconds = args.seconds * (2 if loss < RARE else 1)
            sides = {"weir": Side(), "linux": Side()}
            for rep in range(args.repetitions):
                run_cell(rig, args, loss, rtt_ms, seconds, args.seed + rep, n, sides, problems)
            weir, linux = sides["weir"], sides["linux"]
            ratio, error = paired_ratio(weir.flows, linux.flows)
            below = "" if ratio >= GOAL_RATIO else f"< {GOAL_RATIO}"
            print(f"{loss:13.1%} {rtt_ms:3} ms {n:4} {seconds:4g} {len(weir.flows):7} | {weir.text():>20} | {linux.text():>20} | "
                  f"{ratio:4.2f} +-{error:.3f} {below:6} | {weir.recovery()} | {linux.recovery()}", flush=True)
            out.append({"loss": loss, "rtt_ms": rtt_ms, "flows": n, "ratio": ratio, "error": error, **{
                k: {"median": s.median(), "means": s.means, "flows": s.flows, "data": s.data, "retransmits": s.retransmits,
                    "spurious": s.spurious, "stalls": s.stalls, "seconds": s.seconds} for k, s in sides.items()}})


# -- fairness

def jain(values):
    return sum(values) ** 2 / (len(values) * sum(v * v for v in values)) if any(values) else 0.0


def common_rates(flows, interval_ms, skip_s):
    """Mbit/s of each flow over the time that all of them ran, but for the first skip_s seconds of it."""
    lo = max(f["first_s"] + skip_s for f in flows)
    hi = min(f["first_s"] + f["seconds"] for f in flows)
    a, b = (round(t * 1000 / interval_ms) for t in (lo, hi))
    return [(f["series"][min(b, len(f["series"]) - 1)] - f["series"][a]) * 8e-3 / ((b - a) * interval_ms) for f in flows]


def fairness_run(rig, args, pair, seed, problems):
    queue = round(args.fair_mbit * 125 * args.fair_rtt_ms)  # one bandwidth-delay product
    options = wire_options(args.fair_rtt_ms, seed=seed, rate_kbit=round(args.fair_mbit * 1000), queue_bytes=queue)
    options += ["--up", "--jitter-us", str(FAIR_JITTER_US)]
    if args.trace:
        options += ["--trace", f"{args.trace}-fair-{'-'.join(pair)}-{seed}"]
    rig.start_wire(*options)
    flows = rig.download([(pair[0], 0), (pair[1], round(args.lead_s * 1000))], args.fair_seconds + args.skip_s)
    wire = rig.stop_wire()
    problems.look_at(f"fairness {' and '.join(pair)}", flows, wire, rig, args.fair_rtt_ms * 500)
    if any(f["error"] for f in flows):
        return None
    return common_rates(flows, 100, args.skip_s), wire


def fairness(rig, args, problems, out):
    print(f"\nFairness: two connections, {args.fair_mbit:g} Mbit/s, RTT {args.fair_rtt_ms} ms, queue of one bandwidth-delay product "
          f"({round(args.fair_mbit * 125 * args.fair_rtt_ms)} bytes), ACKs with up to {FAIR_JITTER_US} us of jitter;\nthe second begins "
          f"{args.lead_s} s after the first; over {args.fair_seconds:g} s, from {args.skip_s:g} s after that")
    print(f"{'first':>6} {'second':>6} | {'Mbit/s':>13} | share of the first | Jain | drops")
    weir_shares = []
    pairs = [("weir", "linux"), ("linux", "weir")] * args.fair_runs + [("weir", "weir"), ("linux", "linux")] * args.control_runs
    for i, pair in enumerate(pairs):
        result = fairness_run(rig, args, pair, args.seed + i, problems)
        if result is None:
            continue
        rates, wire = result
        share = rates[0] / max(1e-9, sum(rates))
        if "weir" in pair and "linux" in pair:
            weir_shares.append(share if pair[0] == "weir" else 1 - share)
        print(f"{pair[0]:>6} {pair[1]:>6} | {rates[0]:6.2f} {rates[1]:6.2f} | {share:18.1%} | {jain(rates):4.2f} | "
              f"{wire['down']['dropped']}", flush=True)
        out.append({"pair": pair, "mbit": rates, "jain": jain(rates), "dropped": wire["down"]["dropped"]})
    if weir_shares:
        within = sum(GOAL_SHARE[0] <= s <= GOAL_SHARE[1] for s in weir_shares)
        print(f"Weir's share beside Linux: {statistics.mean(weir_shares):.1%} in the mean; {within} of {len(weir_shares)} runs "
              f"within {GOAL_SHARE[0]:.0%} to {GOAL_SHARE[1]:.0%}", flush=True)


def parse_args():
    numbers = lambda kind: lambda s: [kind(v) for v in s.split(",")]  # noqa: E731
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", required=True)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--instead", choices=["kernel"])
    p.add_argument("--extra", default="", help="lines for weir.yaml")
    p.add_argument("--linux-cc", default="cubic")
    p.add_argument("--loss", type=numbers(float), default=[0.001, 0.01, 0.03])
    p.add_argument("--rtt-ms", type=numbers(int), default=[20, 100])
    p.add_argument("--seconds", type=float, default=6, help=f"of a repetition; twice as long where the loss is below {RARE}")
    p.add_argument("--repetitions", type=int, default=3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--flows", type=int, default=0, help="connections of each sender; 0: by what they will carry")
    p.add_argument("--total-mbit", type=float, default=60, help="of each sender's connections together, if --flows is 0")
    p.add_argument("--wire", default="", help="more options of weir-wire, for throughput")
    p.add_argument("--in-turn", action="store_true", help="one sender after the other, not at the same time")
    p.add_argument("--fair-mbit", type=float, default=50)
    p.add_argument("--fair-rtt-ms", type=int, default=40)
    p.add_argument("--fair-seconds", type=float, default=30)
    p.add_argument("--skip-s", type=float, default=15, help="of fairness: time until shares count")
    p.add_argument("--fair-runs", type=int, default=1, help="of each order")
    p.add_argument("--control-runs", type=int, default=1, help="of two of a kind")
    p.add_argument("--lead-s", type=float, default=0.5)
    p.add_argument("--no-throughput", action="store_true")
    p.add_argument("--no-fairness", action="store_true")
    p.add_argument("--no-realtime", action="store_true")
    p.add_argument("--trace", help="the wire writes a trace of each run to files whose names begin so")
    p.add_argument("--json", help="write all figures to this file")
    p.add_argument("--verbose", action="store_true")
    args = p.parse_args()
    if args.quick:
        args.loss, args.rtt_ms, args.seconds, args.repetitions, args.total_mbit = [0.01], [20], 3, 1, 20
        args.fair_seconds, args.skip_s, args.control_runs = 3, 1, 0
    return args


def end_early(*_):
    """Leaves the with-block, and is not asked twice: nothing stays behind."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def main():
    args = parse_args()
    problems = Problems()
    cells, fair = [], []
    signal.signal(signal.SIGTERM, end_early)
    print_configuration(args)
    try:
        with WireRig(args.build, instead=args.instead, extra=args.extra, realtime=not args.no_realtime,
                     linux_cc=args.linux_cc) as rig:
            if not args.no_throughput:
                throughput(rig, args, problems, cells)
            if not args.no_fairness:
                fairness(rig, args, problems, fair)
    except Failure as e:
        problems.failures.append(str(e))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"throughput": cells, "fairness": fair}))
    for doubt in problems.doubts:
        print("doubt: " + doubt)
    for failure in problems.failures:
        print("FAILED: " + failure)
    print("everything worked" if not problems.failures else f"{len(problems.failures)} FAILED")
    return 1 if problems.failures else 0


if __name__ == "__main__":
    sys.exit(main())
