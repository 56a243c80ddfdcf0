# SPDX-License-Identifier: Apache-2.0
"""The wire of the TCP benchmark with real interfaces, and that the benchmark works."""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys

from rig import expect, expect_eq, ip, takes

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench"


# Pings so often, and then until the last one is answered: what is behind it has come by then, however late it was.
PING = r"""
import json, select, socket, struct, sys, time
count, times = int(sys.argv[2]), {}
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.connect((sys.argv[1], 0))
def send(seq):
    message = struct.pack('!BBHHHd', 8, 0, 0, 1, seq, time.monotonic())
    n = sum(struct.unpack('!8H', message))
    n = (n >> 16) + (n & 0xffff)
    s.send(message[:2] + struct.pack('!H', ~(n + (n >> 16)) & 0xffff) + message[4:])
def receive(until, seconds):
    end = time.monotonic() + seconds
    while until not in times and select.select([s], [], [], max(end - time.monotonic(), 0))[0]:
        data = s.recv(2048)
        kind, _, _, _, seq, sent = struct.unpack('!BBHHHd', data[(data[0] & 15) * 4:][:16])
        if kind == 0:
            times[seq] = (time.monotonic() - sent) * 1000
for n in range(1, count + 1):
    send(n)
    receive(None, 0.02)
patience = 0.1
while n == count or n not in times:
    n += 1
    send(n)
    receive(n, patience)
    patience *= 2
print(json.dumps([n, sorted(times.items())]))
"""


def mac_of(ns, dev):
    return json.loads(subprocess.run(["ip", "-n", ns, "-j", "link", "show", dev], capture_output=True, check=True, timeout=30).stdout)[0]["address"]


class TwoHosts:
    """Two namespaces with a wire between them: a TAP device at the near one, a veth at the far one."""

    def __init__(self, build):
        self.program = pathlib.Path(build).resolve() / "tests/bench/weir-wire"
        self.near, self.wire_ns, self.far = (f"weir-wr{os.getpid()}{k}" for k in "nwf")

    def __enter__(self):
        for ns in (self.near, self.wire_ns, self.far):
            ip("netns", "add", ns)
            for scope in ("all", "default"):  # else IPv6 says things of its own into the wire
                subprocess.run(["ip", "netns", "exec", ns, "sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1"],
                               check=True, timeout=30)
        ip("link", "add", "far0", "netns", self.wire_ns, "type", "veth", "peer", "name", "eth0", "netns", self.far)
        ip("-n", self.wire_ns, "link", "set", "far0", "up")
        ip("-n", self.far, "addr", "add", "10.96.0.2/24", "dev", "eth0")
        ip("-n", self.far, "link", "set", "eth0", "up")
        return self

    def __exit__(self, kind, value, tb):
        for ns in (self.near, self.wire_ns, self.far):
            subprocess.run(["ip", "netns", "del", ns], capture_output=True, timeout=30)

    @contextlib.contextmanager
    def wire(self, *options):
        """Yields a list that has the wire's statistics after the block."""
        argv = ["ip", "netns", "exec", self.wire_ns, self.program, "--near", "tap:near0", "--far", "far0", *map(str, options)]
        p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            expect_eq(p.stdout.readline(), b"ready\n", "the wire's first line")
            ip("-n", self.wire_ns, "link", "set", "near0", "netns", self.near)
            ip("-n", self.near, "addr", "add", "10.96.0.1/24", "dev", "near0")
            ip("-n", self.near, "link", "set", "near0", "up")
            # Of what is lost none is a question for an address: those come when the kernel sees fit.
            for ns, dev, peer, of, peer_dev in ((self.near, "near0", "10.96.0.2", self.far, "eth0"), (self.far, "eth0", "10.96.0.1", self.near, "near0")):
                ip("-n", ns, "neigh", "replace", peer, "lladdr", mac_of(of, peer_dev), "dev", dev, "nud", "permanent")
            stats = []
            yield stats
        finally:
            p.terminate()
            out, err = p.communicate(timeout=30)
        expect_eq((p.returncode, err), (0, b""), "how the wire ended")
        stats.append(json.loads(out.decode().splitlines()[-1]))

    def ping(self, count):
        """(how many were sent, numbers of the answers, round-trip times in ms); more than count are sent."""
        p = subprocess.run(["ip", "netns", "exec", self.near, sys.executable, "-c", PING, "10.96.0.2", str(count)], capture_output=True, timeout=120)
        expect_eq((p.returncode, p.stderr), (0, b""), "how ping ended")
        n, found = json.loads(p.stdout)
        return n, [seq for seq, _ in found], [ms for _, ms in found]


def test_wire_delays_and_carries_all(make):
    with TwoHosts(make.args[0]) as hosts:
        with hosts.wire("--delay-us", 20000) as stats:
            n, numbers, times = hosts.ping(20)
        expect_eq(numbers, list(range(1, n + 1)), "answers")
        expect(min(times) >= 40, f"a round trip of {min(times)} ms through 2 x 20 ms")
        for way in ("up", "down"):
            expect_eq((stats[0][way]["lost"], stats[0][way]["dropped"]), (0, 0), f"lost and dropped {way}")


def test_wire_loses_the_same_by_the_same_seed(make):
    with TwoHosts(make.args[0]) as hosts:
        seen = []
        for seed in (5, 5, 6):
            with hosts.wire("--delay-us", 1000, "--loss-ppm", 200000, "--seed", seed) as stats:
                n, numbers, _ = hosts.ping(60)
            lost = stats[0]["up"]["lost"] + stats[0]["down"]["lost"]
            expect_eq(len(numbers) + lost, n, "answered and lost")
            seen.append([seq for seq in numbers if seq <= 60])
        expect_eq(seen[0], seen[1], "answers by the same seed")
        expect(seen[0] != seen[2], "another seed loses the same")


@takes(15)
def test_wire_benchmark_works(make):
    p = subprocess.run([sys.executable, BENCH / "tcp_wire.py", "--build", make.args[0], "--quick", "--no-realtime"],
                       capture_output=True, timeout=900)
    text = p.stdout.decode()
    expect_eq(p.returncode, 0, f"status of tcp_wire.py --quick: {text[-3000:]}{p.stderr.decode()[-3000:]}")
    expect(re.search(r"^ +1\.0% +20 ms [\d ]+\| +\d+\.\d\d \(", text, re.M) is not None, f"no line for 1 % and 20 ms: {text}")
    expect("Weir's share beside Linux" in text, f"no share: {text}")
