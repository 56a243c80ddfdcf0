# SPDX-License-Identifier: Apache-2.0
"""One proxy at a time between the two ends of weir-blast, or between wrk and an origin, and what it cost its core.

Over memif: a Bench (bench.py). Over veth: two namespaces, one of the load and one of
the proxy, with two pairs of interfaces between them, one for clients and one for
the origin. weir-blast sits on its ends by af_xdp, so the generator is the same for
all proxies. The proxy has a core to itself, the load the other.

What is fair on this wire, and set for all alike: checksums are computed and checked
in software at both ends (af_xdp has no offload of them), segments on the wire are
at most 1,514 bytes. What the kernel does for a proxy is done on the proxy's core
(receive packet steering), since in a machine with a NIC it would not be
done by the clients; only the driver's part (veth's) is the sender's. The kernel's
proxies have GRO and software GSO on their ends, as they would with a NIC.
"""
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import time

from bench import HOST, Bench, Failure, counter, end_process, expect, idle_keys, wait_until
from procs import debian_has_h2o

HERE = pathlib.Path(__file__).resolve().parent
CLIENT_SIDE, GATEWAY, ORIGIN_SIDE, VETH_ORIGIN = "10.1.0.1", "10.1.0.254", "10.2.0.1", "10.2.0.16"
CLIENTS = "10.64.0.0/10"
LOAD_CORE, PROXY_CORE = 0, min(1, (os.cpu_count() or 1) - 1)
MEMIF, AF_XDP, AF_PACKET = "Weir, memif", "Weir, af_xdp", "Weir, af_packet"
NGINX, HAPROXY, H2O = "nginx", "HAProxy", "h2o"
PEERS = (NGINX, HAPROXY, H2O) if debian_has_h2o() else (NGINX, HAPROXY)
OVER_VETH = (AF_XDP, *PEERS, AF_PACKET)
SLOTS = 1 << 19 # connections of one request each: an address and port comes again after so many
# Neither queue of the veths may lose frames because too many are under way: 16 connections are 724 frames.
FLIGHT = 65536
WINDOW = 65536
more_xdp = "" # arguments of all af_xdp ports, to be tried
SYSCTLS = { # of the kernel's proxies, in a namespace of their own
    "net.core.somaxconn": "65535", # bursts of new connections
    "net.ipv4.tcp_max_syn_backlog": "65535", # likewise
    "net.ipv4.tcp_syncookies": "0", # the load is no attack
    "net.ipv4.ip_local_port_range": "1024 65535", # connections to the origin
    "net.ipv4.tcp_tw_reuse": "1", # likewise
    "net.ipv4.tcp_max_tw_buckets": "262144", # connections of one request leave one each
    "net.ipv4.tcp_slow_start_after_idle": "0", # connections to the origin rest between two requests
    "net.ipv4.tcp_no_metrics_save": "1", # 100,000 client addresses, nothing worth remembering
    "net.ipv4.conf.all.rp_filter": "0", # no second look at routes
    "net.ipv4.conf.default.rp_filter": "0", # likewise
}


def ip(*args):
    subprocess.run(["ip", *map(str, args)], check=True, capture_output=True, timeout=30)


def in_namespace(ns, *argv, check=True, **kw):
    return subprocess.run(["ip", "netns", "exec", ns, *map(str, argv)], check=check, capture_output=True, timeout=30, **kw)


# -- what a core did

def core_times(core):
    """Seconds of a core since boot, by name. Idle time is exact, the other ones are sampled by the kernel's tick."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            return dict(zip(names, (int(v) / os.sysconf("SC_CLK_TCK") for v in line.split()[1:])))
    raise Failure(f"no core {core}")


class CoreUse:
    """Within a with-block: what happened to a core. seconds: wall clock; used: not idle; parts: where the kernel saw it."""

    def __init__(self, core):
        self.core = core

    def __enter__(self):
        self.began, self.before = time.monotonic(), core_times(self.core)
        return self

    def __exit__(self, *_):
        after = core_times(self.core)
        self.seconds = time.monotonic() - self.began
        self.parts = {k: round(v - self.before[k], 3) for k, v in after.items()}
        others = () if os.nice(0) > 0 else ("nice",) # work at a low priority, unless that is ours
        rest = sum(self.parts[k] for k in ("idle", "iowait", "steal", *others))
        self.used = min(max(self.seconds - rest, 1e-3), self.seconds)


def process_seconds(pid):
    """CPU time of a process and its children that live."""
    total = 0.0
    pids = [pid, *(int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    for p in pids:
        fields = pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


class Contestant(Bench):
    """A Bench whose proxy has a core to itself. See the constructor of Bench."""

    label = MEMIF

    def __init__(self, build, idle_us=0, stage_timers=False, **kw):
        self.stage_timers = stage_timers
        super().__init__(build, workers=[PROXY_CORE], core=LOAD_CORE, slots=SLOTS, idle_us=idle_us,
                         timeouts={"drain_ms": 100}, **kw)

    def _place(self, name):
        """Pollers choose their cores themselves."""
        return [] if name in ("dataplane", "blast") else ["taskset", "-c", str(LOAD_CORE)]

    def _workers(self):
        more = ", stage_timers: true" if self.stage_timers else ""
        return f"workers: {{cores: {self.workers}, main_core: {LOAD_CORE}, {idle_keys(self.idle_us)}{more}}}\n"

    def _ports(self):
        return re.sub(r"^workers: .*\n", self._workers(), super()._ports(), flags=re.M)

    def cost(self, line):
        """A phase, with what it cost: report["cost"]."""
        with CoreUse(PROXY_CORE) as use, CoreUse(LOAD_CORE) as load:
            r = self.measure(line)
        self._add_cost(r, use, load)
        return r

    def _add_cost(self, r, use, load):
        """Of a core that polls, the time without work is not used."""
        thread = r["weir"]["cpu_seconds"][0]
        # what the phase took, not what asking weirctl before and after it did
        polled = thread * (1 - r["weir"]["busy_shares"][0])
        used = max(min(use.used, use.seconds) - polled, 1e-3)
        put_cost(r, use, load, used, {"thread_seconds": thread, "busy_share_of_loops": r["weir"]["busy_shares"][0]})


def put_cost(r, use, load, used, more):
    r["cost"] = {"used_seconds": used, "wall_seconds": use.seconds, "share": min(used / r.get("seconds", use.seconds), 1.0), "generator_share": r["busy_share"],
                 "responses_per_used_second": r["responses"] / used, "core": use.parts, "load_core": load.parts, **more}


class Veth(Contestant):
    """The same in two namespaces. load: 'blast' or 'wrk'."""

    origin = VETH_ORIGIN
    gro = "off"

    def __init__(self, build, load="blast", **kw):
        self.load = load
        super().__init__(build, blast=["--source", ORIGIN_SIDE, "--flight", FLIGHT, "--window", WINDOW], **kw)

    def _name_spaces(self):
        name = f"weir-bench{os.getpid()}-{next(counter)}"
        self.spaces = {"load": name + "-l", "proxy": name + "-p"}

    def __enter__(self):
        self._name_spaces()
        try:
            self._make_network()
        except BaseException:
            self._remove_network()
            raise
        return super().__enter__() # which cleans up if it fails

    def _make_network(self):
        load, proxy = self.spaces["load"], self.spaces["proxy"]
        for ns in (load, proxy):
            ip("netns", "add", ns)
            ip("-n", ns, "link", "set", "lo", "up")
        for pair in ("client", "origin"):
            ip("link", "add", pair + "0", "netns", load, "numtxqueues", 1, "numrxqueues", 1, "type", "veth",
               "peer", "name", pair + "1", "netns", proxy, "numtxqueues", 1, "numrxqueues", 1)
            self._set_up(load, pair + "0", LOAD_CORE, "off")
            self._set_up(proxy, pair + "1", PROXY_CORE, self.gro)
        ip("-n", load, "addr", "add", GATEWAY + "/24", "dev", "client0")
        ip("-n", load, "addr", "add", VETH_ORIGIN + "/24", "dev", "origin0")
        self._set_sysctls(load)

    def _set_up(self, ns, dev, core, merge):
        in_namespace(ns, "ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", merge, "gro", merge)
        in_namespace(ns, "sh", "-c", f"echo {1 << core:x} > /sys/class/net/{dev}/queues/rx-0/rps_cpus")
        ip("-n", ns, "link", "set", dev, "up")

    def _set_sysctls(self, ns):
        in_namespace(ns, "sysctl", "-qw", *(f"{k}={v}" for k, v in SYSCTLS.items()))

    def _remove_network(self):
        for ns in self.spaces.values():
            subprocess.run(["ip", "netns", "del", ns], capture_output=True, timeout=30)

    def _place(self, name):
        ns = self.spaces["load" if name in ("blast", "wrk", "origin") else "proxy"]
        core = [] if name in ("dataplane", "blast") else ["taskset", "-c", str(PROXY_CORE if name == self.proxy else LOAD_CORE)]
        return ["ip", "netns", "exec", ns, *core]

    def _blast_ports(self):
        return ["--port", "net_af_xdp0,iface=client0", "--port", "net_af_xdp1,iface=origin0,busy_budget=0"]

    def _start_blast(self):
        if self.load == "blast":
            super()._start_blast()
            return
        for d in ("body", "temp", "fastcgi", "uwsgi", "scgi"):
            (self.dir / d).mkdir(exist_ok=True)
        self._spawn("origin", ["nginx", "-p", self.dir, "-c", HERE / "peers/origin.conf", "-e", "stderr"], preexec_fn=raise_limits)

    def _wait_for_connection(self):
        if self.load == "blast":
            super()._wait_for_connection()
            return
        wait_until(f"{self.label} answers", lambda: self._curl() == "200" or self.has_ended(self.proxy))
        expect(not self.has_ended(self.proxy), f"{self.proxy} ended at the start")

    def _curl(self):
        return in_namespace(self.spaces["load"], "curl", "-s", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {HOST}",
                            f"http://{CLIENT_SIDE}/", check=False).stdout.decode()

    def _quiet_blast(self):
        self.is_blast_alone = False
        if self.load == "blast":
            super()._quiet_blast()

    def wrk(self, seconds, connections, is_shot):
        """wrk's own count, in the form of a report of weir-blast."""
        argv = [*self._place("wrk"), "wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--latency", "-H", f"Host: {HOST}",
                *(["-H", "Connection: close"] if is_shot else []), f"http://{CLIENT_SIDE}/"]
        with CoreUse(PROXY_CORE) as use, CoreUse(LOAD_CORE) as load:
            r = self._around_wrk(argv)
        r["busy_share"] = load.used / load.seconds
        self._add_cost(r, use, load)
        return r

    def _around_wrk(self, argv):
        return run_wrk(argv)

    def _clean(self):
        super()._clean()
        self._remove_network()


class VethWeir(Veth):
    """Weir on the proxy's ends, by af_xdp or af_packet."""


    def __init__(self, build, label, **kw):
        self.label = label
        super().__init__(build, **kw)

    def _ports(self):
        driver = f"net_af_xdp{{}},iface={{}}{more_xdp}" if self.label == AF_XDP else "net_af_packet{},iface={}"
        ring = "    descriptors: 2048\n" if self.label == AF_XDP else ""
        text = "ports:\n"
        for i, (dev, addr, more) in enumerate((("client1", CLIENT_SIDE, f"    gateways: [{GATEWAY}]\n"), ("origin1", ORIGIN_SIDE, ""))):
            text += f"  - vdev: {driver.format(i, dev)}\n    promiscuous: true\n    addresses: [{addr}/24]\n{more}{ring}"
        return text + self._workers()

    def _around_wrk(self, argv):
        """As measure(), around wrk."""
        return self.measure_around(lambda: run_wrk(argv))


class VethPeer(Veth):
    """A proxy of the kernel's sockets."""

    gro = "on"
    proxy = "peer"

    def __init__(self, build, label, **kw):
        self.label = label
        super().__init__(build, **kw)

    def _make_network(self):
        super()._make_network()
        ns = self.spaces["proxy"]
        ip("-n", ns, "addr", "add", CLIENT_SIDE + "/24", "dev", "client1")
        ip("-n", ns, "addr", "add", ORIGIN_SIDE + "/24", "dev", "origin1")
        ip("-n", ns, "route", "add", CLIENTS, "via", GATEWAY)
        for addr, dev in ((GATEWAY, "client"), (VETH_ORIGIN, "origin")):
            ip("-n", ns, "neigh", "replace", addr, "lladdr", self._mac("load", dev + "0"), "nud", "permanent", "dev", dev + "1")
        self._set_sysctls(ns)

    def _mac(self, space, dev):
        out = subprocess.run(["ip", "-j", "-n", self.spaces[space], "link", "show", dev], check=True, capture_output=True, timeout=30)
        return json.loads(out.stdout)[0]["address"]

    def _write_files(self):
        for d in ("body", "temp", "fastcgi", "uwsgi", "scgi"):
            (self.dir / d).mkdir(exist_ok=True)

    def _start_proxy(self):
        argv = {NGINX: ["nginx", "-p", self.dir, "-c", HERE / "peers/nginx.conf", "-e", "stderr"],
                HAPROXY: ["haproxy", "-db", "-f", HERE / "peers/haproxy.cfg"],
                H2O: ["h2o", "-c", HERE / "peers/h2o.conf"]}[self.label]
        self._spawn("peer", argv, preexec_fn=raise_limits)
        wait_until(f"{self.label} listens", lambda: self.has_ended("peer") or self._listens())
        expect(not self.has_ended("peer"), f"{self.label} does not start")

    def _listens(self):
        return b":80" in in_namespace(self.spaces["proxy"], "ss", "-Hltn", "sport = :80").stdout

    def _stop(self, name, seconds=30):
        """HAProxy and h2o wait for clients when they are asked to end: they are killed. nginx has a worker to end."""
        if name != "peer":
            return super()._stop(name, seconds)
        p = self.procs.pop(name)
        end_process(p, seconds, signal.SIGTERM if self.label == NGINX else signal.SIGKILL)
        return 0

    def _show_drops(self):
        pass # of Weir only

    def measure(self, line):
        before = process_seconds(self.procs["peer"].pid)
        r = self.phase(line)
        r["peer"] = {"cpu_seconds": process_seconds(self.procs["peer"].pid) - before}
        return r

    def _add_cost(self, r, use, load):
        put_cost(r, use, load, use.used, r.get("peer", {}))


def raise_limits():
    """As many descriptors as we may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run_wrk(argv):
    p = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    expect(p.returncode == 0, f"wrk ended with {p.returncode}: {p.stderr}")
    total = re.search(r"(\d+) requests in", p.stdout)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", p.stdout)
    expect(total and rate, f"wrk says: {p.stdout}")
    errors = {}
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", p.stdout)
    if bad:
        errors["bad_status"] = int(bad.group(1))
    bad = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", p.stdout)
    if bad:
        errors.update({f"socket_{k}": int(v) for k, v in zip(("connect", "read", "write", "timeout"), bad.groups()) if int(v)})
    return {"responses": int(total.group(1)), "requests_per_second": float(rate.group(1)), "errors": errors, "tsc_hz": 0, "wrk": p.stdout}


def contestant(build, label, **kw):
    """A Contestant by its label."""
    if label == MEMIF:
        return Contestant(build, **kw)
    return (VethWeir if label in (AF_XDP, AF_PACKET) else VethPeer)(build, label, **kw)
