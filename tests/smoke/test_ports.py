# SPDX-License-Identifier: Apache-2.0
"""Ports: what weirctl tells of them, links that go down and up, devices that go and come back, several ports, jumbo frames, bonds."""
import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import sys

from rig import PEER4, WEIR4, Rig, expect, expect_eq, ip, takes, wait_until

HERE = pathlib.Path(__file__).resolve().parent
BODY_BYTES = 24 << 20


def ports(rig):
    return {p["name"]: p for p in rig.weirctl_json("ports")["ports"]}


def link(rig, name):
    return ports(rig)[name]["link"]


def feature(port, name):
    return next(f for f in port["features"] if f["name"] == name)


def put_body(rig):
    """A file that nginx serves; its digest."""
    body = os.urandom(BODY_BYTES)
    (rig.dir / "www/big").write_bytes(body)
    (rig.dir / "www/big").chmod(0o644)
    return hashlib.sha256(body).hexdigest()


@contextlib.contextmanager
def download(rig, rate="4M"):
    """A slow one, which runs during the block; its digest is in the list afterwards."""
    out = rig.dir / "got"
    out.unlink(missing_ok=True)
    p = rig.spawn(["curl", "-sS", "-m", "180", "--limit-rate", rate, "-H", "Host: shop.example.com", "-o", out, f"http://{WEIR4}/files/big"],
                  stderr=subprocess.PIPE)
    result = []
    try:
        wait_until("the download has begun", lambda: out.exists() and out.stat().st_size > 1 << 20)
        yield result
        expect(p.poll() is None, "the download was over before the test was")
        err = p.communicate(timeout=200)[1]
        expect_eq((p.returncode, err), (0, b""), "how the download ended")
        result.append(hashlib.sha256(out.read_bytes()).hexdigest())
    finally:
        if p.poll() is None:
            p.kill()
            p.communicate()


def has_logged(rig, text):
    return text in (rig.dir / "dataplane.log").read_text()


def test_ports_say_who_does_what(make):
    for port, name, why in (("tap", "net_tap0", "net_tap computes in software itself"), ("af_packet", "net_af_packet0", "the device cannot")):
        with make(port=port, workers=2) as rig:
            rig.curl("/")
            p = ports(rig)[name]
            expect_eq((p["driver"], p["link"]["state"], p["mtu"]["used"], p["rx_queues"]["used"], p["tx_queues"]["used"], p["steering"]),
                      (name[:-1], "up", 1500, 2, 2, "redirect"), "driver, link, MTU, queues, steering")
            for f in ("rx-tcp-checksum", "tx-tcp-checksum", "tso"):
                expect_eq(feature(p, f)["by"], "software", f)
                expect(feature(p, f)["why"].startswith(why), f"{f}: {feature(p, f)['why']!r}")
            expect_eq(feature(p, "vlan-strip")["by"], "software", "who takes tags off")
            expect_eq(p["promiscuous"], {"wanted": True, "is": True}, "promiscuous")
            wait_until("the device's counts", lambda: ports(rig)[name]["statistics"]["rx_packets"] > 5)
            expect(rig.metrics()[f'weir_port_rx_missed_total{{port="{name}"}}'] >= 0, "no metric of what the device lost")
            text = rig.weirctl("ports")
            for part in (name, "link          up", "tx-tcp-checksum software", "lost in the device", "redirected between the workers"):
                expect(part in text, f"no {part!r} in {text}")


def test_the_drivers_own_counts_are_told_by_its_names(make):
    for port, name in (("tap", "net_tap0"), ("af_packet", "net_af_packet0")):
        with make(port=port, workers=2) as rig:
            rig.curl("/")
            wait_until("they are there", lambda: ports(rig)[name]["extended_statistics"].get("rx_good_packets", 0) > 5)
            p = ports(rig)[name]
            expect(all(v > 0 for v in p["extended_statistics"].values()), f"only what is not zero: {p['extended_statistics']}")
            expect_eq(p["extended_statistics_left_off"], 0, "left off")
            expect(p["extended_statistics"]["rx_good_packets"] <= ports(rig)[name]["statistics"]["rx_packets"] + 5, "they are the device's")
            text = rig.weirctl("ports", "-v")
            expect("    rx_good_packets" in text and "counts that are not zero" in text, f"in {text}")
            expect("rx_good_packets" not in rig.weirctl("ports"), "only with -v")
            expect_eq(rig.run([rig.build / "ctrl/weirctl", "-v", "status"], check=False).returncode, 2, "-v of another command")


def test_offloads_that_are_switched_off_say_so(make):
    with make(extra="offloads: {device: false, gro: false}") as rig:
        p = ports(rig)["net_tap0"]
        expect_eq(feature(p, "tx-tcp-checksum")["why"], "weir.yaml: offloads: {device: false}", "why")
        expect_eq((feature(p, "lro")["by"], feature(p, "lro")["why"]), ("nobody", "weir.yaml: offloads: {gro: false}"), "LRO")
        expect_eq((feature(p, "rss")["by"], p["steering"]), ("nobody", "one"), "RSS of one worker")


def flap(make, port, name):
    with make(port=port, workers=2) as rig:
        digest = put_body(rig)
        wait_until("the link is up", lambda: name in ports(rig) and link(rig, name)["state"] == "up")
        before = link(rig, name)  # a new interface may take a moment
        with download(rig) as got:
            ip("-n", rig.ns, "link", "set", "weir0", "down")
            wait_until("the link is down", lambda: link(rig, name)["state"] == "down")
            expect_eq(rig.metrics()[f'weir_port_up{{port="{name}"}}'], 0, "weir_port_up")
            said = rig.metric_sum("weir_arp_tx_total")
            ip("-n", rig.ns, "link", "set", "weir0", "up")
            wait_until("the link is up", lambda: link(rig, name)["state"] == "up")
            wait_until("the neighbours are told of the address again, three times", lambda: rig.metric_sum("weir_arp_tx_total") >= said + 3)
        expect_eq(got[0], digest, "what was downloaded while the link was down and came up")
        expect_eq(rig.curl("/")[0], 200, "a new request")
        at = link(rig, name)
        expect_eq((at["downs"] - before["downs"], at["ups"] - before["ups"], at["removals"]), (1, 1, 0), "times")
        expect(at["changed"] > 0, "no time of the last change")
        expect(has_logged(rig, f"port {name}: link down") and has_logged(rig, f"port {name}: link up"), "no line of the log")


def test_a_download_survives_a_link_flap_of_af_packet(make):
    flap(make, "af_packet", "net_af_packet0")


def test_a_download_survives_a_link_flap_of_a_tap(make):
    flap(make, "tap", "net_tap0")


SECOND4, SECOND_WEIR4 = "10.98.0.1", "10.98.0.2"


class TwoPorts(Rig):
    """Beside the rig's TAP, through which nginx is reached, a veth pair: its far end is in another namespace, where clients are."""
    mtu = 1500

    def _make_network(self):
        super()._make_network()
        self.far = self.name + "f"
        ip("netns", "add", self.far)
        self.plug()

    def plug(self):
        ip("link", "add", "far0", "netns", self.far, "type", "veth", "peer", "name", "port1", "netns", self.ns_weir)
        for ns, dev in ((self.far, "far0"), (self.ns_weir, "port1")):
            subprocess.run(["ip", "netns", "exec", ns, "ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off", "gro", "off"], check=True,
                           capture_output=True, timeout=30)
            ip("-n", ns, "link", "set", dev, "mtu", str(self.mtu), "up")
        ip("-n", self.far, "addr", "add", SECOND4 + "/24", "dev", "far0")

    def unplug(self):
        ip("-n", self.ns_weir, "link", "del", "port1")

    def vdev(self):
        return super().vdev() + f"\n    mtu: {self.mtu}"

    def _write_files(self):
        super()._write_files()
        path = self.dir / "weir.yaml"
        frames = ",blocksz=65536,framesz=16384,framecnt=128" if self.mtu > 1500 else ""
        path.write_text(path.read_text().replace("workers:", f"""  - vdev: net_af_packet1,iface=port1,qpairs={self.workers}{frames}
    mtu: {self.mtu}
    promiscuous: true
    reopen: true
    addresses: [{SECOND_WEIR4}/24]
workers:""", 1))

    def _clean(self):
        super()._clean()
        subprocess.run(["ip", "netns", "del", self.far], capture_output=True, timeout=30)

    def ask_far(self, path="/", seconds=20):
        """Through the second port: the answer's status and body; (0, b"") if there is none."""
        p = subprocess.run(["ip", "netns", "exec", self.far, "curl", "-sS", "-m", str(seconds), "-w", "%{http_code}", "-H", "Host: shop.example.com",
                            f"http://{SECOND_WEIR4}{path}"], capture_output=True, timeout=seconds + 60)
        return (int(p.stdout[-3:]), p.stdout[:-3]) if p.returncode == 0 else (0, b"")


def test_a_removed_port_leaves_the_other_alone_and_returns(make):
    with TwoPorts(make.args[0], workers=2) as rig:
        digest = put_body(rig)
        expect_eq(rig.ask_far()[0], 200, "through the second port")
        with download(rig, "2M") as got:
            for n in (1, 2):
                rig.unplug()
                wait_until("the port is removed", lambda: link(rig, "net_af_packet1")["state"] == "removed")
                expect_eq(rig.curl("/")[0], 200, "through the other port")
                rig.plug()
                wait_until("the port is back", lambda: link(rig, "net_af_packet1")["state"] == "up")
                expect_eq(rig.ask_far()[0], 200, "through the second port again")
                at = link(rig, "net_af_packet1")
                expect_eq((at["removals"], at["returns"]), (n, n), "times")
        expect_eq(got[0], digest, "what was downloaded through the other port meanwhile")
        expect(has_logged(rig, "port net_af_packet1: its device is gone") and has_logged(rig, "port net_af_packet1: its device is back"), "no line of the log")
        expect_eq(rig.metrics()['weir_port_removals_total{port="net_af_packet1"}'], 2, "weir_port_removals_total")


def test_a_removed_tap_is_made_again(make):
    with make(yaml_port="reopen: true") as rig:
        ip("-n", rig.ns, "link", "del", "weir0")
        wait_until("the port is back", lambda: link(rig, "net_tap0")["returns"] == 1 and link(rig, "net_tap0")["state"] == "up")
        ip("-n", rig.ns, "addr", "replace", PEER4 + "/24", "dev", "weir0")
        expect_eq(rig.curl("/")[0], 200, "through the new TAP")


def test_a_tap_that_moves_to_another_namespace_is_not_removed(make):
    with make() as rig:
        other = rig.ns + "o"
        ip("netns", "add", other)
        try:
            ip("-n", rig.ns, "link", "set", "weir0", "netns", other)
            ip("-n", other, "addr", "add", PEER4 + "/24", "dev", "weir0")
            ip("-n", other, "link", "set", "weir0", "up")
            p = subprocess.run(["ip", "netns", "exec", other, "ping", "-c", "3", "-i", "0.5", "-W", "10", WEIR4], capture_output=True, timeout=60)
            expect_eq(p.returncode, 0, f"ping: {p.stdout!r}")
            at = link(rig, "net_tap0")
            expect_eq((at["state"], at["removals"]), ("up", 0), "state")
        finally:
            subprocess.run(["ip", "netns", "del", other], capture_output=True, timeout=30)


class Jumbo(TwoPorts):
    mtu = 9000


def test_jumbo_frames_where_a_port_takes_them(make):
    """The second port has them; net_tap takes none, and says so."""
    with Jumbo(make.args[0], workers=2, yaml_pools=", mbuf_bytes: 16384") as rig:
        digest = put_body(rig)
        expect_eq([p["mtu"]["used"] for p in ports(rig).values()], [1500, 9000], "MTU")
        expect(has_logged(rig, "takes no larger MTU than"), "no word of the smaller MTU")
        status, body = rig.ask_far("/files/big", 120)
        expect_eq((status, hashlib.sha256(body).hexdigest()), (200, digest), "through the second port")
        wait_until("the device's counts", lambda: ports(rig)["net_af_packet1"]["statistics"]["tx_bytes"] > BODY_BYTES)
        p = ports(rig)["net_af_packet1"]["statistics"]
        expect(p["tx_bytes"] / p["tx_packets"] > 4000, f"{p['tx_bytes'] / p['tx_packets']} bytes in a frame of MTU 9000")
        got = subprocess.run(["ip", "netns", "exec", rig.far, "ping", "-c", "1", "-s", "8900", "-M", "do", "-W", "20", SECOND_WEIR4], capture_output=True, timeout=60)
        expect_eq(got.returncode, 0, f"ping of 8900 bytes: {got.stdout!r}")


class Bond(Rig):
    """Two TAP devices in a bond; their kernel's ends are ports of a bridge, weir0, that do not speak to each other: a switch."""
    mode = "802.3ad"

    def _write_files(self):
        super()._write_files()
        path = self.dir / "weir.yaml"
        path.write_text(path.read_text().replace("- vdev: net_tap0,iface=weir0", f"""- bond: {{mode: {self.mode}, members: ["net_tap0,iface=a0", "net_tap1,iface=a1"]}}"""))

    def start_dataplane(self):
        ip("-n", self.ns, "link", "add", "weir0", "type", "bridge", "forward_delay", "0")
        ip("-n", self.ns, "link", "set", "weir0", "up")
        super().start_dataplane()
        for dev in ("a0", "a1"):
            self.hide(dev)
            ip("-n", self.ns, "link", "set", dev, "master", "weir0", "up")
            subprocess.run(["ip", "netns", "exec", self.ns, "bridge", "link", "set", "dev", dev, "isolated", "on"], check=True, timeout=30)
        if self.mode == "802.3ad":
            with open(self.dir / "lacp.log", "wb") as log:
                self.procs["lacp"] = self.spawn([sys.executable, HERE / "lacp_peer.py", "a0", "a1"], stdout=log)

    def hide(self, dev):
        """net_tap gives the kernel's end its own link address: the bridge would look for Weir there and nowhere else."""
        ip("-n", self.ns, "link", "set", dev, "address", f"02:00:00:00:aa:{dev[1:]:0>2}")

    def set(self, dev, state):
        ip("-n", self.ns, "link", "set", dev, state)
        for each in ("a0", "a1"):
            self.hide(each)

    def active(self):
        """Members that carry traffic."""
        return sorted(m["name"] for m in ports(self)["net_bonding0"]["bond"]["members"] if m["active"])


class ActiveBackup(Bond):
    mode = "active-backup"


class BalanceXor(Bond):
    mode = "balance-xor"


def use_bond(rig):
    """Requests go on while one of two links is down, wait while both are, and go on."""
    wait_until("the bond is up", lambda: link(rig, "net_bonding0")["state"] == "up" and rig.active())
    digest = put_body(rig)
    expect_eq(rig.curl("/")[0], 200, "through the bond")
    p = ports(rig)["net_bonding0"]
    expect_eq((p["driver"], p["bond"]["mode"], len(p["bond"]["members"])), ("net_bonding", rig.mode, 2), "driver, mode, members")
    with download(rig, "700k") as got:
        for dev in ("a0", "a1"):
            other = "net_tap1" if dev == "a0" else "net_tap0"
            if rig.mode == "active-backup" and rig.active() == [other]:
                continue  # the one that took over stays in charge
            rig.set(dev, "down")
            wait_until("the other member carries all", lambda: rig.active() == [other])
            expect_eq(rig.curl("/")[0], 200, f"without {dev}")
            rig.set(dev, "up")
            wait_until("both members' links are up", lambda: all(m["link"] for m in ports(rig)["net_bonding0"]["bond"]["members"]))
            if rig.mode != "active-backup":
                wait_until("both members carry traffic", lambda: len(rig.active()) == 2)
        rig.set("a0", "down")
        rig.set("a1", "down")
        wait_until("the bond is down", lambda: link(rig, "net_bonding0")["state"] == "down")
        rig.set("a0", "up")
        rig.set("a1", "up")
        wait_until("the bond is up again", lambda: link(rig, "net_bonding0")["state"] == "up")
        expect_eq(rig.curl("/")[0], 200, "through the bond that is up again")
    expect_eq(got[0], digest, "what was downloaded meanwhile")


@takes(25)
def test_a_bond_by_lacp_survives_its_members(make):
    with Bond(make.args[0], workers=2, sanitizers=make.keywords["sanitizers"]) as rig:
        use_bond(rig)
        expect("a0 up" in (rig.dir / "lacp.log").read_text(), "the switch saw no partner")


@takes(20)
def test_a_bond_with_a_backup_survives_its_members(make):
    with ActiveBackup(make.args[0]) as rig:
        use_bond(rig)


def test_a_bond_that_balances_uses_both_members(make):
    """net_tap does not tell of its link, which the log says: links stay up here."""
    with BalanceXor(make.args[0], workers=2) as rig:
        digest = put_body(rig)
        wait_until("both members carry traffic", lambda: len(rig.active()) == 2)
        with download(rig) as got:
            for n in range(20):  # ports that connect() chooses itself are all even, which is what the link is chosen by
                expect_eq(rig.curl("/", args=("--local-port", str(21000 + n)))[0], 200, "through the bond")
        expect_eq(got[0], digest, "what was downloaded")
        sent = [int((json.loads(rig.run(["ip", "-s", "-j", "link", "show", dev]).stdout)[0])["stats64"]["rx"]["packets"]) for dev in ("a0", "a1")]
        expect(min(sent) > 20, f"packets that came by each link: {sent}")
        expect(has_logged(rig, "balance-xor goes on to send there"), "no warning")


for test in (test_a_bond_with_a_backup_survives_its_members, test_a_bond_that_balances_uses_both_members):
    test.not_sanitized = True  # as by LACP
