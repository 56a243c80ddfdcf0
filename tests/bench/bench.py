# SPDX-License-Identifier: Apache-2.0
"""Weir between the two ends of weir-blast, over memif: the dataplane, weir-ctrl, and the generator.

A Bench is a folder and three processes. Nothing of the kernel's network is used
but a loopback port for weir-ctrl's admin API. Leaving the with-block ends every
process and looks at how it ended.
"""
import argparse
import itertools
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "smoke"))
from procs import end_process, sanitizer_env, sanitizer_reports, show_logs  # noqa: E402
from rig import Failure, expect, gateway, ingress, resident_kb, service, wait_until  # noqa: E402

WEIR, GATEWAY, ORIGIN, ORIGIN_PORT = "10.1.0.1", "10.1.0.254", "10.1.0.16", 8080
HOST = "blast.example.com"
counter = itertools.count()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def endpoint_slice(name, addrs, port):
    items = ", ".join(f'{{addresses: ["{a}"], conditions: {{ready: true}}}}' for a in addrs)
    return f"""apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: demo, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{items}]
---
"""


def frame_buffers(mtu):
    """Of a memif's client: a frame in one buffer, since DPDK 22.11 overwrites what it puts together from several."""
    return f",bsize={-(-(mtu + 18) // 1024) * 1024}" if mtu > 1500 else ""


class BlastEnded(Failure):
    """weir-blast is not there any more."""


def idle_keys(us):
    """Of weir.yaml's section workers."""
    return f"idle: sleep, idle_latency_us: {us}" if us else "idle: spin"


class Bench:
    """Keyword arguments of the constructor:

    workers      list of cores, a worker on each
    origins      endpoints of the backend
    connections  connections of a worker, those to the origin included
    pools, limits, timeouts   more keys of these sections of weir.yaml
    slots        connections that weir-blast can have
    core         weir-blast's
    mtu          of the port between them
    zero_copy    Weir is the memif's client and shows its packet buffers to weir-blast, which then makes all copies
    blast        more arguments for weir-blast
    idle_us      what all of them sleep at a time without work; 0: they poll, as for figures they must
    idle         workers.idle of weir.yaml, whatever the others do
    sanitizers   the build has them: everything is slower
    arena_mb     of weir.yaml
    hugepages    of both programs
    """

    origin = ORIGIN
    proxy = "dataplane" # the program between the two ends

    def __init__(self, build, workers=(0,), origins=1, connections=16384, pools=None, limits=None, timeouts=None,
                 slots=65536, core=1, mtu=1500, blast=(), idle_us=0, sanitizers=False, arena_mb=8, zero_copy=False, hugepages=False,
                 idle=None):
        self.build = pathlib.Path(build).resolve()
        self.workers, self.origins, self.connections = list(workers), origins, connections
        self.pools, self.limits, self.timeouts = dict(pools or {}), dict(limits or {}), dict(timeouts or {})
        self.hugepages, self.idle = hugepages, f"idle: {idle}" if idle else idle_keys(idle_us)
        self.slots, self.core, self.blast_args, self.sanitizers = slots, core, list(blast), sanitizers
        self.idle_us, self.mtu, self.arena_mb, self.zero_copy = idle_us, mtu, arena_mb, zero_copy
        self.dir = None
        self.procs = {}
        self.admin = f"127.0.0.1:{free_port()}"

    # -- start and stop

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"weir-bench{os.getpid()}-{next(counter)}-"))
        self.dir.chmod(0o755)
        try:
            self._write_files()
            for start in (self._start_blast, self._start_proxy) if self.zero_copy else (self._start_proxy, self._start_blast):
                start() # the memif's server first
            self._wait_for_connection()
        except BaseException:
            show_logs(self.dir, file=sys.stderr)
            self._clean()
            raise
        return self

    def __exit__(self, kind, value, tb):
        problems = []
        if kind is None:
            self._quiet_blast()
            for name in [n for n in ("ctrl", self.proxy, "blast") if n in self.procs]:
                rc = self._stop(name)
                if rc != 0 and not (name == "blast" and self.is_blast_alone):
                    problems.append(f"{name} ended with {rc}")
            problems += sanitizer_reports(self.dir)
        else:
            show_logs(self.dir, file=sys.stderr)
            self._show_drops()
        self._clean()
        if problems:
            raise Failure("; ".join(problems))

    # what another place, another port or another proxy does otherwise

    def _place(self, name):
        """What goes before the command of a program, so that it runs where it has to."""
        return []

    def _memif(self, is_server):
        socket = f"socket={self.dir}/memif.sock"
        if self.zero_copy: # a frame is two descriptors at least; few buffers in the ring stay in the cache
            return f"role=server,{socket},rsize=10" if is_server else f"role=client,zero-copy=yes,{socket},rsize=10"
        return f"role=server,{socket},rsize=11" if is_server else f"role=client,{socket},rsize=11{frame_buffers(self.mtu)}"

    def _ports(self):
        """The lists of ports and workers in weir.yaml."""
        return f"""ports:
  - vdev: net_memif0,{self._memif(is_server=not self.zero_copy)}
    addresses: [{WEIR}/24]
    gateways: [{GATEWAY}]
    descriptors: 2048
    mtu: {self.mtu}
workers: {{cores: {self.workers}, {self.idle}}}
"""

    def _blast_ports(self):
        return ["--port", f"net_memif0,{self._memif(is_server=self.zero_copy)}"]

    def _start_proxy(self):
        began = time.monotonic()
        self._spawn("dataplane", [self.build / "dataplane/weir-dataplane", "-c", self.dir / "weir.yaml"])
        wait_until("control socket", lambda: self.has_ended("dataplane") or (self.dir / "dataplane.sock").exists(), 120)
        expect(not self.has_ended("dataplane"), "the dataplane does not start")
        self.start_seconds = time.monotonic() - began
        self.start_ctrl()

    def _section(self, keys):
        return "{" + ", ".join(f"{k}: {v}" for k, v in keys.items()) + "}"

    def _write_files(self):
        pools = {"mbufs": 32768, "connections": self.connections, "requests": 2048, "backends": 64, "endpoints": 256,
                 "neighbours": 64, "neighbour_queue": 1024}
        timeouts = {"idle_ms": 3600000, "upstream_idle_ms": 3600000, "keepalive_ms": 7200000, "connect_ms": 10000,
                    "drain_ms": 2000}
        pools.update(self.pools)
        timeouts.update(self.timeouts)
        (self.dir / "weir.yaml").write_text(f"""{self._ports()}memory: {{hugepages: {"true" if self.hugepages else "false"}, arena_mb: {self.arena_mb}}}
pools: {self._section(pools)}
limits: {self._section(self.limits)}
timeouts: {self._section(timeouts)}
control: {{socket: {self.dir}/dataplane.sock, user: nobody}}
""")
        (self.dir / "manifests").mkdir()
        first = self.origin.rsplit(".", 1)
        addrs = [f"{first[0]}.{int(first[1]) + i}" for i in range(self.origins)]
        (self.dir / "manifests/all.yaml").write_text(service("origin") + endpoint_slice("origin", addrs, ORIGIN_PORT) +
                                                      ingress("blast", HOST, [("/", "Prefix", "origin")]))

    def _spawn(self, name, argv, **kw):
        with open(self.dir / f"{name}.log", "ab") as log:
            self.procs[name] = subprocess.Popen([*self._place(name), *(str(a) for a in argv)], stderr=log, env=sanitizer_env(),
                                                **{"stdout": log, "stdin": subprocess.DEVNULL, **kw})

    def start_ctrl(self):
        self._spawn("ctrl", [self.build / "ctrl/weir-ctrl", "--namespace-budget", "0", "--manifests", self.dir / "manifests", "--socket",
                             self.dir / "dataplane.sock", "--admin", self.admin, "--user", "nobody"])
        wait_until("weir-ctrl serves", self._is_live)

    def _start_blast(self):
        n = len(self.workers)
        self._spawn("blast", [self.build / "tests/bench/blast/weir-blast", "-i", "-o", "json", "--mtu", self.mtu,
                              *self._blast_ports(), "--descriptors", 2048,
                              "--queues", n, "--core", self.core, "--target", f"{WEIR}:80", "--origin", f"{self.origin}:{ORIGIN_PORT}",
                              "--origins", self.origins, "--gateway", GATEWAY, "--host", HOST, "--slots", self.slots,
                              "--idle-us", self.idle_us, *(["--hugepages"] if self.hugepages else []),
                              *self.blast_args], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.zero_copy:
            wait_until("weir-blast has made the memif", lambda: self._has_memif() or self.has_ended("blast"), 120)
            expect(not self.has_ended("blast"), "weir-blast does not start")

    def _has_memif(self):
        """Its socket has an abstract name."""
        return f"@{self.dir}/memif.sock" in pathlib.Path("/proc/net/unix").read_text()

    def _wait_for_connection(self):
        """Until weir-blast's first answer."""
        p = self.procs["blast"]
        p.stdin.write(b"hold seconds=0\n")
        p.stdin.flush()
        wait_until("weir-blast reaches Weir", lambda: select.select([p.stdout], [], [], 0.05)[0] or self.has_ended(self.proxy), 120)
        expect(not self.has_ended(self.proxy), f"the {self.proxy} ended at the start")
        expect(p.stdout.readline(), "weir-blast ended at the start")

    def has_ended(self, name):
        return self.procs[name].poll() is not None

    def _quiet_blast(self):
        """It polls no more: when one end of a memif goes, DPDK unmaps the rings at the other, under whoever polls them."""
        p = self.procs["blast"]
        self.is_blast_alone = self.has_ended(self.proxy) # too late
        if p.poll() is None:
            p.stdin.close()
            p.stdout.readline()

    def _stop(self, name, seconds=60):
        return end_process(self.procs.pop(name), seconds)

    def _show_drops(self):
        try:
            print("dropped: " + ", ".join(f"{d['reason']} {d['count']:,}" for d in self.weirctl("drops")), file=sys.stderr, flush=True)
        except Exception as e: # it explains a failure, and must not hide it
            print(f"no weirctl drops: {e}", file=sys.stderr, flush=True)

    def _clean(self):
        for name in list(self.procs):
            self._stop(name, 10)
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- doing things

    def write_manifest(self, name, text):
        """Whole, under another name, then renamed. text None: removes it."""
        path = self.dir / "manifests" / name
        if text is None:
            path.unlink()
            return
        tmp = path.with_name(f".{name}.tmp")
        tmp.write_text(text)
        tmp.rename(path)

    def terminate(self, name):
        """Asks a program to end; how it ends is looked at when the with-block is left."""
        self.procs[name].send_signal(signal.SIGTERM)

    def log(self, name):
        return (self.dir / f"{name}.log").read_text(errors="replace")

    def phase(self, line):
        """One phase of weir-blast, and its report. See tests/bench/blast/phase.h."""
        self.begin_phase(line)
        return self.report(line)

    def begin_phase(self, line):
        """The same without its end: report() waits for that. With tell=1 it has begun afterwards."""
        p = self.procs["blast"]
        if self.idle_us and line.startswith("load") and "timeout=" not in line:
            line += " timeout=60"  # whose cores are not ours alone has no figures to lose, and late is not lost
        try:
            p.stdin.write(line.encode() + b"\n")
            p.stdin.flush()
        except BrokenPipeError:
            raise BlastEnded(f"weir-blast ended before: {line}") from None
        if "tell=1" in line:
            expect(self.report(line)["begun"], "a phase that tells of its beginning")

    def report(self, line):
        """Of the phase that was begun with this line."""
        out = self.procs["blast"].stdout.readline() # a phase ends by itself
        if not out:
            raise BlastEnded(f"weir-blast ended at: {line}")
        return json.loads(out)

    def weirctl(self, command):
        p = subprocess.run([*self._place("weirctl"), self.build / "ctrl/weirctl", "--admin", self.admin, "-o", "json", command], capture_output=True,
                           timeout=120)
        expect(p.returncode == 0, f"weirctl {command}: {p.stderr.decode()}")
        return json.loads(p.stdout)

    def weirctl_sums(self):
        """{counter or gauge: its sum over the workers}"""
        return {k: v["sum"] for k, v in self.weirctl("stats").items()}

    def _is_live(self):
        p = subprocess.run([*self._place("weirctl"), self.build / "ctrl/weirctl", "--admin", self.admin, "-o", "json", "status"], capture_output=True,
                           timeout=120)
        return p.returncode == 0 and json.loads(p.stdout).get("live_generation", 0) > 0

    def _worker_cpu_seconds(self):
        """CPU time of each worker's thread."""
        out = {}
        for task in pathlib.Path(f"/proc/{self.procs['dataplane'].pid}/task").iterdir():
            m = re.search(r"worker-?(\d+)", (task / "comm").read_text())
            if m:
                out[int(m.group(1))] = int((task / "schedstat").read_text().split()[0]) / 1e9
        return [out[i] for i in sorted(out)]

    def measure(self, line):
        """A phase, with what it cost the dataplane.

        Workers poll, so their CPU time is all that they could get, and on a
        core that others use as well their time stamps run on while they wait.
        So: CPU time times the share of their waking cycles that found work.
        """
        return self.measure_around(lambda: self.phase(line))

    def measure_around(self, fn):
        """The same for whatever gives a report."""
        cpu, before = self._worker_cpu_seconds(), self.weirctl("stats")
        report = fn()
        after, cpu_after = self.weirctl("stats"), self._worker_cpu_seconds()
        moved = {k: after[k]["sum"] - before[k]["sum"] for k in after}
        busy, shares = [], []
        for i, seconds in enumerate(cpu_after):
            cycles, slept, worked = (after[k]["workers"][i] - before[k]["workers"][i]
                                     for k in ("worker_cycles", "worker_sleep_cycles", "worker_busy_cycles"))
            shares.append(worked / max(cycles - slept, 1))
            busy.append((seconds - cpu[i]) * shares[-1] * report["tsc_hz"])
        report["weir"] = {"busy_cycles": busy, "cpu_seconds": [b - a for a, b in zip(cpu, cpu_after)], "busy_shares": shares,
                          "cycles_per_request": sum(busy) / moved["http_requests"] if moved["http_requests"] else None,
                          "counters": {k: v for k, v in moved.items() if v}, "memory_kb": self.memory_kb()}
        return report

    def memory_kb(self, name="dataplane"):
        return resident_kb(self.procs[name].pid)


# -- what the benchmarks have in common

def arguments(text, **more):
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, help="a build folder, of --buildtype=release for figures")
    parser.add_argument("--small", action="store_true", help="a few seconds: whether it works, not how fast")
    parser.add_argument("--json", help="write the results to this file too")
    parser.add_argument("--idle-us", type=int, default=0, help="sleep so long without work: on cores that are not ours alone (0: poll)")
    for name, (kind, default, words) in more.items():
        parser.add_argument("--" + name.replace("_", "-"), type=kind, default=default, help=f"{words} ({default})")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)) # leaves the with-blocks
    args = parser.parse_args()
    if args.small:
        args.idle_us = 50
    return args


def spread(values, digits=1):
    """'median (least - most)'"""
    v = sorted(values)
    f = f"{{:,.{digits}f}}"
    return f"{f.format(statistics.median(v))} ({f.format(v[0])} - {f.format(v[-1])})" if v else "-"


def print_table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(str(c) for c in row) + " |")
    print(flush=True)


def write_json(args, results):
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=1) + "\n")


def expect_clean(report, what):
    """Nothing was lost, and every answer was right."""
    expect(not report["errors"], f"{what}: {report['errors']}")


def main_of(fn):
    """Runs a benchmark; a broken expectation is its exit status."""
    try:
        fn()
    except Failure as e:
        print(f"FAIL: {e}")
        sys.exit(1)
