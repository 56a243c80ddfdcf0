# SPDX-License-Identifier: Apache-2.0
"""SR-IOV in the guest of scripts/vm-check: weir-nic makes VFs of a NIC that stays with the kernel, Weir serves through one, and hands over to a
second Weir on another (docs/upgrade.md)."""
import json
import subprocess
import time

from vm import Failure, Nic

HALF_WAY_S = 60.0
END_S = 120.0


def wait_until(what, is_so, seconds=END_S):
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise Failure(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.3)


def yaml(i, pci, name, own, core):
    """Of one of two dataplanes, which both serve on 10.77.I.2."""
    return f"""ports:
  - pci: "{pci}"
    addresses: [10.77.{i}.2/32, 10.77.{i}.{own}/24]
    gateways: [10.77.{i}.1]
listen: [10.77.{i}.2]
handover: true
workers: {{cores: [{core}], idle: sleep}}
memory: {{hugepages: true, arena_mb: 16}}
pools: {{mbufs: 8192, connections: 1024, requests: 256, backends: 256, endpoints: 1024}}
timeouts: {{drain_ms: 300000}}
control: {{socket: /run/weir/{name}.sock, user: 65534}}
"""


class Sriov:
    """check: vm-check's; i: of the NIC that is the PF, which has the kernel's driver now."""

    def __init__(self, check, i, nic):
        self.check, self.vm, self.i, self.nic = check, check.vm, i, nic
        self.pf = self.vm.pci(i)
        self.dir = f"/sys/bus/pci/devices/{self.pf}"
        self.name, self.vfs = None, []

    def _listed(self):
        return {n["pci"]: n for n in json.loads(self.vm.run("weir-nic list -o json"))}

    def speak(self):
        """The kernel, through the PF."""
        self.vm.run(f"curl -sS -m 20 --interface {self.name} http://10.77.{self.i}.1:8080/small")

    def make(self):
        vm = self.vm
        self.driver = vm.run(f"basename $(readlink {self.dir}/driver)").strip()
        self.name = vm.run(f"ls {self.dir}/net").strip()
        vm.run(f"ip link set {self.name} up; ip addr add 10.77.{self.i}.3/24 dev {self.name}; weir-nic bind --vfs {self.nic.vfs} {self.name}")
        listed = self._listed()
        self.vfs = listed[self.pf]["sriov"]["vfs"]
        drivers = [listed[v]["driver"] for v in self.vfs]
        if drivers != ["vfio-pci"] * self.nic.vfs or listed[self.pf]["driver"] != self.driver:
            raise Failure(f"VFs {self.vfs} have {drivers}, and the NIC has {listed[self.pf]['driver']}")
        self.speak()
        groups = {listed[v]["iommu_group"] for v in self.vfs}
        if len(groups) != self.nic.vfs or any(listed[v]["group_partners"] for v in self.vfs):
            raise Failure(f"VFs {self.vfs} have no IOMMU groups of their own, but {groups}")
        return f"{self.vfs[0]} and so on, of groups of their own"

    def restore(self):
        vm = self.vm
        vm.run(f"weir-nic restore {self.name}")
        left = vm.run(f"cat {self.dir}/sriov_numvfs {self.dir}/sriov_drivers_autoprobe; ls -d {self.dir}/virtfn* 2>/dev/null || true").split()
        if left != ["0", "1"] or self._listed()[self.pf]["driver"] != self.driver or self._listed()[self.pf]["saved"]:
            raise Failure(f"of the VFs there is left: {left}")
        self.speak()
        vm.run(f"ip addr flush dev {self.name}; ip link set {self.name} down")

    # the handover

    def _start(self, name, pci, own, core, admin):
        self.vm.run(f"cat >/run/{name}.yaml <<'X'\n{yaml(self.i, pci, name, own, core)}X\n"
                    f"systemd-run -q -r --unit vm-{name} -p StandardError=file:/run/{name}.log -p LimitMEMLOCK=infinity weir-dataplane -c /run/{name}.yaml\n"
                    f"systemd-run -q --unit vm-{name}-ctrl -p StandardError=file:/run/{name}-ctrl.log weir-ctrl --manifests /weir/m{self.i} "
                    f"--socket /run/weir/{name}.sock --admin 127.0.0.1:{admin} --user nobody\n"
                    f"for k in $(seq 120); do curl -sf -m 5 http://127.0.0.1:{admin}/healthz && exit; sleep 0.5; done; exit 1", 180)

    def _count(self, name, admin):
        text = self.vm.run(f"curl -sf -m 20 http://127.0.0.1:{admin}/metrics | grep -E '^{name}[ {{]'")
        return int(sum(float(line.rpartition(" ")[2]) for line in text.splitlines()))

    def _ask_new(self):
        """Whether it was the second one that answered."""
        before = self._count("weir_http_requests_total", 9902)
        self.check.ask_once(self.i)
        return self._count("weir_http_requests_total", 9902) > before

    def hand_over(self):
        vm, got = self.vm, self.check.dir / "held"
        vm.run("rm -f /run/*.log")
        download = None
        try:
            self._start("old", self.vfs[0], 11, 1, 9901)
            self.check.ask_once(self.i)
            download = subprocess.Popen(["ip", "netns", "exec", vm.ns, "curl", "-sSN", "-m", "400", "-o", got, f"http://10.77.{self.i}.2/held"],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            half = len(self.check.body) // 2
            wait_until("half of the download has come", lambda: got.exists() and got.stat().st_size >= half, HALF_WAY_S)
            self._start("new", self.vfs[1], 12, 2, 9902)
            wait_until("new requests come to the second one", self._ask_new)
            vm.run("systemctl kill -s TERM vm-old")
            if not all([self._ask_new() for _ in range(10)]):
                raise Failure("not all new requests came to the second one")
            if vm.run("systemctl show -P SubState vm-old").strip() != "running":
                raise Failure(f"the first one has ended, with a download in hand: {download.poll()}, {got.stat().st_size} bytes")
            vm.here("curl", "-sS", "-m", 20, f"http://10.77.{self.i}.2/release")
            error = download.communicate(timeout=120)[1]
            if download.returncode or got.read_bytes() != self.check.body:
                raise Failure(f"the download that was in hand: {got.stat().st_size} bytes; {error}")
            wait_until("the first one has ended, with status 0",
                       lambda: vm.run("systemctl show -P SubState -P ExecMainStatus vm-old").split() in (["exited", "0"], ["0", "exited"]))
            passed_on = self._count("weir_handover_forwarded_packets_total", 9902)
            if not passed_on:
                raise Failure("the second one passed nothing on to the first one")
            self.check.ask(self.i)
            return f"{passed_on} packets passed on to the first one"
        except (Failure, TimeoutError, subprocess.SubprocessError):
            print(vm.ask("tail -n 40 /run/*.log; weirctl drops; weirctl --admin 127.0.0.1:9902 drops")["out"])
            raise
        finally:
            if download and download.poll() is None:
                download.kill()
                download.communicate()
            vm.ask("systemctl stop vm-old-ctrl vm-new-ctrl vm-old vm-new; systemctl reset-failed vm-old-ctrl vm-new-ctrl vm-old vm-new")


def check(of, i, nic, ways):
    """of: vm-check's Check; ways: as it has them."""
    s = Sriov(of, i, nic)
    vf = Nic(nic.model, tso=nic.tso, wakes=False)  # DPDK's igb_vf has no receive interrupts
    if not of.run(f"{nic.model}: {nic.vfs} VFs are made and bound, and it stays with the kernel", s.make):
        return
    for words, workers, offloads, idle in ways:
        of.run(f"{nic.model}, VF: {words}", of.serve, i, vf, workers, offloads, idle, s.vfs[0])
    of.run(f"{nic.model}, VF: a second dataplane on another VF takes over, and a download goes on", s.hand_over)
    of.run(f"{nic.model}, VF: the VFs are gone, and the kernel has it as before", s.restore)
