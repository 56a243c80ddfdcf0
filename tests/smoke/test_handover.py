# SPDX-License-Identifier: Apache-2.0
"""One dataplane takes over from another one on the same link, which has the same addresses to serve on."""
import contextlib
import hashlib
import json
import os
import pathlib
import signal
import subprocess

from procs import sanitizer_env
from rig import NOBODY, PEER4, PEER6, Failure, Rig, expect, expect_eq, ip, wait_until

VIP4, VIP6 = "10.99.0.100", "fd99::100"
HERE = pathlib.Path(__file__).resolve().parent
BIG = 48 << 20


class Pair(Rig):
    """Two dataplanes, 'dataplane' and 'second', each with a weir-ctrl, on a bridge that the peers are on, too."""

    def __init__(self, make, workers=1):
        super().__init__(make.args[0], port="af_packet", workers=workers, sanitizers=make.keywords.get("sanitizers", False),
                         timeouts="drain_ms: 60000", extra=f'listen: [{VIP4}, "{VIP6}"]\nhandover: true')
        self.ns_second = self.name + "s"

    def _make_network(self):
        super()._make_network()
        ip("netns", "add", self.ns_second)
        ip("-n", self.ns_second, "link", "set", "lo", "up")
        ip("link", "add", "lan1", "netns", self.ns, "type", "veth", "peer", "name", "port0", "netns", self.ns_second)
        for ns, dev in ((self.ns, "lan1"), (self.ns_second, "port0")):
            subprocess.run(["ip", "netns", "exec", ns, "ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off", "gro", "off"], check=True,
                           capture_output=True, timeout=30)
        ip("-n", self.ns_second, "link", "set", "port0", "addrgenmode", "none")
        ip("-n", self.ns_second, "link", "add", "nowhere", "type", "bridge")
        ip("-n", self.ns_second, "link", "set", "port0", "master", "nowhere")
        ip("-n", self.ns_second, "link", "set", "port0", "up")
        # weir0, where the rig puts the peers' addresses, becomes the bridge; what was weir0 is a port of it
        ip("-n", self.ns, "link", "set", "weir0", "down")
        ip("-n", self.ns, "link", "set", "weir0", "name", "lan0")
        ip("-n", self.ns, "link", "add", "weir0", "type", "bridge", "forward_delay", "0")
        for dev in ("lan0", "lan1"):
            ip("-n", self.ns, "link", "set", dev, "master", "weir0")
            ip("-n", self.ns, "link", "set", dev, "up")
        ip("-n", self.ns, "link", "set", "weir0", "up")

    def _write_files(self):
        super()._write_files()
        nginx = self.dir / "nginx.conf"
        nginx.write_text(nginx.read_text().replace("location /echo", 'location /steady { return 200 \'{"pod": "p"}\'; }\n    location /echo', 1))
        path = self.dir / "weir.yaml"
        text = path.read_text()
        first = text.replace("addresses: [", f'addresses: [{VIP4}/32, "{VIP6}/128", ', 1)
        path.write_text(first)
        (self.dir / "second.yaml").write_text(first.replace("10.99.0.2/24", "10.99.0.3/24").replace("fd99::2/64", "fd99::3/64")
                                              .replace("dataplane.sock", "second.sock"))

    def _clean(self):
        super()._clean()
        subprocess.run(["ip", "netns", "del", self.ns_second], capture_output=True, timeout=30)

    def start_second(self):
        self._spawn("second", [self.build / "dataplane/weir-dataplane", "-c", self.dir / "second.yaml"], self.ns_second)
        wait_until("control socket", lambda: self.procs["second"].poll() is not None or (self.dir / "second.sock").exists(), 120)
        expect(self.procs["second"].poll() is None, "the second dataplane runs")
        self._spawn("ctrl-second", [self.build / "ctrl/weir-ctrl", "--manifests", self.dir / "manifests", "--socket", self.dir / "second.sock",
                                    "--admin", "127.0.0.1:9902", "--user", "nobody", "--capture-token", self.dir / "second.token"], self.ns)
        wait_until("its weir-ctrl is healthy", lambda: self.run(["curl", "-sf", "http://127.0.0.1:9902/healthz"], check=False).returncode == 0)

    def count(self, name, port=9901):
        text = self.run(["curl", "-sf", f"http://127.0.0.1:{port}/metrics"]).stdout.decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.split("{")[0] == name)


@contextlib.contextmanager
def steady(rig):
    """Clients that do not stop; nothing of theirs fails."""
    stop = rig.dir / "stop"
    procs = [rig.spawn(["python3", HERE / "steady.py", vip, "shop.example.com", stop, "--clients", "4", "--gap", "0.01"], stdout=subprocess.PIPE)
             for vip in (VIP4, VIP6)]
    try:
        yield
    finally:
        stop.write_text("")
        out = [json.loads(p.communicate(timeout=120)[0]) for p in procs]
    for r in out:
        expect_eq(r["failed"][:5], [], "requests that failed")
        expect(r["ok"] > 50, f"{r['ok']} requests")


def check_takeover(make, workers):
    with Pair(make, workers) as rig:
        body = os.urandom(BIG)
        (rig.dir / "www/big").write_bytes(body)
        (rig.dir / "www/big").chmod(0o644)
        digest = hashlib.sha256(body).hexdigest()
        with steady(rig):
            slow = [(vip, rig.spawn(["curl", "-sSg", "-m", "200", "--limit-rate", "6M", "-H", "Host: shop.example.com", "-o", rig.dir / f"got{i}",
                                     f"http://{f'[{vip}]' if ':' in vip else vip}/files/big"], stderr=subprocess.PIPE), rig.dir / f"got{i}")
                    for i, vip in enumerate((VIP4, VIP6))]
            wait_until("downloads have begun", lambda: all(p.exists() and p.stat().st_size > 1 << 20 for _, _, p in slow))
            rig.start_second()
            wait_until("new requests come to the second", lambda: rig.count("weir_http_requests_total", 9902) > 20)
            wait_until("what is the first one's goes on to it", lambda: rig.count("weir_handover_forwarded_packets_total", 9902) > 0, 10)
            old = rig.procs["dataplane"]
            old.send_signal(signal.SIGTERM)
            for vip, p, path in slow:
                err = p.communicate(timeout=200)[1]
                expect_eq((p.returncode, err), (0, b""), f"how the download from {vip} ended")
                expect_eq(hashlib.sha256(path.read_bytes()).hexdigest(), digest, "what was downloaded")
            expect_eq(old.wait(90), 0, "the first one's exit status")
            rig.procs.pop("dataplane")
            before = rig.count("weir_http_requests_total", 9902)
            wait_until("requests go on", lambda: rig.count("weir_http_requests_total", 9902) > before + 50)
        rig.stop("ctrl")
        for name in ("ctrl-second", "second"):
            expect_eq(rig.stop(name), 0, f"how {name} ended")


def test_a_dataplane_takes_over_and_loses_nothing(make):
    check_takeover(make, 1)


def test_a_dataplane_of_two_workers_takes_over_and_loses_nothing(make):
    check_takeover(make, 2)
