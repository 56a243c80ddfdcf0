# SPDX-License-Identifier: Apache-2.0
"""A second guest of scripts/vm-check, nearer to a server: two NUMA nodes with a NIC each, NICs that are unplugged and plugged in by QEMU, a bond
against the kernel's by LACP, and systemd that starts a dataplane again whose worker is stuck."""
import contextlib
import json
import re
import shutil
import socket
import subprocess
import threading
import time

from vm import Failure, Nic, Vm, ip

NAME = "metal"
WAIT_S = 180.0
WORKERS = {0: (1, 0), 1: (3, 1)}  # of each its core, and that one's node
N_MBUFS = 8192
MARK = "copies-of-this-name.example.com"  # in the routes, and in no request
BOND_PCI = ["0000:00:18.0", "0000:00:19.0"]
PARTNER_PCI = ["0000:00:1a.0", "0000:00:1b.0"]


def wait_until(what, is_so, seconds=WAIT_S):
    """Of what is_so() returned last, once it is true. What fails in it may be of a start that takes its time."""
    end = time.monotonic() + seconds
    while True:
        try:
            got, why = is_so(), ""
        except (Failure, TimeoutError, subprocess.SubprocessError, ValueError) as e:
            got, why = None, f": {e}"
        if got:
            return got
        if time.monotonic() > end:
            raise Failure(f"not within {seconds:.0f} s: {what}{why}")
        time.sleep(0.5)


class MetalVm(Vm):
    """NIC i is on node i, behind a root port of its own, so that it can be unplugged. Two more NICs are for a bond, two are their other ends."""

    def pci(self, i):
        return f"0000:{0x41 + 0x40 * i:02x}:00.0"

    def device(self, i):
        """As -device and device_add want it."""
        nic = self.nics[i]
        return {"driver": nic.model, "id": f"nic{i}", "netdev": f"n{i}", "mac": f"52:54:00:77:00:{i:02x}", "bus": f"rp{i}", "mq": True,
                "vectors": 2 * nic.queues + 2, "disable-legacy": "on", "iommu_platform": True, "ats": True}

    def _nic_options(self, i, nic):
        yield from ("-netdev", f"tap,id=n{i},ifname=tap{i},script=no,downscript=no,queues={nic.queues}",
                    "-device", f"pxb-pcie,id=pxb{i},bus=pcie.0,bus_nr={0x40 + 0x40 * i},numa_node={i}",
                    "-device", f"pcie-root-port,id=rp{i},bus=pxb{i},chassis={i + 1},slot={i + 1}", "-device", json.dumps(self.device(i)))

    def _more_options(self):
        half = self.memory_mb // 2
        for node in (0, 1):
            yield from ("-object", f"memory-backend-ram,id=node{node},size={half}M",
                        "-numa", f"node,nodeid={node},cpus={2 * node}-{2 * node + 1},memdev=node{node}")
        for i in (0, 1):  # a cable each. Linux is not told of the link of QEMU 7.2's e1000e, which also cuts long segments into IP fragments here
            for end, slot, model in (("bond", 0x18, "e1000e"), ("partner", 0x1a, "virtio-net-pci,disable-legacy=on,speed=1000,duplex=full")):
                yield from ("-netdev", f"hubport,id=net-{end}{i},hubid={i}",
                            "-device", f"{model},id={end}{i},netdev=net-{end}{i},mac=52:54:00:77:{slot:02x}:{i:02x},bus=pcie.0,addr=0x{slot + i:x}")
        yield from ("-chardev", f"socket,id=qmp,path={self.dir / 'qmp.sock'},server=on,wait=off", "-mon", "chardev=qmp,mode=control")

    def qmp(self, command, **arguments):
        """Asks QEMU itself. What it tells meanwhile is kept in events."""
        if not getattr(self, "qmp_file", None):
            self.events = []
            self.qmp_socket = socket.socket(socket.AF_UNIX)
            self.qmp_socket.settimeout(60)
            self.qmp_socket.connect(str(self.dir / "qmp.sock"))
            self.qmp_file = self.qmp_socket.makefile("rw")
            self.qmp_file.readline()
            self.qmp("qmp_capabilities")
        self.qmp_file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.qmp_file.flush()
        while True:
            line = json.loads(self.qmp_file.readline())
            if "error" in line:
                raise Failure(f"QEMU, {command}: {line['error']}")
            if "return" in line:
                return line["return"]
            self.events.append(line)

    def is_unplugged(self, i):
        self.qmp("query-status")
        return any(e["event"] == "DEVICE_DELETED" and e["data"].get("device") == f"nic{i}" for e in self.events)

    def _clean(self):
        if getattr(self, "qmp_file", None):
            self.qmp_file.close()
            self.qmp_socket.close()
        super()._clean()


def yaml(ports, workers, more="", user=65534):
    return f"""ports:
{ports}workers: {{cores: [{", ".join(str(c) for c in workers)}], main_core: 0, idle: sleep}}
memory: {{hugepages: true, arena_mb: 16}}
pools: {{mbufs: {N_MBUFS}, connections: 1024, requests: 256, backends: 256, endpoints: 1024}}
control: {{socket: /run/weir/dataplane.sock, user: {user}}}
{more}"""


class Metal:
    def __init__(self, check, vm):
        self.check, self.vm = check, vm

    # Weir in the guest

    def two_ports(self, user=65534):
        ports = "".join(f'  - pci: "{self.vm.pci(i)}"\n    addresses: [10.77.{i}.2/24]\n' + (f"    gateways: [10.77.{i}.1]\n" if i == 0 else "") for i in (0, 1))
        return yaml(ports, [core for core, _ in WORKERS.values()], user=user)

    def write(self, text, path="/run/weir.yaml"):
        self.vm.run(f"cat >{path} <<'X'\n{text}X\n")

    @contextlib.contextmanager
    def weir(self, text, manifests="/weir/metal"):
        """Both programs, until the end of the block. What they said is shown if it fails."""
        vm = self.vm
        self.write(text)
        vm.run("rm -f /run/*.log; systemd-run -q --unit vm-dataplane -p StandardError=file:/run/dataplane.log -p LimitMEMLOCK=infinity weir-dataplane -c /run/weir.yaml\n"
               f"systemd-run -q --unit vm-ctrl -p StandardError=file:/run/ctrl.log weir-ctrl --manifests {manifests} --socket /run/weir/dataplane.sock --admin 127.0.0.1:9901 --user nobody\n")
        try:
            vm.run("for k in $(seq 240); do curl -sf -m 5 http://127.0.0.1:9901/healthz >/dev/null && exit; sleep 0.5; done; cat /run/*.log; exit 1", 240)
            yield
        except (Failure, TimeoutError, subprocess.SubprocessError):
            print(vm.ask("cat /run/*.log; weirctl ports; weirctl drops; dmesg | tail -20")["out"])
            raise
        finally:
            vm.ask("systemctl stop vm-ctrl vm-dataplane; systemctl reset-failed vm-ctrl vm-dataplane")

    def log(self):
        return self.vm.run("cat /run/dataplane.log")

    def ports(self):
        """{name: what weirctl says of it}"""
        return {p["name"]: p for p in json.loads(self.vm.run("weirctl ports -o json"))["ports"]}

    def metric(self, name, labels):
        """Of the metric's only sample with these labels; None: there is none."""
        line = self.vm.run(f"curl -sS -m 20 http://127.0.0.1:9901/metrics | grep -F '{name}{{' | grep -F '{labels}' || true")
        return float(line.rsplit(" ", 1)[1]) if line else None

    def ask(self, i):
        self.check.ask_once(i)

    # two nodes

    def list_nodes(self):
        nodes = {n["pci"]: n["numa_node"] for n in json.loads(self.vm.run("weir-nic list -o json"))}
        got = [nodes.get(self.vm.pci(i)) for i in (0, 1)]
        if got != [0, 1]:
            raise Failure(f"nodes of the NICs: {got}, {nodes}")

    def name_missing_pages(self):
        """Enough on node 0, next to none on node 1; tune then makes what is missing there."""
        vm = self.vm
        self.write(self.two_ports())
        vm.run("for n in 0 1; do echo 0 >/sys/devices/system/node/node$n/hugepages/hugepages-2048kB/nr_hugepages; done; "
               "echo 260 >/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages; echo 4 >/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages")
        a = vm.ask("weir-host check -c /run/weir.yaml hugepages numa")
        lines = a["out"].splitlines()
        short = [line for line in lines if re.match(r"FAIL +hugepages", line)]
        if a["rc"] != 1 or len(short) != 1 or "node1" not in short[0] or "8 MiB free" not in short[0]:
            raise Failure(f"weir-host check: {a['rc']}\n{a['out']}{a['err']}")
        near = [line for line in lines if re.match(r"ok +numa", line)]
        if len(near) != 2 or not all(any(f"{vm.pci(i)}: on node {i}" in line for line in near) for i in (0, 1)):
            raise Failure(f"of the NICs' nodes: {a['out']}")
        vm.run("weir-host tune -c /run/weir.yaml --apply hugepages", 240)
        vm.run("weir-host check -c /run/weir.yaml hugepages")
        return short[0].split(": ", 1)[1].split("(")[0].strip()

    def keep_memory_near(self):
        vm = self.vm
        with self.weir(self.two_ports()):
            for i in (0, 1):
                self.ask(i)
            self.check.ask(0)
            ports = self.ports()
            for i in (0, 1):
                p = ports[vm.pci(i)]
                if p["numa_node"] != i or p["workers_on_other_nodes"] != [1 - i]:
                    raise Failure(f"weirctl ports: {p['numa_node']}, {p['workers_on_other_nodes']}")
                if not re.search(rf"port {vm.pci(i)} is on NUMA node {i}, and 1 of 2 workers are not", self.log()):
                    raise Failure("no warning of the worker on the other node:\n" + self.log())
            return self.judge_memory(json.loads(vm.run("/weir/where $(systemctl show -P MainPID vm-dataplane) "
                                                       f"--pool mbufs-0 --pool mbufs-1 --pool clones-0 --pool clones-1 --text {MARK}", 600)))

    def judge_memory(self, got):
        """got: see vm-check.d/where. Beside the buffers themselves some words of drivers and workers point at a pool."""
        for worker, (_, node) in WORKERS.items():
            for pool in (f"mbufs-{worker}", f"clones-{worker}"):
                at = got["pools"][pool]
                n, others = at.get(str(node), 0), sum(v for k, v in at.items() if k != str(node))
                if n < N_MBUFS or others > 64:
                    raise Failure(f"{pool}, of a worker on node {node}: {at}")
        copies = got["texts"][MARK]
        if set(copies) != {"0", "1"} or copies["0"] != copies["1"]:
            raise Failure(f"copies of the routes: {copies}")
        for node, pages in got["bound"].items():
            if set(pages) - {node}:
                raise Failure(f"heaps for node {node}: {pages}")
        return f"hugepages by node {got['pages']}, a copy of the routes on each, heaps {got['bound']}"

    def stay_on_one_node(self, node):
        """One worker, one port, both on this node: the other has what main's own has."""
        vm = self.vm
        core = next(c for c, n in WORKERS.values() if n == node)
        port = f'  - pci: "{vm.pci(node)}"\n    addresses: [10.77.{node}.2/24]\n    gateways: [10.77.{node}.1]\n'
        with self.weir(yaml(port, [core])):
            self.ask(node)
            got = json.loads(vm.run(f"/weir/where $(systemctl show -P MainPID vm-dataplane) --pool mbufs-0 --text {MARK}", 600))
            here, other = got["pages"].get(str(node), 0), got["pages"].get(str(1 - node), 0)
            if "NUMA node" in self.log():
                raise Failure("a warning of nodes:\n" + self.log())
            if set(got["texts"][MARK]) != {str(node)} or other > here // 8:
                raise Failure(str(got))
            return f"{here} hugepages there, {other} on the other"

    # a NIC that goes

    def unplug(self):
        """Of two ports the second, while the first is asked without a pause."""
        vm = self.vm
        with self.weir(self.two_ports()):
            for i in (0, 1):
                self.ask(i)
            failures, n, ended = [], 0, threading.Event()

            def client():
                nonlocal n
                while not ended.is_set():
                    try:
                        self.ask(0)
                        n += 1
                    except (Failure, subprocess.SubprocessError) as e:
                        failures.append(str(e))

            thread = threading.Thread(target=client)
            thread.start()
            try:
                vm.qmp("device_del", id="nic1")
                wait_until("Weir knows that the NIC is gone", lambda: self.ports()[vm.pci(1)]["link"]["state"] == "removed")
                wait_until("QEMU has its device back", lambda: vm.is_unplugged(1))
                time.sleep(5)
            finally:
                ended.set()
                thread.join()
            if failures or n < 5:
                raise Failure(f"of requests to the other port {len(failures)} failed, {n} did not: {failures[:2]}")
            if f"port {vm.pci(1)}: its device is gone; the other ports go on" not in self.log():
                raise Failure("no word of it:\n" + self.log())
            count = self.metric("weir_port_removals_total", vm.pci(1))
            if count != 1 or self.ports()[vm.pci(0)]["link"]["state"] != "up":
                raise Failure(f"removals: {count}; {self.ports()}")
            vm.run(f"[ ! -e /sys/bus/pci/devices/{vm.pci(1)} ]")
            self.check.ask(0)
            self.plug_in()
            time.sleep(3)
            self.ask(0)  # the one that is back is another device: no harm is done to who serves
            vm.run("systemctl is-active vm-dataplane")
        return f"{n} requests to the other port meanwhile"

    def plug_in(self):
        vm = self.vm
        vm.events = []
        vm.qmp("device_add", **vm.device(1))
        wait_until("the guest sees the NIC", lambda: vm.ask(f"[ -e /sys/bus/pci/devices/{vm.pci(1)}/driver ]")["rc"] == 0)

    def serve_after_return(self):
        vm = self.vm
        vm.run(f"weir-nic bind {vm.pci(1)}")
        with self.weir(self.two_ports()):
            for i in (1, 0):
                self.check.ask(i)

    # LACP against the kernel

    BOND_URL = "http://10.78.0.2/bond"

    def make_partner(self):
        """A bond of the guest's kernel in a network namespace, with a client and a backend there."""
        vm = self.vm
        names = [vm.run(f"ls /sys/bus/pci/devices/{p}/virtio*/net").strip() for p in PARTNER_PCI]
        vm.run("modprobe bonding max_bonds=0; ip netns add partner; ip -n partner link set lo up; "
               "ip -n partner link add bond9 type bond mode 802.3ad miimon 100 lacp_rate fast xmit_hash_policy layer3+4 && "
               + "".join(f"ip link set {n} down; ip link set {n} netns partner; ip -n partner link set {n} master bond9; " for n in names)
               + "ip -n partner addr add 10.78.0.1/24 dev bond9; ip -n partner link set bond9 up")
        vm.run("mkdir -p /run/bond; head -c 1000000 /dev/urandom >/run/bond/bond; "
               "systemd-run -q --unit vm-bond-backend ip netns exec partner python3 -m http.server -d /run/bond 8080")

    def fetch(self):
        self.vm.run("ip netns exec partner curl -sSf -m 60 -o /run/bond.got http://10.78.0.2/bond && cmp /run/bond.got /run/bond/bond")

    def bond(self):
        """[(link, carries traffic)] of the members of Weir's."""
        members = {m["name"]: m for p in self.ports().values() if "bond" in p for m in p["bond"]["members"]}
        return [(members[pci]["link"], members[pci]["active"]) for pci in BOND_PCI]

    def partner(self):
        """What the kernel's bond has in its aggregator: how many links, and whose."""
        text = self.vm.run("ip netns exec partner cat /proc/net/bonding/bond9")
        return {k: v for k, v in re.findall(r"\t(Number of ports|Partner Mac Address): (.*)", text)}

    def bind_members(self):
        for pci in BOND_PCI:
            self.vm.run(f"weir-nic bind {pci}")

    def serve_by_lacp(self):
        self.make_partner()
        port = f"  - bond: {{mode: 802.3ad, members: ['{BOND_PCI[0]}', '{BOND_PCI[1]}']}}\n    addresses: [10.78.0.2/24]\n"
        with self.weir(yaml(port, [1]), "/weir/bond"):
            wait_until("both members carry traffic", lambda: all(active for _, active in self.bond()))
            wait_until("the kernel's bond has both", lambda: self.partner()["Number of ports"] == "2")
            whose = self.partner()["Partner Mac Address"]
            if whose == "00:00:00:00:00:00":
                raise Failure("the kernel's bond has no partner")
            wait_until("the first answer", lambda: self.fetch() or True)
            for _ in range(8):  # each by the way that the hash of its ports says, at either end
                self.fetch()
            sent = [self.vm.run(f"ip netns exec partner cat /sys/class/net/bond9/statistics/{n}").strip() for n in ("rx_packets", "tx_packets")]
            self.pull_a_cable()
            return f"the kernel's partner is {whose}; packets {sent[0]} from Weir, {sent[1]} to it"

    def pull_a_cable(self):
        """Both ends of the first one have no link: the other one carries all. Then it is there again."""
        for end in ("bond0", "partner0"):
            self.vm.qmp("set_link", name=end, up=False)
        wait_until("the first member carries nothing", lambda: [active for _, active in self.bond()] == [False, True])
        wait_until("the kernel's bond has one", lambda: self.partner()["Number of ports"] == "1")
        for _ in range(5):
            self.fetch()
        for end in ("bond0", "partner0"):
            self.vm.qmp("set_link", name=end, up=True)
        wait_until("both members carry traffic again", lambda: all(active for _, active in self.bond()))
        wait_until("the kernel's bond has both again", lambda: self.partner()["Number of ports"] == "2")
        for _ in range(5):
            self.fetch()

    # systemd

    def install(self):
        """As docs/install.md has it, but that the guest need not start again."""
        vm = self.vm
        vm.run("mkdir -p /etc/weir /etc/sysusers.d /etc/tmpfiles.d; cp -r /weir/systemd/*.service /etc/systemd/system; cp /weir/systemd/sysusers.d/* /etc/sysusers.d; cp /weir/systemd/tmpfiles.d/* /etc/tmpfiles.d; "
               "systemd-sysusers; systemd-tmpfiles --create; cp -r /weir/metal /etc/weir/manifests; echo 'WEIR_SOURCE=--manifests /etc/weir/manifests' >/etc/weir/weir-ctrl.env; systemctl daemon-reload")
        self.write(self.two_ports(user="weir"), "/etc/weir/weir.yaml")
        vm.run("systemctl start weir-dataplane weir-ctrl", 300)
        self.serves("the services serve")

    def serves(self, what):
        wait_until(what, lambda: [self.ask(i) for i in (0, 1)])

    def shown(self):
        """(process, how often systemd has started it again)"""
        got = dict(line.split("=") for line in self.vm.run("systemctl show -p MainPID -p NRestarts weir-dataplane").split())
        return got["MainPID"], int(got["NRestarts"])

    def is_started_again(self, before):
        """By systemd, once, and serves by the same NICs."""
        wait_until("systemd starts it again", lambda: self.shown()[1] == before[1] + 1 and self.shown()[0] not in ("0", before[0]))
        self.serves("it serves again")

    def ends(self, reason):
        return self.metric("weir_dataplane_ends_total", f'reason="{reason}"') or 0

    def restart_stuck(self, way, trace):
        """A worker that is held, or spins: found, told in the journal with its calls if they can be had, started again, counted."""
        vm = self.vm
        before, n = self.shown(), self.ends("worker_stuck")
        vm.run("for t in /proc/" + before[0] + "/task/*; do grep -q 'worker-\\?2$' $t/comm && tid=${t##*/}; done; [ \"$tid\" ] || exit 1; "
               f"systemd-run -q --collect --unit vm-ptracer sh -c \"sleep 100000 | python3 /weir/ptracer.py {way} $tid\"")
        try:
            self.is_started_again(before)
        finally:
            vm.ask("systemctl stop vm-ptracer")
        text = vm.run("journalctl -b -u weir-dataplane --no-pager -o cat")
        if not re.search(r"error: worker 1 \(thread \d+, core 3\) is stuck: its loop has not moved for \d+ ms", text) or not re.search(trace, text):
            raise Failure("the journal:\n" + text[-4000:])
        wait_until("the end before is counted", lambda: self.ends("worker_stuck") == n + 1)
        return re.search(r"is stuck: (.*)", text)[1][:100]

    def restart_paused(self):
        """The process as a whole is stopped for longer than WatchdogSec."""
        vm = self.vm
        before = self.shown()
        vm.run(f"kill -STOP {before[0]}")
        self.is_started_again(before)
        text = vm.run("journalctl -b -u weir-dataplane --no-pager -o cat")
        if "Watchdog timeout" not in text:
            raise Failure("the journal:\n" + text[-4000:])

    def run_all(self):
        run = self.check.run
        run("metal: weir-nic shows the NUMA nodes", self.list_nodes)
        run("metal: weir-host names the node that lacks hugepages, and makes them", self.name_missing_pages)
        for i in (0, 1):
            run(f"metal: the NIC of node {i} is bound to vfio-pci", self.check.bind, i)
        run("metal: two workers on two nodes, each with its memory near", self.keep_memory_near)
        for node in (0, 1):
            run(f"metal: one worker takes the memory of node {node} alone", self.stay_on_one_node, node)
        run("metal: a NIC is unplugged, and the other port serves on", self.unplug)
        run("metal: it is plugged in again, and serves after a restart", self.serve_after_return)
        if run("metal: two NICs for a bond are bound to vfio-pci", self.bind_members):
            run("metal: a bond by LACP with the kernel's, and one of two links down and up again", self.serve_by_lacp)
        if run("metal: the services serve", self.install):
            run("metal: a worker that is held, and systemd starts the dataplane again", self.restart_stuck, "hold", "no trace: the thread does not run")
            run("metal: a worker that spins, and its calls are in the journal", self.restart_stuck, "spin", r"#\d+ weir-dataplane\+0x[0-9a-f]+ \(worker_run\+0x")
            run("metal: a process that is stopped is ended by systemd's watchdog, and started again", self.restart_paused)


def fill_share(share, here, manifests):
    """What the guest gets beside what all get. manifests: vm-check's, of an endpoint's address."""
    for p in (here / "lib").glob("host_*.py"):
        shutil.copy(p, share / "scripts/lib")
    shutil.copy(here / "weir-host", share / "scripts")
    shutil.copy(here / "vm-check.d/where", share)
    shutil.copy(here.parent / "tests/smoke/ptracer.py", share)
    for name, address in (("metal", "10.77.0.1"), ("bond", "10.78.0.1")):
        (share / name).mkdir()
        (share / name / "all.yaml").write_text(manifests(address) + f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: mark, namespace: demo}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{MARK}]
  rules: [{{backendRefs: [{{name: web, port: 80}}]}}]
""")


@contextlib.contextmanager
def guest(folder, image, share, qemu):
    nics = [Nic("virtio-net-pci", queues=2, offloads=True) for _ in (0, 1)]
    own = folder / NAME
    own.mkdir()
    with MetalVm(own, image / "root.img", image / "vmlinuz", image / "initrd", nics, share, qemu, cores="4,sockets=2,cores=2") as vm:
        for i in range(len(nics)):
            ip("-n", vm.ns, "addr", "add", f"10.77.{i}.1/24", "dev", f"tap{i}")
        yield vm


def check_all(check, vm):
    check.vm = vm
    began = time.monotonic()
    vm.wait_for_agent()
    vm.prepare()
    check.say(True, "metal: the guest starts", began)
    Metal(check, vm).run_all()
