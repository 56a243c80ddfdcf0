# SPDX-License-Identifier: Apache-2.0
"""Weir's addresses announced by FRR over the exception path: two nodes with Weir, a router, and a client behind it."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from frr import Frr
from procs import end_process, sanitizer_env, sanitizer_reports, show_logs
from rig import NOBODY, Failure, counter, expect, expect_eq, gateway, ingress, ip, service, slice_, takes, wait_until

VIP4, VIP6 = "203.0.113.10", "2001:db8:77::10"
CLIENT4, CLIENT6 = "10.98.0.2", "fd98::2"
WEB = 8081
BIG = 64 << 20

SERVER = r"""
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        n = int(sys.argv[2]) if self.path == "/big" else 3
        self.send_response(200); self.send_header("Content-Length", str(n)); self.end_headers()
        while n > 0:
            k = min(n, 65536); self.wfile.write(b"x" * k); n -= k
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[3])), H).serve_forever()
"""

# Frames that nobody wants, as fast as one process sends them: datagrams to the kernel's address, ARP, ICMP, unknown EtherTypes.
FLOOD = r"""
import socket, struct, sys, time
dev, dst_mac, src_mac, dst, seconds = sys.argv[1], *(bytes.fromhex(a.replace(":", "")) for a in sys.argv[2:4]), sys.argv[4], float(sys.argv[5])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((dev, 0))
def sum16(b):
    n = sum(struct.unpack(f"!{len(b) // 2}H", b))
    while n >> 16:
        n = (n >> 16) + (n & 0xffff)
    return ~n & 0xffff
def ip(proto, payload):
    h = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0, socket.inet_aton("198.51.100.7"), socket.inet_aton(dst))
    return h[:10] + struct.pack("!H", sum16(h)) + h[12:] + payload
echo = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + bytes(32)
echo = echo[:2] + struct.pack("!H", sum16(echo)) + echo[4:]
arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, src_mac, socket.inet_aton("10.98.1.77"), bytes(6), socket.inet_aton("10.98.1.78"))
frames = [dst_mac + src_mac + b"\x08\x00" + ip(17, struct.pack("!HHHH", 7, 9, 40, 0) + bytes(32)),
          dst_mac + src_mac + b"\x08\x00" + ip(1, echo),
          b"\xff" * 6 + src_mac + b"\x08\x06" + arp + bytes(18),
          dst_mac + src_mac + b"\x88\xb5" + bytes(46)]
end, n = time.monotonic() + seconds, 0
while time.monotonic() < end:
    for f in frames * 16:
        try:
            s.send(f)
            n += 1
        except OSError:
            pass
print(n)
"""


def in_ns(ns, *argv, check=True, timeout=120):
    p = subprocess.run(["ip", "netns", "exec", ns, *map(str, argv)], capture_output=True, timeout=timeout)
    if check and p.returncode != 0:
        raise Failure(f"{argv} ended with {p.returncode}: {p.stderr.decode(errors='replace')[-2000:]}")
    return p


class Node:
    """A namespace with Weir on one end of a veth pair, whose other end is the router's; FRR beside it."""

    def __init__(self, net, number, build, extra="", learns=False):
        self.net, self.number, self.build = net, number, pathlib.Path(build).resolve()
        self.ns = f"{net.name}n{number}"
        self.dir = net.dir / f"node{number}"
        self.router4, self.router6 = f"10.98.{number}.1", f"fd98:{number}::1"
        self.kernel4, self.kernel6 = f"10.98.{number}.3", f"fd98:{number}::3"
        self.dev = f"r{number}"  # the router's end
        self.procs = {}
        self.frr = None
        self.extra = extra
        self.learns = learns  # its gateways by BGP, and none from weir.yaml

    def make(self):
        self.dir.mkdir()
        self.dir.chmod(0o755)
        ip("netns", "add", self.ns)
        ip("-n", self.ns, "link", "set", "lo", "up")
        ip("link", "add", self.dev, "netns", self.net.router, "type", "veth", "peer", "name", "port0", "netns", self.ns)
        for ns, dev in ((self.net.router, self.dev), (self.ns, "port0")):
            in_ns(ns, "ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
            if dev == "port0":  # see rig.py
                ip("-n", ns, "link", "set", dev, "addrgenmode", "none")
            ip("-n", ns, "link", "set", dev, "up")
        ip("-n", self.ns, "link", "add", "nowhere", "type", "bridge")  # see rig.py
        ip("-n", self.ns, "link", "set", "port0", "master", "nowhere")
        ip("-n", self.net.router, "addr", "add", self.router4 + "/24", "dev", self.dev)
        ip("-n", self.net.router, "addr", "add", self.router6 + "/64", "dev", self.dev, "nodad")
        n = self.number
        (self.dir / "weir.yaml").write_text(f"""ports:
  - vdev: net_af_packet0,iface=port0
    promiscuous: true
    addresses: [10.98.{n}.2/24, "fd98:{n}::2/64", {VIP4}/32, "{VIP6}/128"]
    {"" if self.learns else f'gateways: [{self.router4}, "{self.router6}"]'}
    kernel: {{interface: k0, addresses: [{self.kernel4}/24, "{self.kernel6}/64"], learn_routes: {str(self.learns).lower()}}}
listen: [{VIP4}, "{VIP6}"]
workers: {{cores: [{n % os.cpu_count()}], idle: sleep}}
memory: {{hugepages: false, arena_mb: 16}}
pools: {{mbufs: 16384, connections: 4096, requests: 512, backends: 256, endpoints: 256}}
control: {{socket: {self.dir}/dataplane.sock, user: {NOBODY}}}
timeouts: {{drain_ms: 3000, connect_ms: 60000}}
bgp:
  asn: 64512
  keepalive_s: 1
  hold_s: 3
  neighbors:
    - {{address: {self.router4}, asn: 64500}}
    - {{address: "{self.router6}", asn: 64500}}
{self.extra}
""")

    def spawn(self, name, *argv):
        with open(self.dir / f"{name}.log", "ab") as log:
            self.procs[name] = subprocess.Popen(["ip", "netns", "exec", self.ns, *map(str, argv)], stdout=log, stderr=log,
                                                stdin=subprocess.DEVNULL, env=sanitizer_env())

    def start_dataplane(self):
        self.spawn("dataplane", self.build / "dataplane/weir-dataplane", "-c", self.dir / "weir.yaml")
        wait_until("control socket", lambda: self.procs["dataplane"].poll() is not None or (self.dir / "dataplane.sock").exists(), 120)
        expect(self.procs["dataplane"].poll() is None, "the dataplane runs")

    def start_ctrl(self):
        self.spawn("ctrl", self.build / "ctrl/weir-ctrl", "--manifests", self.net.dir / "manifests", "--socket", self.dir / "dataplane.sock",
                   "--admin", "127.0.0.1:9901", "--user", "nobody")
        wait_until("weir-ctrl is healthy", lambda: in_ns(self.ns, "curl", "-sf", "http://127.0.0.1:9901/healthz", check=False).returncode == 0)

    def start_frr(self):
        config = in_ns(self.ns, self.build / "dataplane/weir-dataplane", "-c", self.dir / "weir.yaml", "--print-frr").stdout.decode()
        self.frr = Frr(self.ns, self.net.dir / f"frr{self.number}", config)
        self.frr.__enter__()

    def end(self):
        """The exit statuses of what did not end well."""
        bad = [f"node {self.number}: {name} ended with {rc}" for name in ("ctrl", "dataplane") if name in self.procs
               for rc in [end_process(self.procs.pop(name))] if rc != 0]
        if self.frr:
            self.frr.__exit__()
        bad += sanitizer_reports(self.dir)
        subprocess.run(["ip", "netns", "del", self.ns], capture_output=True, timeout=30)
        return bad

    def metric(self, name, part=""):
        text = in_ns(self.ns, "curl", "-sf", "http://127.0.0.1:9901/metrics").stdout.decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name and part in line)


class Net:
    def __init__(self, rig, n_nodes, extra="", learns=False):
        self.build = rig.args[0]  # of the partial
        self.name = f"weir-b{os.getpid()}-{next(counter)}"
        self.router, self.client = self.name + "r", self.name + "c"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=self.name + "-"))
        self.nodes = [Node(self, i + 1, self.build, extra, learns) for i in range(n_nodes)]
        self.learns = learns
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.dir.chmod(0o755)
        try:
            self._make()
        except BaseException:
            self._show()
            self._end()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind:
            self._show()
        bad = self._end()
        if bad and not kind:
            raise Failure("; ".join(bad))

    def _show(self):
        for n in self.nodes:
            show_logs(n.dir)
        show_logs(self.dir / "frr0", ("*.txt",))

    def _end(self):
        bad = [b for n in self.nodes for b in n.end()]
        self.stack.close()
        for ns in (self.router, self.client):
            subprocess.run(["ip", "netns", "del", ns], capture_output=True, timeout=30)
        shutil.rmtree(self.dir, ignore_errors=True)
        return bad

    def _make(self):
        for ns in (self.router, self.client):
            ip("netns", "add", ns)
            ip("-n", ns, "link", "set", "lo", "up")
        in_ns(self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.fib_multipath_hash_policy=1",
              "net.ipv6.fib_multipath_hash_policy=1")
        ip("link", "add", "c0", "netns", self.router, "type", "veth", "peer", "name", "eth0", "netns", self.client)
        for ns, dev, n in ((self.router, "c0", 1), (self.client, "eth0", 2)):
            ip("-n", ns, "addr", "add", f"10.98.0.{n}/24", "dev", dev)
            ip("-n", ns, "addr", "add", f"fd98::{n}/64", "dev", dev, "nodad")
            ip("-n", ns, "link", "set", dev, "up")
        ip("-n", self.client, "route", "add", "default", "via", "10.98.0.1")
        ip("-n", self.client, "-6", "route", "add", "default", "via", "fd98::1")
        (self.dir / "manifests").mkdir()
        (self.dir / "manifests" / "all.yaml").write_text(
            service("web") + slice_("web", CLIENT4, WEB) + ingress("shop", "shop.example.com", [("/", "Prefix", "web")]))
        server = subprocess.Popen(["ip", "netns", "exec", self.client, sys.executable, "-c", SERVER, CLIENT4, str(BIG), str(WEB)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stack.callback(end_process, server, 10, signal.SIGKILL)
        wait_until("the backend", lambda: in_ns(self.client, "curl", "-sf", f"http://{CLIENT4}:{WEB}/", check=False).returncode == 0)
        for n in self.nodes:
            n.make()
        self.frr = self.stack.enter_context(Frr(self.router, self.dir / "frr0", self._router_config()))
        for n in self.nodes:
            n.start_dataplane()
            n.start_frr()

    def _router_config(self):
        peers = [(n.kernel4, n.kernel6) for n in self.nodes]
        lines = ["router bgp 64500", " bgp router-id 10.98.0.1", " no bgp ebgp-requires-policy", " no bgp default ipv4-unicast",
                 " bgp bestpath as-path multipath-relax"]
        for pair in peers:
            for p in pair:
                lines += [f" neighbor {p} remote-as 64512", f" neighbor {p} timers connect 1"]
        for family, k in (("ipv4", 0), ("ipv6", 1)):
            lines += [f" address-family {family} unicast", "  maximum-paths 8", *(f"  neighbor {pair[k]} activate" for pair in peers),
                      *(f"  neighbor {pair[k]} default-originate" for pair in peers if self.learns),
                      " exit-address-family"]
        return "\n".join(lines) + "\n"

    def hops(self, vip):
        """Next hops that the router's kernel has for an address."""
        flag = ["-6"] if ":" in vip else []
        routes = json.loads(in_ns(self.router, "ip", "-j", *flag, "route", "show", f"{vip}/{128 if flag else 32}").stdout or "[]")
        return {h.get("gateway") or h.get("via", {}).get("host") for r in routes for h in r.get("nexthops", [r])}

    def n_hops(self, vip):
        return len(self.hops(vip))

    def get(self, vip=VIP4, path="/", args=("-m", "20"), check=True):
        host = f"[{vip}]" if ":" in vip else vip
        return in_ns(self.client, "curl", "-sSg", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", "-H", "Host: shop.example.com", *args,
                     f"http://{host}{path}", check=check)

    def serve(self):
        for n in self.nodes:
            n.start_ctrl()
        for vip in (VIP4, VIP6):
            wait_until(f"all nodes announce {vip}", lambda v=vip: self.n_hops(v) == len(self.nodes))


def test_bgp_announces_when_there_are_routes_and_withdraws_at_a_drain(rig):
    with Net(rig, 1) as net:
        node = net.nodes[0]
        for a in (node.kernel4, node.kernel6):
            wait_until("the session", lambda addr=a: net.frr.is_established(addr))
        expect_eq(net.hops(VIP4) | net.hops(VIP6), set(), "next hops before weir-ctrl has sent routes")
        net.serve()
        for vip, hop in ((VIP4, node.kernel4), (VIP6, node.kernel6)):
            wait_until("the announcement", lambda v=vip, h=hop: h in net.hops(v) or (":" in v and net.hops(v)))
            expect_eq(net.get(vip).stdout, b"200 3", f"answer at {vip}")
        began = time.monotonic()
        node.procs["dataplane"].send_signal(signal.SIGTERM)
        wait_until("withdrawn", lambda: not net.hops(VIP4) and not net.hops(VIP6))
        print(f"      withdrawn {(time.monotonic() - began) * 1000:.0f} ms after the signal")
        # Who comes all the same is still served, by a route of the test's own.
        ip("-n", net.router, "route", "add", f"{VIP4}/32", "via", node.kernel4)
        expect_eq(net.get().stdout, b"200 3", "answer behind the withdrawal")
        expect_eq(node.procs.pop("dataplane").wait(60), 0, "the dataplane's exit status")


@takes(20)
def test_bgp_two_nodes_share_the_load_and_a_drain_loses_no_request(rig):
    with Net(rig, 2) as net:
        net.serve()
        for _ in range(40):
            expect_eq(net.get().stdout, b"200 3", "answer")
        counts = [n.metric("weir_http_requests_total") for n in net.nodes]
        expect(min(counts) > 0, f"both nodes get requests: {counts}")
        node = net.nodes[0]
        node.procs["dataplane"].send_signal(signal.SIGTERM)
        n = 0
        while node.procs["dataplane"].poll() is None:
            expect_eq(net.get().stdout, b"200 3", f"answer {n} while a node drains")
            n += 1
        expect(n > 5, f"{n} requests while the node drained")
        expect_eq(node.procs.pop("dataplane").returncode, 0, "the dataplane's exit status")
        expect_eq(net.hops(VIP4), {net.nodes[1].kernel4}, "next hops behind the drain")
        node.start_dataplane()
        wait_until("the node is back", lambda: net.n_hops(VIP4) == 2)


@takes(20)
def test_bgp_the_successor_of_a_download_goes_to_the_other_node(rig):
    with Net(rig, 2) as net:
        net.serve()
        again = ("until curl -sS -o /dev/null --connect-timeout 2 --speed-time 4 --speed-limit 1 --limit-rate 8M -w '%{http_code} %{size_download} ' "
                 f"-H 'Host: shop.example.com' http://{VIP4}/big; do sleep 0.5; done")
        downloads = [subprocess.Popen(["ip", "netns", "exec", net.client, "sh", "-c", again], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                     for _ in range(8)]
        wait_until("downloads over both", lambda: all(n.metric("weir_http_body_bytes_down_total") > 1 << 20 for n in net.nodes))
        net.nodes[0].procs.pop("dataplane").kill()
        wait_until("the router has seen it", lambda: net.hops(VIP4) == {net.nodes[1].kernel4})
        n_tries = []
        for d in downloads:
            tries = d.communicate(timeout=120)[0].split()
            expect_eq(tries[-2:], [b"200", str(BIG).encode()], "the download's end")
            n_tries.append(len(tries) // 2)
        expect(max(n_tries) > 1, f"some downloads were cut by the crash: {n_tries} tries")


@takes(15)
def test_bgp_session_outlives_a_flood_of_what_nobody_wants(rig):
    with Net(rig, 1, "kernel_path: {other_per_s: 500, icmp_per_s: 500, neighbour_per_s: 500}") as net:
        net.serve()
        node = net.nodes[0]
        before = net.frr.neighbor(node.kernel4)
        mac = json.loads(in_ns(node.ns, "ip", "-j", "link", "show", "port0").stdout)[0]["address"]
        own = json.loads(in_ns(net.router, "ip", "-j", "link", "show", node.dev).stdout)[0]["address"]
        p = in_ns(net.router, sys.executable, "-c", FLOOD, node.dev, mac, own, node.kernel4, "10")  # three times hold_s
        print(f"      {int(p.stdout)} frames in 10 s")
        after = net.frr.neighbor(node.kernel4)
        expect_eq((after["bgpState"], after["connectionsEstablished"]), ("Established", before["connectionsEstablished"]), "the session")
        expect_eq(net.get().stdout, b"200 3", "answer behind the flood")
        for reason in ("other", "icmp", "neighbour"):
            expect(node.metric("weir_drops_total", f'"kernel_rate_{reason}"') > 0, f"some of class {reason} were dropped")


def test_bgp_teaches_weir_its_way_out(rig):
    with Net(rig, 1, learns=True) as net:
        net.serve()
        wait_until("the way out", lambda: net.get(args=("-m", "3"), check=False).stdout == b"200 3")
        for vip in (VIP4, VIP6):
            expect_eq(net.get(vip, "/big", ("-m", "60")).stdout, f"200 {BIG}".encode(), f"a download from {vip}")
        net.frr.vtysh("configure terminal", "router bgp 64500", "address-family ipv4 unicast", "no neighbor 10.98.1.3 default-originate")
        wait_until("the way is taken back", lambda: net.get(args=("-m", "2"), check=False).returncode != 0)
        drops = lambda: net.nodes[0].metric("weir_drops_total", '"no_route"')
        wait_until("and is missed by its name", lambda: drops() > 0)


for test in (test_bgp_two_nodes_share_the_load_and_a_drain_loses_no_request, test_bgp_the_successor_of_a_download_goes_to_the_other_node,
             test_bgp_session_outlives_a_flood_of_what_nobody_wants):
    test.not_sanitized = True  # what they do to Weir's code the others do, in less time
