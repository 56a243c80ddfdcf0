# SPDX-License-Identifier: Apache-2.0
"""A machine of files, as weir-host sees one: two sockets of four cores with two threads each, a NIC on the second one, nothing wrong."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

from test_host_config import CONFIG

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/lib"))
import host_checks  # noqa: E402
import host_config  # noqa: E402
import host_cpu  # noqa: E402,F401
import host_memory  # noqa: E402,F401
import host_pci  # noqa: E402,F401
import host_kernel  # noqa: E402,F401
import host_root  # noqa: E402

WEIR_HOST = ROOT / "scripts/weir-host"
NIC, OTHER, QAT = "0000:81:00.0", "0000:81:00.1", "0000:6b:00.0"
CPU, NODE, PCI = "sys/devices/system/cpu", "sys/devices/system/node", "sys/bus/pci/devices"
THP = "sys/kernel/mm/transparent_hugepage/enabled"
GOVERNOR = CPU + "/cpu5/cpufreq/scaling_governor"
PAGES = NODE + "/node1/hugepages/hugepages-2048kB"
FLAGS = ("fpu tsc constant_tsc nonstop_tsc avx avx2 bmi1 bmi2 f16c fma abm movbe xsave sse4_2 ssse3 popcnt cx16 aes pclmulqdq rdrand "
         "pdpe1gb avx512f vaes vpclmulqdq")
LIMITS = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            65536  65536  files\nMax locked memory         {}  {}  bytes\n"


class Tree:
    def __init__(self, folder):
        self.root = pathlib.Path(folder, "root")
        self.bin = pathlib.Path(folder, "bin")
        self.bin.mkdir()
        self.config = pathlib.Path(folder, "weir.yaml")
        self.config.write_text(CONFIG)
        self.processors()
        self.memory()
        self.devices()
        self.kernel()

    # ---- files

    def put(self, path, text):
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.unlink(missing_ok=True)
        full.write_text(f"{text}\n")

    def get(self, path):
        return (self.root / path.lstrip("/")).read_text().strip()

    def link(self, path, to):
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.unlink(missing_ok=True)
        full.symlink_to(to)

    def remove(self, path):
        full = self.root / path
        if full.is_dir() and not full.is_symlink():
            shutil.rmtree(full)
        else:
            full.unlink()

    def command(self, name, script):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def everything(self):
        """{file: text} of all that is there, but what weir-host keeps for itself."""
        files = {str(p.relative_to(self.root)): p.read_text() if p.is_file() else str(p.readlink())
                 for p in self.root.rglob("*") if p.is_file() or p.is_symlink()}
        return {p: t for p, t in files.items() if not p.startswith("var/lib/weir")}

    # ---- the machine

    def processors(self):
        self.put("proc/cpuinfo", f"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: {FLAGS}\n\nprocessor\t: 1\nflags\t\t: none")
        self.put(f"{CPU}/online", "0-15")
        self.put(f"{CPU}/isolated", "5-6,13-14")
        self.put(f"{CPU}/nohz_full", "5-6,13-14")
        self.put("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc")
        self.put("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm")
        for c in range(16):
            self.put(f"{CPU}/cpu{c}/topology/thread_siblings_list", f"{c % 8},{c % 8 + 8}")
        for c in (0, 5, 6, 13):  # those that tests give to workers
            self.put(f"{CPU}/cpu{c}/cpufreq/scaling_governor", "performance")
            for state, (name, latency) in enumerate((("POLL", 0), ("C1", 2), ("C6", 170))):
                self.put(f"{CPU}/cpu{c}/cpuidle/state{state}/name", name)
                self.put(f"{CPU}/cpu{c}/cpuidle/state{state}/latency", latency)
                self.put(f"{CPU}/cpu{c}/cpuidle/state{state}/disable", 0)

    def memory(self):
        for node, cpus in ((0, "0-3,8-11"), (1, "4-7,12-15")):
            self.put(f"{NODE}/node{node}/cpulist", cpus)
            for size, n in (("2048", 1024 * node), ("1048576", 0)):
                self.put(f"{NODE}/node{node}/hugepages/hugepages-{size}kB/nr_hugepages", n)
                self.put(f"{NODE}/node{node}/hugepages/hugepages-{size}kB/free_hugepages", n)
        self.put("proc/mounts", "sysfs /sys sysfs rw 0 0\nhugetlbfs /dev/hugepages hugetlbfs rw 0 0")
        self.put("proc/swaps", "Filename\tType\tSize\tUsed\tPriority")
        self.put("proc/sys/vm/max_map_count", 65530)
        self.put(THP, "always [madvise] never")
        self.put("sys/kernel/mm/ksm/run", 0)

    def devices(self):
        for a, device, node in ((NIC, "0x1592", 1), (OTHER, "0x1592", 1), (QAT, "0x4940", 1)):
            self.put(f"{PCI}/{a}/vendor", "0x8086")
            self.put(f"{PCI}/{a}/device", device)
            self.put(f"{PCI}/{a}/class", "0x0b4000" if a == QAT else "0x020000")
            self.put(f"{PCI}/{a}/numa_node", node)
        for what in ("current", "max"):
            self.put(f"{PCI}/{NIC}/{what}_link_speed", "16.0 GT/s PCIe")
            self.put(f"{PCI}/{NIC}/{what}_link_width", 16)
        self.put("sys/bus/pci/drivers/vfio-pci/bind", "")
        self.bind(NIC, "vfio-pci")
        self.put(f"etc/driverctl.d/{NIC}", "vfio-pci")
        self.bind(OTHER, "ice")
        self.put(f"{PCI}/{OTHER}/net/eth0/mtu", 1500)
        self.bind(QAT, "4xxx")
        self.put(f"{PCI}/{QAT}/qat/state", "up")
        self.put("sys/class/iommu/dmar0/name", "dmar0")
        self.group(NIC, 7)
        self.group(OTHER, 8)
        self.put("sys/module/vfio_iommu_type1/parameters/dma_entry_limit", 65535)

    def bind(self, address, driver):
        self.link(f"{PCI}/{address}/driver", f"../../../bus/pci/drivers/{driver}")

    def group(self, address, number):
        self.link(f"{PCI}/{address}/iommu_group", f"../../../kernel/iommu_groups/{number}")
        self.put(f"sys/kernel/iommu_groups/{number}/devices/{address}", "")

    def kernel(self):
        self.put("proc/cmdline", "quiet intel_iommu=on iommu=pt hugepagesz=2M hugepages=1024 isolcpus=5-6,13-14 nohz_full=5-6,13-14")
        self.put("proc/irq/default_smp_affinity", "ff9f")
        self.irq(24, "nvme0q1", "0-4")
        self.put("proc/irq/2/smp_affinity_list", "0-15")  # nobody's
        self.put("proc/sys/kernel/timer_migration", 1)
        self.put("proc/sys/kernel/nmi_watchdog", 0)
        self.put("proc/sys/kernel/watchdog", 1)
        self.put("proc/sys/kernel/watchdog_cpumask", "0-4,7-12,15")
        self.put("proc/sys/kernel/sched_rt_runtime_us", 950000)
        self.process(1, "systemd")
        self.put("etc/default/grub", 'GRUB_CMDLINE_LINUX=""')
        self.command("timedatectl", "echo yes")
        self.put("run/systemd/system/session.slice", "")  # systemd runs
        self.unit_limits("infinity", 65536)
        self.command("modprobe", 'echo "$@" >> "$WEIR_HOST_ROOT/../modprobe.log"')

    def irq(self, number, name, cpus):
        self.put(f"proc/irq/{number}/smp_affinity_list", cpus)
        (self.root / f"proc/irq/{number}/{name}").mkdir(exist_ok=True)

    def process(self, pid, name, **files):
        self.put(f"proc/{pid}/comm", name)
        for file, text in files.items():
            self.put(f"proc/{pid}/{file}", text)

    def unit_limits(self, memlock, files):
        """What systemd says of weir-dataplane.service."""
        self.command("systemctl", f"""echo "$@" >> "$WEIR_HOST_ROOT/../systemctl.log"
[ "$1" != show ] || printf 'LoadState=loaded\\nLimitMEMLOCK={memlock}\\nLimitNOFILE={files}\\n'""")

    def process_limits(self, memlock="8388608", caps="0000000000000000"):
        self.process(900, "weir-dataplane", limits=LIMITS.format(memlock, memlock), status=f"Name:\tweir-dataplane\nCapEff:\t{caps}")

    # ---- weir-host on it

    def run(self, *args, path=(), **kw):
        """With no other commands than the tree's, and those in the folders of `path`."""
        env = {"WEIR_HOST_ROOT": str(self.root), "PATH": os.pathsep.join([str(self.bin), *map(str, path)])}
        return subprocess.run([sys.executable, WEIR_HOST, *map(str, args)], env=env, capture_output=True, text=True, timeout=120, **kw)

    def findings(self):
        """Those of all checks, within this process: for tests that ask often."""
        with mock.patch.dict(os.environ, WEIR_HOST_ROOT=str(self.root), PATH=str(self.bin)):
            needs = host_config.read_needs(self.config.read_text(), "weir.yaml")
            return [f.as_json() for f in host_checks.run_checks(host_root.Host(), needs)]

    def check(self, *args):
        """[finding] of `check -o json`, and the exit status."""
        done = self.run("check", "-o", "json", "-c", self.config, *args)
        if done.returncode not in (0, 1):
            raise AssertionError(f"weir-host check: {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)["findings"], done.returncode

    def tune(self, *args, **kw):
        return self.run("tune", "-c", self.config, *args, **kw)


def host_test(fn):
    """fn(make, tree). There is no C in it."""
    def test(make):
        with tempfile.TemporaryDirectory() as folder:
            fn(make, Tree(folder))
    test.not_sanitized = True
    test.__name__ = fn.__name__
    return test
