# SPDX-License-Identifier: Apache-2.0
"""A node of a cluster and a pod on it, as kernels have them: two namespaces, a route between them, and, where wanted, the
kernel's vxlan device with what flannel writes beside it. Weir is at the other end."""
import os
import shutil
import subprocess

from rig import PEER4, PEER6, WEIR4, WEIR6, Rig, ip, wait_until

NODE4, NODE6 = "10.99.0.21", "fd99::21"  # on Weir's link
FAR4, FAR6 = "10.98.0.21", "fd98::21"  # behind a router
ROUTER4, ROUTER6 = "10.98.0.1", "fd98::1"
POD4, POD6 = "10.244.1.2", "fd44:1::2"
POD4_NET, POD6_NET = "10.244.1.0/24", "fd44:1::/64"
OURS4, OURS6 = "10.244.9.0", "fd44:9::"  # Weir within the tunnels
OUR_MAC, NODE_MAC = "02:00:00:00:99:02", "02:00:00:00:99:21"
VNI, PORT = 7, 8472
POD_PORT = 8090
ROUTER = ("tx", "off", "tso", "off", "gso", "off", "gro", "off", "lro", "off")


def sysctl(ns, *settings):
    subprocess.run(["ip", "netns", "exec", ns, "sysctl", "-q", "-w", *settings], check=True, capture_output=True, timeout=30)


def forwards(ns):
    sysctl(ns, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")


def netns(ns, *argv, check=True):
    return subprocess.run(["ip", "netns", "exec", ns, *map(str, argv)], check=check, capture_output=True, timeout=60)


def weir_yaml(via4, via6, tunnel):
    """Lines of weir.yaml: the ways to both prefixes of the pod."""
    mac = f', mac: "{NODE_MAC}"' if tunnel else ""
    lines = [f'routes: [{{prefix: {POD4_NET}, via: "{via4}"{mac}}}, {{prefix: "{POD6_NET}", via: "{via6}"{mac}}}]']
    if tunnel:
        end = f'mac: "{OUR_MAC}", vni: {VNI}, port: {PORT}'
        lines.append(f'vxlan: [{{source: {OURS4}, {end}}}, {{source: "{OURS6}", {end}}}]')
    return "\n".join(lines)


class Node:
    """Of a rig with a TAP. far: behind the peers' namespace, which routes; mtu: of that link."""

    def __init__(self, rig: Rig, far=False, mtu=1500):
        self.rig, self.far, self.mtu = rig, far, mtu
        self.ns, self.pod = rig.name + "n", rig.name + "p"
        self.addr4, self.addr6 = (FAR4, FAR6) if far else (NODE4, NODE6)

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(self, *_):
        self._clean()

    def _clean(self):
        self.rig.stop("nginx-pod") if "nginx-pod" in self.rig.procs else None
        for ns in (self.pod, self.ns):
            subprocess.run(["ip", "netns", "del", ns], capture_output=True, timeout=30)

    def _make(self):
        for ns in (self.ns, self.pod):
            ip("netns", "add", ns)
            ip("-n", ns, "link", "set", "lo", "up")
        forwards(self.ns)
        self._uplink()
        ip("link", "add", "pod0", "netns", self.ns, "type", "veth", "peer", "name", "eth0", "netns", self.pod)
        for ns, dev in ((self.ns, "pod0"), (self.pod, "eth0")):
            netns(ns, "ethtool", "-K", dev, *ROUTER, check=False)
            ip("-n", ns, "link", "set", dev, "up")
        self._addr(self.ns, "pod0", "10.244.1.1/24", "fd44:1::1/64")
        self._addr(self.pod, "eth0", POD4 + "/24", POD6 + "/64")
        ip("-n", self.pod, "route", "add", "default", "via", "10.244.1.1")
        ip("-n", self.pod, "-6", "route", "add", "default", "via", "fd44:1::1")
        self._serve()

    @staticmethod
    def _addr(ns, dev, a4, a6):
        ip("-n", ns, "addr", "add", a4, "dev", dev)
        ip("-n", ns, "-6", "addr", "add", a6, "dev", dev, "nodad")

    def _uplink(self):
        if not self.far:
            ip("-n", self.rig.ns, "link", "add", "link", "weir0", "name", "up0", "type", "macvlan", "mode", "bridge")
            ip("-n", self.rig.ns, "link", "set", "up0", "netns", self.ns)
            netns(self.ns, "ethtool", "-K", "up0", *ROUTER, check=False)
            self._addr(self.ns, "up0", NODE4 + "/24", NODE6 + "/64")
            ip("-n", self.ns, "link", "set", "up0", "up")
            return
        forwards(self.rig.ns)
        ip("link", "add", "down0", "netns", self.rig.ns, "type", "veth", "peer", "name", "up0", "netns", self.ns)
        for ns, dev, a4, a6 in ((self.rig.ns, "down0", ROUTER4, ROUTER6), (self.ns, "up0", FAR4, FAR6)):
            netns(ns, "ethtool", "-K", dev, *ROUTER, check=False)
            ip("-n", ns, "link", "set", dev, "mtu", str(self.mtu), "up")
            self._addr(ns, dev, a4 + "/24", a6 + "/64")
        ip("-n", self.ns, "route", "add", "default", "via", ROUTER4)
        ip("-n", self.ns, "-6", "route", "add", "default", "via", ROUTER6)

    def _serve(self):
        conf = self.rig.dir / "nginx-pod.conf"
        www = self.rig.dir / "www"
        conf.write_text(f"""daemon off; worker_processes 1; pid {self.rig.dir}/nginx-pod.pid; user root;
error_log {self.rig.dir}/nginx-pod-error.txt;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; keepalive_timeout 600s; client_max_body_size 0;
  client_body_temp_path {self.rig.dir}/pb; proxy_temp_path {self.rig.dir}/pp; fastcgi_temp_path {self.rig.dir}/pf;
  uwsgi_temp_path {self.rig.dir}/pu; scgi_temp_path {self.rig.dir}/ps;
  server {{ listen {POD4}:{POD_PORT}; listen [{POD6}]:{POD_PORT}; root {www};
    location / {{ return 200 "pod $remote_addr $server_addr\\n"; }}
    location /steady {{ return 200 '{{"pod": "p"}}'; }}
    location /files/ {{ alias {www}/; }}
    location /up/ {{ dav_methods PUT; }} }} }}
""")
        self.rig._spawn("nginx-pod", ["nginx", "-c", conf, "-e", self.rig.dir / "nginx-pod-error.txt"], self.pod)
        wait_until("nginx of the pod", lambda: netns(self.pod, "curl", "-s", "-m", "20", f"http://{POD4}:{POD_PORT}/", check=False).returncode == 0)

    def tunnel(self, outer):
        """What flannel makes: a device without learning, and a route, a neighbour and a forwarding entry for the other end."""
        local, remote = (self.addr4, WEIR4) if outer == 4 else (self.addr6, WEIR6)
        ip("-n", self.ns, "link", "add", "vx0", "type", "vxlan", "id", str(VNI), "dstport", str(PORT), "local", local,
           "dev", "up0", "nolearning")
        ip("-n", self.ns, "link", "set", "vx0", "address", NODE_MAC, "up")
        netns(self.ns, "bridge", "fdb", "append", OUR_MAC, "dev", "vx0", "dst", remote)
        for family, ours in (("-4", OURS4), ("-6", OURS6)):
            ip("-n", self.ns, family, "neigh", "add", ours, "lladdr", OUR_MAC, "dev", "vx0", "nud", "permanent")
            ip("-n", self.ns, family, "route", "add", ours, "dev", "vx0")
        return self

    def native(self):
        """The pod's answers go by the node's own link."""
        return self

    def counters(self):
        """What the node's kernel counted, {name: value}."""
        out = {}
        for f in ("snmp", "netstat"):
            lines = netns(self.ns, "cat", f"/proc/net/{f}").stdout.decode().splitlines()
            for names, values in zip(lines[::2], lines[1::2]):
                kind, names = names.split(":")
                out.update({f"{kind}{k}": int(v) for k, v in zip(names.split(), values.split(":")[1].split())})
        for line in netns(self.ns, "cat", "/proc/net/snmp6").stdout.decode().splitlines():
            out[line.split()[0]] = int(line.split()[1])
        return out

    def mss(self, family):
        """What the pod's kernel sends in one segment to Weir, of all its connections of this family."""
        text = netns(self.pod, "ss", f"-{family}tinH", "state", "established", "sport", "=", f":{POD_PORT}").stdout.decode()
        return {int(w.split(":")[1]) for w in text.split() if w.startswith("mss:")}


def has_tools():
    return all(shutil.which(t) for t in ("bridge", "ss", "ethtool")) and os.path.isdir("/proc/sys/net")
