#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What clients in the clear feel of handshakes on the same worker: done in software, and given to a device.

    tests/bench/tls_beside.py --build BUILD [--rounds N] [--seconds S] [--handshakes PER_SECOND] [--small]

Requests in the clear come at a rate, from a program that goes before all others on the load's core, so that what the clients of
TLS compute there does not count. The device is the engine of tests/engine: an operation takes it a millisecond, and what it
computes at the end of that, on the worker's own core, is a signature of P-256, as in software. How long the worker's iterations took is its own count.
"""
import json
import pathlib
import subprocess

from bench import HOST, arguments, expect, main_of, print_table
from contest import AF_XDP, CLIENT_SIDE, LOAD_CORE, raise_limits
from tls_contest import Tls, TlsVethWeir, middle, show

PLAIN_PER_S = 2000
BUCKETS = ("10 us", "20 us", "50 us", "100 us", "200 us", "500 us", "1 ms", "2 ms", "5 ms", "10 ms", "more")


class Beside(TlsVethWeir):
    """device: microseconds that an operation takes it; None: there is none."""

    def __init__(self, build, device):
        self.device = device
        super().__init__(build, AF_XDP)

    def _ports(self):
        text = super()._ports()
        if self.device is None:
            return text
        return text + f"""tls:
  offload:
    kind: engine
    required: true
    engine: {{id: weir_async, path: {self.build}/tests/engine/weir_async.so, commands: [[DELAY_US, {self.device}]]}}
"""

    def _place(self, name):
        return ["ip", "netns", "exec", self.spaces["load"]] if name == "probe" else super()._place(name)

    def _start_blast(self):
        super()._start_blast()
        self._spawn("probe", ["taskset", "-c", LOAD_CORE, "chrt", "-f", "50", self.build / "tests/bench/tls/weir-tlsload", "--target", CLIENT_SIDE,
                              "--host", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=raise_limits)

    def _quiet_blast(self):
        super()._quiet_blast()
        p = self.procs.pop("probe")
        p.stdin.close()
        p.wait(10)

    def loops(self):
        sums = self.weirctl_sums()
        return [v for k, v in sums.items() if k.startswith("worker_loops_")], sums["tls_handshakes"], sums.get("tls_offload_completed", 0)

    def measure_plain(self, args, load):
        """(latencies, what the worker did meanwhile); load: a phase of the clients of TLS, or None."""
        tls, probe = self.procs["blast"], self.procs["probe"]
        if load:
            tls.stdin.write(f"seconds={args.seconds + 2.5} {load}\n".encode())
            tls.stdin.flush()
            self._line()
        before = self.loops()
        probe.stdin.write(f"seconds={args.seconds} warmup=0.5 plain={PLAIN_PER_S}\n".encode())
        probe.stdin.flush()
        if not self.ready:
            self.ready = bool(probe.stdout.readline())
        probe.stdout.readline()
        r = json.loads(probe.stdout.readline())
        after = self.loops()
        expect(r["plain"] > 0 and not r["errors"], f"requests in the clear: {r['plain']}, {r['errors']} errors, the first: {r['error']}")
        if load:
            tls = self._line()
            expect(not tls["errors"], f"handshakes: {tls['errors']} errors, the first: {tls['error']}")
        r["loops"] = [b - a for a, b in zip(before[0], after[0])]
        r["handshakes_per_second"] = (after[1] - before[1]) / (args.seconds + 0.5)
        r["in_device"] = after[2] - before[2]
        return r

    ready = False


def main():
    args = arguments(__doc__, rounds=(int, 3, "rounds"), seconds=(float, 4.0, "of each measurement"), handshakes=(int, 500, "handshakes per second"))
    if args.small:
        args.rounds, args.seconds = 1, 0.5
    cases = [("none", None, None), ("software, P-256", None, ""), ("software, RSA-2048", None, "port=8443"), ("device, P-256", 1000, "")]
    got = {name: [] for name, _, _ in cases}
    for _ in range(args.rounds):
        for device in (None, 1000):
            with Beside(args.build, device) as b:
                for name, of, load in cases:
                    if of == device:
                        got[name].append(b.measure_plain(args, load if load is None else f"connections=64 rate={args.handshakes} {load}"))
    rows = []
    for name, _, _ in cases:
        rs = got[name]
        rows.append([name, f"{middle(rs, lambda r: r['handshakes_per_second'])[0]:.0f}", *(show(middle(rs, lambda r: r["plain_us"][q]), "{:,.0f}") for q in ("50", "99", "99.9"))])
    print_table(["handshakes", "per second", "requests in the clear, median us", "99 %", "99.9 %"], rows)
    print_table(["busy iterations of the worker, at most", *BUCKETS], [[n, *(sum(r["loops"][i] for r in got[n]) for i in range(len(BUCKETS)))] for n, _, _ in cases])


if __name__ == "__main__":
    main_of(main)
