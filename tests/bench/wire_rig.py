# SPDX-License-Identifier: Apache-2.0
"""Namespaces for the TCP benchmark: a client behind weir-wire, and two senders on its far side.

    client -- near0 [weir-wire] far0 -- Linux: nginx, the kernel's TCP
                                far1 -- Weir (or, to test the rig, nginx as a proxy) -- clean link -- origin: nginx

Both senders give the same file. What a run changes (loss, delay, rate) is the wire's, which is started for each run; the
rest stays up.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "smoke"))
from procs import end_process, sanitizer_env, sanitizer_reports, show_logs  # noqa: E402
from rig import Failure, expect, ingress, ip, service, slice_, wait_until  # noqa: E402

CLIENT, LINUX, WEIR = "10.98.0.1", "10.98.0.2", "10.98.0.3"
ORIGIN, WEIR_UP = "10.97.0.1", "10.97.0.2"
ORIGIN_PORT, HOST, PATH = 8080, "bench.example.com", "/big"
FAR = {"linux": "far0", "weir": "far1"}
SENDERS = {"linux": LINUX, "weir": WEIR}
SYSCTLS = {  # the same in every namespace
    "net.ipv4.tcp_rmem": "4096 4194304 16777216",
    "net.ipv4.tcp_wmem": "4096 262144 8388608",
    "net.ipv4.tcp_no_metrics_save": "1",  # a run teaches the next one nothing
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
}
SEND_BUFFER, RECEIVE_BUFFER, MBUFS = 4 << 20, 512 << 10, 131072  # of Weir: what it receives comes over a clean, short link
CONTENT_MB = 128
HERE = pathlib.Path(__file__).resolve().parent


class WireRig:
    """See the module's text. instead: None, or 'kernel' for nginx as the proxy. extra: lines for weir.yaml.

    realtime: the wire and Weir run before other programs (SCHED_FIFO), as a wire and a core of one's own would.
    """

    def __init__(self, build, instead=None, extra="", realtime=True, linux_cc="cubic", content_mb=CONTENT_MB):
        self.build = pathlib.Path(build).resolve()
        self.instead, self.extra, self.linux_cc, self.content_mb = instead, extra, linux_cc, content_mb
        self.before = ["chrt", "-f", "10"] if realtime else []
        self.name = f"weir-wr{os.getpid()}"
        self.spaces = {k: f"{self.name}-{k}" for k in ("client", "wire", "linux", "weir", "origin")}
        self.procs = {}
        self.dir = self.wire = self.wire_log = None
        self.next_port = 20000
        self.softnet0 = 0

    def __enter__(self):
        base = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=self.name + "-", dir=base))
        self.dir.chmod(0o755)
        try:
            self._make_content()
            self._make_network()
            self._start_nginx("linux", self._file_server(f"{LINUX}:80"))
            self._start_nginx("origin", self._file_server(f"{ORIGIN}:{ORIGIN_PORT}"))
            if self.instead == "kernel":
                self._start_nginx("weir", self._proxy_server())
            else:
                self._start_weir()
            self._look_at_connections()
            self.softnet0 = softnet_drops()
        except BaseException:
            show_logs(self.dir)
            self._clean()
            raise
        return self

    def __exit__(self, kind, value, tb):
        problems = []
        if kind is not None:
            show_logs(self.dir)
        elif self.instead is None:
            for name in ("ctrl", "dataplane"):
                rc = end_process(self.procs.pop(name), 20)
                if rc != 0:
                    problems.append(f"{name} ended with {rc}")
            problems += sanitizer_reports(self.dir)
        self._clean()
        expect(not problems, "; ".join(problems))

    # -- start and stop

    def _make_content(self):
        self.content = self.dir / "big"
        with open(self.content, "wb") as f:
            for _ in range(self.content_mb):
                f.write(os.urandom(1 << 20))

    def _make_network(self):
        for ns in self.spaces.values():
            ip("netns", "add", ns)
            ip("-n", ns, "link", "set", "lo", "up")
            for key, value in SYSCTLS.items():
                self.run_in(ns, ["sysctl", "-qw", f"{key}={value}"])
        s = self.spaces
        self._link(s["client"], "eth0", s["wire"], "near0")
        self._link(s["linux"], "eth0", s["wire"], "far0")
        self._link(s["weir"], "eth0", s["wire"], "far1")
        self._link(s["origin"], "eth0", s["weir"], "up0")
        self._set_address(s["client"], CLIENT, "eth0")
        self._set_address(s["linux"], LINUX, "eth0")
        self._set_address(s["origin"], ORIGIN, "eth0")
        if self.instead == "kernel":
            self._set_address(s["weir"], WEIR, "eth0")
            self._set_address(s["weir"], WEIR_UP, "up0")

    def _link(self, ns_a, dev_a, ns_b, dev_b):
        ip("link", "add", dev_a, "netns", ns_a, "type", "veth", "peer", "name", dev_b, "netns", ns_b)
        for ns, dev in ((ns_a, dev_a), (ns_b, dev_b)):
            self.run_in(ns, ["ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])
            ip("-n", ns, "link", "set", dev, "up")

    def _set_address(self, ns, addr, dev):
        """The route names the congestion control: a namespace's sysctl takes only what the whole machine allows."""
        ip("-n", ns, "addr", "add", addr + "/24", "dev", dev)
        net = addr.rsplit(".", 1)[0] + ".0/24"
        ip("-n", ns, "route", "replace", net, "dev", dev, "src", addr, "proto", "kernel", "scope", "link",
           "congctl", self.linux_cc)

    def _file_server(self, listen):
        return f"server {{ listen {listen}; root {self.dir}; sendfile on; tcp_nopush on; }}"

    def _proxy_server(self):
        return f"""server {{ listen {WEIR}:80; location / {{ proxy_pass http://{ORIGIN}:{ORIGIN_PORT};
      proxy_http_version 1.1; proxy_max_temp_file_size 0; proxy_buffers 16 64k; proxy_buffer_size 64k; }} }}"""

    def _start_nginx(self, space, server):
        conf = self.dir / f"{space}.conf"
        temp = " ".join(f"{kind}_temp_path {self.dir}/{space}-{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf.write_text(f"""daemon off; worker_processes 1; pid {self.dir}/{space}.pid; user root;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000; send_timeout 300s; {temp}
  {server} }}
""")
        self.procs[f"nginx-{space}"] = self._spawn(f"nginx-{space}", self.spaces[space], ["nginx", "-c", conf, "-e", f"{conf}.log"])

    def _start_weir(self):
        ring = "framecnt=4096,qdisc_bypass=1"
        (self.dir / "weir.yaml").write_text(f"""ports:
  - vdev: "net_af_packet0,iface=eth0,{ring}"
    promiscuous: true
    addresses: [{WEIR}/24]
  - vdev: "net_af_packet1,iface=up0,{ring}"
    promiscuous: true
    addresses: [{WEIR_UP}/24]
listen: [{WEIR}]
workers: {{cores: [0], idle: sleep}}
memory: {{hugepages: false, arena_mb: 16}}
pools: {{mbufs: {MBUFS}, connections: 4096, requests: 512, backends: 64, endpoints: 64}}
limits: {{send_buffer_bytes: {SEND_BUFFER}, receive_buffer_bytes: {RECEIVE_BUFFER}}}
control: {{socket: {self.dir}/dataplane.sock, user: 65534}}
timeouts: {{drain_ms: 1000, body_ms: 120000}}
{self.extra}
""")
        manifests = self.dir / "manifests"
        manifests.mkdir()
        (manifests / "bench.yaml").write_text(service("big") + slice_("big", ORIGIN, ORIGIN_PORT) +
                                              ingress("big", HOST, [("/", "Prefix", "big")]))
        ns = self.spaces["weir"]
        dataplane = self.procs["dataplane"] = self._spawn(
            "dataplane", ns, [*self.before, self.build / "dataplane/weir-dataplane", "-c", self.dir / "weir.yaml"])
        wait_until("control socket", lambda: dataplane.poll() is not None or (self.dir / "dataplane.sock").exists(), 120)
        expect(dataplane.poll() is None, f"dataplane ended with {dataplane.poll()}")
        ctrl = self.procs["ctrl"] = self._spawn(
            "ctrl", ns, [self.build / "ctrl/weir-ctrl", "--manifests", manifests, "--socket", self.dir / "dataplane.sock",
                         "--admin", "127.0.0.1:9901", "--user", "nobody"])
        wait_until("weir-ctrl is healthy", lambda: ctrl.poll() is not None or self.run_in(
            ns, ["curl", "-sf", "-m", "20", "http://127.0.0.1:9901/healthz"], check=False).returncode == 0)
        expect(ctrl.poll() is None, f"weir-ctrl ended with {ctrl.poll()}")

    def _look_at_connections(self):
        """Both senders answer, and the Linux one uses what it was told to."""
        self.start_wire("--delay-us", "2000", "--rate-kbit", "20000", "--queue-bytes", "1000000")
        sink = self._start_sink([("linux", 0), ("weir", 0)], 1, 100)
        look = ["ss", "-Htin", "state", "established"]
        seen = ""

        def is_seen():
            nonlocal seen
            seen = self.run_in(self.spaces["linux"], look).stdout.decode()
            return "cwnd:" in seen or sink.poll() is not None
        wait_until("the Linux sender sends", is_seen)
        flows = json.loads(sink.communicate(timeout=180)[0])
        self.stop_wire()
        expect(f" {self.linux_cc} " in seen, f"the Linux sender does not use {self.linux_cc}: {seen}")
        for f in flows:
            expect(not f["error"], f"{f['sender']}: {f['error']}")

    def _spawn(self, name, ns, argv, stdout=None):
        with open(self.dir / f"{name}.log", "ab") as log:
            return subprocess.Popen(["ip", "netns", "exec", ns, *map(str, argv)], stdout=stdout or log, stderr=log,
                                    stdin=subprocess.DEVNULL, env=sanitizer_env())

    def _clean(self):
        for p in ([self.wire] if self.wire else []) + list(self.procs.values()):
            end_process(p, 20)
        for ns in self.spaces.values():
            subprocess.run(["ip", "netns", "del", ns], capture_output=True, timeout=30)
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- doing things

    def run_in(self, ns, argv, check=True, timeout=120):
        p = subprocess.run(["ip", "netns", "exec", ns, *map(str, argv)], capture_output=True, timeout=timeout)
        if check and p.returncode != 0:
            raise Failure(f"{' '.join(map(str, argv))} ended with {p.returncode}: {p.stderr.decode(errors='replace')[-2000:]}")
        return p

    def weirctl(self, *args):
        return self.run_in(self.spaces["weir"], [self.build / "ctrl/weirctl", *args]).stdout.decode()

    def start_wire(self, *options):
        argv = [*self.before, self.build / "tests/bench/weir-wire", "--near", "near0", "--far", "far0,far1", *options]
        self.wire = self._spawn("wire", self.spaces["wire"], argv, stdout=subprocess.PIPE)
        line = self.wire.stdout.readline()
        expect(line == b"ready\n", f"weir-wire said {line!r}")

    def stop_wire(self):
        """Its statistics."""
        wire, self.wire = self.wire, None
        wire.terminate()
        out, _ = wire.communicate(timeout=60)
        expect(wire.returncode == 0, f"weir-wire ended with {wire.returncode}")
        return json.loads(out.decode().splitlines()[-1])

    def _start_sink(self, flows, seconds, interval_ms):
        ports, spec = {}, []
        for sender, start_ms in flows:
            ports[sender] = ports.get(sender, -1) + 1
            spec.append({"addr": SENDERS[sender], "port": 80, "host": HOST, "local_port": self.next_port + ports[sender],
                         "start_ms": start_ms, "sender": sender})
        self.next_port = 20000 + (self.next_port - 20000 + max(ports.values()) + 1) % 12000
        argv = [sys.executable, HERE / "sink.py", json.dumps({
            "seconds": seconds, "interval_ms": interval_ms, "content": str(self.content), "path": PATH, "flows": spec})]
        return self._spawn("sink", self.spaces["client"], argv, stdout=subprocess.PIPE)

    def download(self, flows, seconds, interval_ms=100):
        """flows: [(sender, start_ms)]. Flow i of each sender has the same port of the client, so the wire loses the same of it.

        Returns a list of the sink's results with the sender added.
        """
        sink = self._start_sink(flows, seconds, interval_ms)
        out, _ = sink.communicate(timeout=seconds + 300)
        expect(sink.returncode == 0, f"sink.py ended with {sink.returncode}")
        return json.loads(out)

    def kernel_drops(self):
        """Packets that the kernel dropped between the namespaces since the start, on the whole machine."""
        return softnet_drops() - self.softnet0


def softnet_drops():
    with open("/proc/net/softnet_stat") as f:
        return sum(int(line.split()[1], 16) for line in f)
