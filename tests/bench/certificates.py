#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What 10,000 certificates cost: the start, the first use of each, and what other connections feel of that.

    tests/bench/certificates.py --build BUILD [--certs N] [--uses N] [--port memif|tap|af_packet|af_xdp]

Each host has a Secret and an Ingress of its own (bench_certificates makes them). The start is the time from weir-ctrl's until
all of it is served. Then a client makes two handshakes with each of some hosts, one of them the first use of a certificate; what
that adds is the difference. Meanwhile another client asks on one open connection in the clear, as it does alone before: both
histograms are printed, since on a TAP port the kernel and the machine's other work are in them. How long the worker's iterations took, and
the longest time that it spent in one on what main asked for, are its own figures.
"""
import argparse
import json
import os
import pathlib
import select
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "smoke"))

from rig import MANIFESTS, WEIR4, Rig, expect, wait_until  # noqa: E402

WORKER_CORE = 1
BURST = 32
EDGES_US = [100, 200, 300, 500, 1000, 2000, 5000, 10000, 100000]


def host_of(i):
    return f"h{i:05d}.certs.example.com"


def handshake_us(context, i):
    with socket.create_connection((WEIR4, 443), timeout=60) as raw:
        begin = time.perf_counter()
        with context.wrap_socket(raw, server_hostname=host_of(i)) as s:
            took = (time.perf_counter() - begin) * 1e6
            expect(host_of(i).encode() in s.getpeercert(binary_form=True), "the certificate of the name")
    return took


def use(hosts):
    """In the peers' namespace: [first use, second one] of each."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    print(json.dumps([[handshake_us(context, i), handshake_us(context, i)] for i in hosts]))


def go_on(end):
    """(the handshake is done, what it has to send)"""
    try:
        end.tls.do_handshake()
        return True, end.sends.read()
    except ssl.SSLWantReadError:
        return False, end.sends.read()


class End:
    """A client whose ClientHello is made before it is connected, so that many come at once."""

    def __init__(self, context, i):
        self.receives, self.sends = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.receives, self.sends, server_hostname=host_of(i))
        _, self.hello = go_on(self)
        self.socket = socket.create_connection((WEIR4, 443), timeout=60)

    def finish(self):
        is_done = False
        while not is_done:
            got = self.socket.recv(65536)
            expect(got, "a handshake")
            self.receives.write(got)
            is_done, sends = go_on(self)
            self.socket.sendall(sends)
        self.socket.close()


def burst(hosts):
    """In the peers' namespace: BURST clients at once, again and again."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for first in range(0, len(hosts), BURST):
        ends = [End(context, i) for i in hosts[first:first + BURST]]
        for end in ends:
            end.socket.sendall(end.hello)
        for end in ends:
            end.finish()


def ask():
    """In the peers' namespace: until stdin ends, a request each 2 ms on one connection; how long each took."""
    took = []
    with socket.create_connection((WEIR4, 80), timeout=60) as s:
        print("open", flush=True)
        while not select.select([sys.stdin], [], [], 0.002)[0]:
            begin = time.perf_counter()
            s.sendall(b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
            expect(s.recv(65536).startswith(b"HTTP/1.1 "), "an answer")
            took.append((time.perf_counter() - begin) * 1e6)
    print(json.dumps(took))


def while_asked(rig, work):
    """(what work() gives, times of the requests meanwhile)"""
    p = rig.spawn(["chrt", "-f", "10", sys.executable, __file__, "ask"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.stdout.readline()
    out = work()
    p.stdin.close()
    took = json.loads(p.stdout.readline())
    p.wait(60)
    return out, took


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def histogram(took):
    counts = [sum(1 for t in took if t <= edge) for edge in EDGES_US]
    return " | ".join(str(b - a) for a, b in zip([0, *counts], [*counts, len(took)]))


LOOPS = ("10", "20", "50", "100", "200", "500", "1000", "2000", "5000", "10000")


def loops(rig):
    """Busy iterations of the worker so far, by how long they took."""
    got = rig.weirctl_json("stats")
    return [got[f"worker_loops_{us}_us"]["sum"] for us in LOOPS] + [got["worker_loops_longer"]["sum"]]


class CertificatesRig(Rig):
    """The worker has the second core for itself. port='memif': a bridge from a TAP device, so that the worker makes no system calls, as with a NIC."""

    def __init__(self, build, port, **kw):
        super().__init__(build, port="tap" if port == "memif" else port, ctrl=False, **kw)
        self.is_memif = port == "memif"

    def vdev(self):
        return f"net_memif0,role=server,socket={self.dir}/memif.sock,rsize=11" if self.is_memif else super().vdev()

    def _write_files(self):
        super()._write_files()
        path = self.dir / "weir.yaml"
        path.write_text(path.read_text().replace("cores: [0]", f"cores: [{WORKER_CORE}]").replace("idle: sleep", "idle: spin"))

    def start_dataplane(self):
        if self.is_memif:
            bridge = [self.build / "tests/bench/tls/weir-tlsload", "--target", WEIR4, "--host", "none", "--tap", "weir0", "--memif",
                      f"net_memif0,role=client,socket={self.dir}/memif.sock,rsize=11"]
            log = open(self.dir / "bridge.log", "ab")
            self.procs["bridge"] = subprocess.Popen(["ip", "netns", "exec", self.ns, "nice", *map(str, bridge)], stdin=subprocess.PIPE, stdout=log, stderr=log)
        super().start_dataplane()
        os.sched_setscheduler(self.procs["dataplane"].pid, os.SCHED_FIFO, os.sched_param(20))  # the main thread alone


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--certs", type=int, default=10000)
    parser.add_argument("--uses", type=int, default=500)
    parser.add_argument("--port", choices=("memif", "tap", "af_packet", "af_xdp"), default="tap")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weir-certs-") as made:
        begin = time.monotonic()
        subprocess.run([pathlib.Path(args.build) / "tests/bench/bench_certificates", str(args.certs), made], check=True)
        print(f"{args.certs} certificates made in {time.monotonic() - begin:.1f} s", flush=True)
        manifests = {**MANIFESTS, **{p.name: p.read_text() for p in pathlib.Path(made).iterdir()}}
    os.sched_setaffinity(0, set(range(os.cpu_count())) - {WORKER_CORE})
    with CertificatesRig(args.build, args.port, manifests=manifests, yaml_workers="", arena_mb=128, yaml_memory=", certificates_mb: 256") as rig:
        begin = time.monotonic()
        rig.start_ctrl()
        rig.wait_healthy(300)
        wait_until("all of them are served", lambda: rig.live_generation() > 0)
        print(f"start of weir-ctrl until all is served: {time.monotonic() - begin:.2f} s, of which it had a core for "
              f"{cpu_s(rig.procs['ctrl'].pid):.2f} s; memory: weir-dataplane {rig.rss_kb() >> 10} MiB, "
              f"weir-ctrl {rig.rss_kb('ctrl') >> 10} MiB", flush=True)
        hosts = list(range(0, args.certs, max(args.certs // args.uses, 1)))[:args.uses]
        first = loops(rig)
        _, alone = while_asked(rig, lambda: time.sleep(3))
        second = loops(rig)
        uses, beside = while_asked(rig, lambda: json.loads(rig.run(["chrt", "-f", "5", sys.executable, __file__, "use", json.dumps(hosts)], timeout=600).stdout))
        third = loops(rig)
        _, bursts = while_asked(rig, lambda: rig.run(["chrt", "-f", "5", sys.executable, __file__, "burst", json.dumps(hosts)], timeout=600))
        fourth = loops(rig)
        expect(rig.metric_sum("weir_tls_certificates_ready") == len(hosts), "each was used first here")
        added = sorted(a - b for a, b in uses)
        print(f"first use of {len(uses)}: handshake {statistics.median(a for a, _ in uses):.0f} us, second one "
              f"{statistics.median(b for _, b in uses):.0f} us; what it adds: median {statistics.median(added):.0f}, "
              f"99 of 100 within {added[len(added) * 99 // 100]:.0f}, at most {added[-1]:.0f} us")
        print(f"longest slice for main: {rig.metric_sum('weir_worker_control_slice_max_us'):.0f} us")
        print("| requests on another connection, us | " + " | ".join(f"to {e}" for e in EDGES_US) + " | more |")
        print("| --- " * (len(EDGES_US) + 2) + "|")
        print(f"| alone | {histogram(alone)} |\n| beside first uses | {histogram(beside)} |\n| beside {BURST} at once | {histogram(bursts)} |\n")
        print("| busy iterations of the worker, us | " + " | ".join(f"to {us}" for us in LOOPS) + " | more |")
        print("| --- " * (len(LOOPS) + 2) + "|")
        for name, before, after in (("alone", first, second), ("beside first uses", second, third), (f"beside {BURST} at once", third, fourth)):
            print(f"| {name} | " + " | ".join(str(b - a) for a, b in zip(before, after)) + " |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["use"]:
        use(json.loads(sys.argv[2]))
    elif sys.argv[1:2] == ["burst"]:
        burst(json.loads(sys.argv[2]))
    elif sys.argv[1:2] == ["ask"]:
        ask()
    else:
        main()
