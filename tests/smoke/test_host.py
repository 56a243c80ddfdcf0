# SPDX-License-Identifier: Apache-2.0
"""scripts/weir-host, on machines of files (host_tree.py), and its check on this one."""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from host_tree import CONFIG, CPU, FLAGS, GOVERNOR, NIC, NODE, OTHER, PAGES, PCI, QAT, ROOT, THP, WEIR_HOST, Tree, host_test
from rig import expect, expect_eq, takes
from test_host_config import WRONG

import host_checks  # of scripts/lib, by host_tree
import host_root


def dataplane_folder(make):
    return pathlib.Path(make.args[0]).resolve() / "dataplane"


def bad(findings):
    return sorted({(f["status"], f["check"]) for f in findings if f["status"] in ("warn", "FAIL")})


# ---- check

@host_test
def test_a_good_machine_gets_no_complaint(make, tree):
    findings, status = tree.check()
    expect_eq(bad(findings), [], "complaints")
    expect_eq(status, 0, "exit status")
    expect_eq([f for f in findings if f["status"] == "skip"], [], "skipped")
    expect_eq({f["check"] for f in findings}, names(), "each check says something")


def names():
    listed = subprocess.run([sys.executable, WEIR_HOST, "check", "--list", "-o", "json"], capture_output=True, text=True, check=True, timeout=60)
    return {r["check"] for r in json.loads(listed.stdout)}


def config(old, new):
    return lambda t: t.config.write_text(t.config.read_text().replace(old, new))


def put(path, text):
    return lambda t: t.put(path, text)


def two(*steps):
    return lambda t: [s(t) for s in steps]


def without(flags):
    return lambda t: t.put("proc/cpuinfo", f"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: {' '.join(f for f in FLAGS.split() if f not in flags)}")


def boot_without(*words):
    return lambda t: t.put("proc/cmdline", " ".join(w for w in t.get("proc/cmdline").split() if w.partition("=")[0] not in words))


def irqbalance(environ=""):
    return lambda t: t.process(700, "irqbalance", environ=environ)


ROUTES = ("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
          "{}\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\neth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0")
ROUTES6 = f"{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 27}1 00000400 00000001 00000000 00000003     eth9"

# (what is changed, the complaints, a part of the text or of what mends it)
FAULTS = [
    (without(["avx2"]), [("FAIL", "cpu")], "without avx2; should be x86-64-v3"),
    (without(["aes"]), [("warn", "cpu")], "without aes"),
    (without(["nonstop_tsc"]), [("warn", "tsc")], "without nonstop_tsc"),
    (put("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"), [("warn", "clocksource")], "echo tsc > /sys/"),
    (two(put("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),
         put("sys/devices/system/clocksource/clocksource0/available_clocksource", "hpet")), [("warn", "clocksource")], "dmesg"),
    (put(f"{CPU}/online", "0-4,6-15"), [("FAIL", "cores")], "5: not online"),
    (config("main_core: 1", "main_core: 5"), [("warn", "cores")], "5: a worker's and main's"),
    (config("[5, 6]", "[0, 6]"), [("warn", "cores"), ("warn", "irq"), ("warn", "isolation"), ("warn", "numa"), ("warn", "smt"), ("warn", "timers"),
                                  ("warn", "watchdogs"), ("FAIL", "hugepages")], "cores 0: a worker's"),
    (config("[5, 6], main_core: 1", "[0]"), [("warn", "cores"), ("warn", "irq"), ("warn", "isolation"), ("warn", "numa"), ("warn", "smt"), ("warn", "timers"),
                                             ("warn", "watchdogs"), ("FAIL", "hugepages")], "isolation 0: the only worker's core"),
    (config("[5, 6]", "[5, 13]"), [("warn", "smt"), ("warn", "irq")], "5,13: two workers on one core"),
    (two(put(f"{CPU}/isolated", "5-6"), put(f"{CPU}/nohz_full", "5-6")), [("warn", "smt")], "for c in 13 14; do echo 0 >"),
    (put(f"{CPU}/isolated", "5,13-14"), [("warn", "isolation")], "isolcpus=managed_irq,domain,5-6,13-14"),
    (two(put(f"{CPU}/nohz_full", "5"), put("proc/sys/kernel/timer_migration", 0)), [("warn", "isolation")], "nohz_full=5-6,13-14"),
    (two(put(f"{CPU}/nohz_full", "(null)"), put("proc/sys/kernel/timer_migration", 0)), [("warn", "isolation")], "rcu_nocbs=5-6,13-14"),
    (put("proc/irq/default_smp_affinity", "ffff"), [("warn", "irq")], "echo 0000ff9f > /proc/irq/default_smp_affinity"),
    (lambda t: t.irq(31, "eth0-rx-0", "4-5"), [("warn", "irq")], "echo 4 > /proc/irq/31/smp_affinity_list"),
    (lambda t: t.irq(31, "eth0-rx-0", "6"), [("warn", "irq")], "echo 0-4,7-15 > /proc/irq/31/smp_affinity_list"),
    (two(irqbalance("A=1\0IRQBALANCE_BANNED_CPULIST=5\0")), [("warn", "irqbalance")], "IRQBALANCE_BANNED_CPULIST=5-6 >>"),
    (two(irqbalance("IRQBALANCE_BANNED_CPUS=00000020\0")), [("warn", "irqbalance")], "irqbalance 6: "),
    (put(GOVERNOR, "powersave"), [("warn", "governor")], "governor 5: powersave; should be performance"),
    (config("main_core: 1", "main_core: 1, idle: sleep"), [("warn", "cstates")], "C6: allowed"),
    (put(f"{CPU}/nohz_full", ""), [("warn", "isolation"), ("warn", "timers")], "echo 0 > /proc/sys/kernel/timer_migration"),
    (put("proc/sys/kernel/nmi_watchdog", 1), [("warn", "watchdogs")], "echo 0 > /proc/sys/kernel/nmi_watchdog"),
    (put("proc/sys/kernel/watchdog_cpumask", "0-15"), [("warn", "watchdogs")], "echo 0-4,7-15 > /proc/sys/kernel/watchdog_cpumask"),
    (put(f"{PAGES}/free_hugepages", 500), [("FAIL", "hugepages")], f"1000 MiB free; should be 1024 MiB (packet buffers and connections lie in them). Mend: echo 1036 > /{PAGES}/nr_hugepages"),
    (config("mb: 1024", "hugepages: false"), [("FAIL", "hugepages")], "PCI ports need them"),
    (two(put(f"{PCI}/{NIC}/numa_node", 0)), [("FAIL", "hugepages"), ("warn", "numa")], "node0: 0 MiB free; should be 64 MiB"),
    (boot_without("hugepages"), [("warn", "hugepages-boot")], "hugepagesz=2M hugepages=512"),
    (put("proc/sys/vm/max_map_count", 1000), [("FAIL", "maps")], "echo 16896 > /proc/sys/vm/max_map_count"),
    (put("sys/module/vfio_iommu_type1/parameters/dma_entry_limit", 100), [("FAIL", "maps")], "dma_entry_limit=512"),
    (put(THP, "[always] madvise never"), [("warn", "thp")], f"echo madvise > /{THP}"),
    (put("proc/swaps", "Filename\tType\n/dev/sda2 partition 1 0 -2"), [("warn", "swap")], "/dev/sda2"),
    (put("sys/kernel/mm/ksm/run", 1), [("warn", "ksm")], "echo 0 > /sys/kernel/mm/ksm/run"),
    (lambda t: t.bind(NIC, "ice"), [("FAIL", "nic")], f"weir-nic bind {NIC}"),
    (two(lambda t: t.bind(NIC, "ice"), put(f"{PCI}/{NIC}/net/eth9/mtu", 1500), put("proc/net/route", ROUTES.format("eth9"))), [("FAIL", "nic")],
     "bound to ice (eth9); should be vfio-pci (DPDK cannot have it). Mend: not this NIC, unless"),
    (two(lambda t: t.bind(NIC, "ice"), put(f"{PCI}/{NIC}/net/eth9/mtu", 1500), put("proc/net/route", ROUTES.format("eth8")),
         put("proc/net/ipv6_route", ROUTES6)), [("FAIL", "nic")], "Mend: not this NIC, unless"),
    (lambda t: t.remove(f"etc/driverctl.d/{NIC}"), [("warn", "nic-boot")], f"weir-nic bind --persistent {NIC}"),
    (lambda t: t.remove(f"{PCI}/{NIC}/driver"), [("FAIL", "nic")], "bound to no driver"),
    (lambda t: t.bind(NIC, "uio_pci_generic"), [("warn", "nic")], "uio_pci_generic; should be vfio-pci"),
    (put(f"{PCI}/{NIC}/class", "0x010802"), [("FAIL", "nic")], "class 0x010802"),
    (config(NIC, "0000:99:00.0"), [("FAIL", "nic")], f"one of this machine's NICs: {NIC}, {OTHER}"),
    (lambda t: t.remove("sys/bus/pci/drivers/vfio-pci"), [("FAIL", "vfio")], "Mend: modprobe vfio-pci"),
    (lambda t: t.remove("sys/class/iommu/dmar0"), [("FAIL", "iommu")], "intel_iommu=on iommu=pt"),
    (two(lambda t: t.remove("sys/class/iommu/dmar0"), put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")), [("warn", "iommu")], "VFIO goes without"),
    (boot_without("iommu"), [("warn", "iommu")], "Mend: kernel command line: iommu=pt"),
    (lambda t: (t.group(OTHER, 7)), [("FAIL", "iommu-group")], f"group 7 has {OTHER} (ice), too"),
    (lambda t: t.remove(f"{PCI}/{NIC}/iommu_group"), [("FAIL", "iommu-group")], "in no IOMMU group"),
    (put(f"{PCI}/{NIC}/current_link_width", 8), [("warn", "pcie")], "16 GT/s x8; should be 16 GT/s x16"),
    (put(f"{PCI}/{NIC}/current_link_speed", "8.0 GT/s PCIe"), [("warn", "pcie")], "8 GT/s x16; should be 16 GT/s x16"),
    (two(config("memory:", "tls: {offload: {kind: engine, engine: {id: qatengine}}}\nmemory:"), put(f"{PCI}/{QAT}/qat/state", "down")), [("warn", "qat")], "4xxx is down"),
    (two(config("memory:", "tls: {offload: {kind: engine}}\nmemory:"), lambda t: t.remove(f"{PCI}/{QAT}")), [("warn", "qat")], "no QAT device"),
    (lambda t: t.process_limits(), [("FAIL", "limits")], "locked memory 8192 KiB; should be unlimited"),
    (lambda t: t.unit_limits("infinity", 1024), [("FAIL", "limits")], "1024 open files; should be 65536"),
    (lambda t: t.command("timedatectl", "echo no"), [("warn", "time")], "not synchronised"),
]
ONLY_NOTES = {"hugetlbfs", "realtime"}


def complaint(findings, text):
    lines = [host_checks.Finding(f["status"], f["what"], f["found"], f["should"], f["why"], f["mend"], check=f["check"]).line() for f in findings]
    return [line for line in lines if text in line]


@takes(15)
@host_test
def test_each_fault_is_told_by_its_check_and_by_no_other(make, _):
    for i, (fault, wanted, text) in enumerate(FAULTS):
        with tempfile.TemporaryDirectory() as folder:
            tree = Tree(folder)
            fault(tree)
            findings = tree.findings()
            expect_eq(bad(findings), sorted(wanted), f"complaints of fault {i} ({text})")
            expect(complaint(findings, text), f"fault {i}: {text!r} in {[f for f in findings if f['status'] in ('warn', 'FAIL')]}")
            expect(all(f["mend"] for f in findings if f["status"] in ("warn", "FAIL")), f"fault {i}: what mends it")


@host_test
def test_the_exit_status_tells_of_failures_alone(make, tree):
    tree.put(THP, "[always] madvise never")
    expect_eq(tree.check()[1], 0, "with a warning")
    tree.bind(NIC, "ice")
    expect_eq(tree.check()[1], 1, "with a failure")


@host_test
def test_every_check_has_a_fault_in_these_tests(make, _):
    expect_eq(names() - {c for _, wanted, _ in FAULTS for _, c in wanted}, ONLY_NOTES, "checks without a fault")


ALTERNATIVES = [  # as good, in another way
    ("cpuset partition", two(put(f"{CPU}/isolated", ""), put("sys/fs/cgroup/weir/cpuset.cpus.partition", "isolated"),
                             put("sys/fs/cgroup/weir/cpuset.cpus.effective", "5-6,13-14"))),
    ("siblings offline", two(put(f"{CPU}/online", "0-12,15"), put(f"{CPU}/isolated", "5-6"))),
    ("bifurcated NIC without VFIO and IOMMU", two(lambda t: t.bind(NIC, "mlx5_core"), lambda t: t.remove("sys/class/iommu/dmar0"),
                                                  lambda t: t.remove("sys/bus/pci/drivers/vfio-pci"))),
    ("an IOMMU that the kernel passes by anyway", two(boot_without("iommu"), *(put(f"sys/kernel/iommu_groups/{g}/type", "identity") for g in (7, 8)))),
    ("a rule of udev", two(lambda t: t.remove(f"etc/driverctl.d/{NIC}"), put("etc/udev/rules.d/90-nic.rules", f'KERNEL=="{NIC}", ATTR{{driver_override}}="vfio-pci"'))),
    ("ids of vfio-pci", two(lambda t: t.remove(f"etc/driverctl.d/{NIC}"), put("etc/modprobe.d/vfio.conf", "options vfio-pci ids=8086:1592"))),
    ("NICs and workers on both nodes", two(put(f"etc/driverctl.d/{OTHER}", "vfio-pci"), config("workers:", f"  - pci: {OTHER}\n    addresses: [198.51.100.1/24]\nworkers:"), config("[5, 6]", "[2, 6]"),
                                           put(f"{PCI}/{OTHER}/numa_node", 0), lambda t: t.bind(OTHER, "vfio-pci"), put(f"{CPU}/isolated", "2,6,10,14"),
                                           put(f"{CPU}/nohz_full", "2,6,10,14"), lambda t: t.irq(24, "nvme0q1", "0-1"), *(put(f"proc/{f}", v) for f, v in (
                                               ("irq/default_smp_affinity", "3"), ("sys/kernel/watchdog_cpumask", "0-1"))),
                                           put(f"{NODE}/node0/hugepages/hugepages-2048kB/free_hugepages", 256), *(put(
                                               f"{PCI}/{OTHER}/{w}_link_{k}", v) for w in ("current", "max") for k, v in (("speed", "8.0 GT/s"), ("width", "8"))))),
    ("irqbalance that spares isolated cores", irqbalance()),
    ("irqbalance that is told", two(irqbalance(), put("etc/default/irqbalance", 'IRQBALANCE_BANNED_CPULIST="5-6"'))),
    ("hugepages by sysctl", two(boot_without("hugepages"), put("etc/sysctl.d/80-hugepages.conf", "vm.nr_hugepages = 1024"))),
    ("pages of 1 GiB", two(put(f"{PAGES}/free_hugepages", 0), put(f"{NODE}/node1/hugepages/hugepages-1048576kB/nr_hugepages", 2),
                           put(f"{NODE}/node1/hugepages/hugepages-1048576kB/free_hugepages", 1))),
    ("pages in use by weir-dataplane", two(put(f"{PAGES}/free_hugepages", 0), lambda t: t.process_limits("unlimited"))),
    ("CAP_IPC_LOCK", lambda t: t.process_limits(caps="0000000000004000")),
    ("sleep without deep states", two(config("main_core: 1", "main_core: 1, idle: sleep"),
                                      *(put(f"{CPU}/cpu{c}/cpuidle/state2/disable", 1) for c in (5, 6)))),
    ("sleep with a bound of the time to wake", two(config("main_core: 1", "main_core: 1, idle: sleep"),
                                                   *(put(f"{CPU}/cpu{c}/power/pm_qos_resume_latency_us", 0) for c in (5, 6)))),
    ("a QAT device that nobody wants", put(f"{PCI}/{QAT}/qat/state", "down")),
    ("whole group bound", two(lambda t: t.group(OTHER, 7), lambda t: t.bind(OTHER, "vfio-pci"))),
]


@host_test
def test_other_ways_are_as_good(make, _):
    for name, change in ALTERNATIVES:
        with tempfile.TemporaryDirectory() as folder:
            tree = Tree(folder)
            change(tree)
            expect_eq(bad(tree.findings()), [], f"complaints of: {name}")


@host_test
def test_an_invalid_partition_isolates_nothing(make, tree):
    tree.put(f"{CPU}/isolated", "13-14")
    tree.put("sys/fs/cgroup/weir/cpuset.cpus.partition", "isolated invalid (Cpu list in cpuset.cpus not exclusive)")
    tree.put("sys/fs/cgroup/weir/cpuset.cpus.effective", "5-6")
    expect_eq(bad(tree.check()[0]), [("warn", "isolation")], "complaints")


@host_test
def test_what_is_not_shown_is_skipped_with_its_reason(make, tree):
    for name in ("proc", "sys"):
        tree.remove(name)
    tree.put(".dockerenv", "")
    for command in ("timedatectl", "systemctl"):
        (tree.bin / command).unlink()
    findings, _ = tree.check()
    expect({"cpu", "tsc", "clocksource", "cores", "irq", "governor", "cstates", "timers", "thp", "swap", "limits", "time"}
           <= {f["check"] for f in findings if f["status"] == "skip"}, f"{findings}")
    expect(all(f["found"] for f in findings), "reasons")
    expect("in a container" in str(findings), "the place")
    expect(set(bad(findings)) >= {("FAIL", "nic"), ("FAIL", "hugepages")}, "what it lacks is told all the same")


@host_test
def test_without_weir_yaml_the_machine_alone_is_checked(make, tree):
    done = tree.run("check")
    expect_eq(done.returncode, 0, done.stdout + done.stderr)
    expect("skip  numa: no weir.yaml, which says what is needed (-c FILE)" in done.stdout, done.stdout)
    expect("ok    thp: madvise" in done.stdout, done.stdout)
    tree.put("etc/weir/weir.yaml", CONFIG)
    expect("ok    numa" in tree.run("check").stdout, "the usual file is found")


@host_test
def test_text_has_a_line_a_finding(make, tree):
    tree.put(THP, "[always] madvise never")
    lines = tree.run("check", "-c", tree.config).stdout.splitlines()
    expect_eq(len(lines) - 1, len(tree.check()[0]), "lines")
    expect(all(re.match(r"(ok  |note|skip|warn|FAIL)  [a-z-]+", line) for line in lines[:-1]), f"{lines}")
    expect(re.fullmatch(r"\d+ ok, 1 note, 0 skip, 1 warn, 0 FAIL", lines[-1]), lines[-1])


@host_test
def test_single_checks_can_be_named(make, tree):
    expect_eq({f["check"] for f in tree.check("thp", "numa")[0]}, {"thp", "numa"}, "checks")
    done = tree.run("check", "-c", tree.config, "thp", "nonsense")
    expect_eq((done.returncode, done.stdout), (2, ""), "of an unknown one")
    expect("no check nonsense; there are cpu, " in done.stderr, done.stderr)


# ---- weir.yaml


@host_test
def test_a_wrong_weir_yaml_is_told_and_nothing_is_checked(make, tree):
    for command in ("check", "tune"):
        for text, wanted in WRONG:
            tree.config.write_text(text)
            done = tree.run(command, "-c", tree.config)
            expect_eq((done.returncode, done.stdout), (2, ""), f"of {text!r}")
            expect(str(tree.config) in done.stderr and wanted in done.stderr, f"{text!r}: {done.stderr}")
        done = tree.run(command, "-c", tree.config.with_name("none.yaml"))
        expect_eq(done.returncode, 2, "of no file")
        expect("none.yaml: No such file" in done.stderr, done.stderr)


@host_test
def test_weir_dataplane_judges_weir_yaml_where_it_is(make, tree):
    tree.config.write_text(CONFIG + "nonsense: 1\n")
    expect_eq(tree.run("check", "-c", tree.config).returncode, 0, "the small reader does not know all keys")
    done = tree.run("check", "-c", tree.config, path=[dataplane_folder(make)])
    expect_eq((done.returncode, done.stdout), (2, ""), "by weir-dataplane")
    expect(f"{tree.config}:8:1" in done.stderr and "nonsense" in done.stderr, done.stderr)


@host_test
def test_memory_needed_is_what_weir_dataplane_computes(make, tree):
    tree.config.write_text(CONFIG.replace("memory: {mb: 1024}", ""))
    exact = re.search(r"free, (\d+) needed", tree.run("check", "-c", tree.config, "hugepages", path=[dataplane_folder(make)]).stdout)
    guess = re.search(r"free, about (\d+) needed", tree.run("check", "-c", tree.config, "hugepages").stdout)
    expect(exact and guess and 256 < int(exact[1]) <= int(guess[1]), f"{exact} {guess}")


@host_test
def test_lists_and_masks_of_cores_are_read_as_they_are_written(make, tree):
    for cpus in (set(), {0}, {1, 3}, {0, 1, 2, 5}, {31, 32}, {63, 64, 127}):
        expect_eq(host_root.parse_cpus(host_root.format_cpus(cpus)), cpus, host_root.format_cpus(cpus))
        expect_eq(host_root.parse_mask(host_root.format_mask(cpus)), cpus, host_root.format_mask(cpus))
    expect_eq(host_root.format_cpus({0, 1, 2, 5}), "0-2,5", "list")
    expect_eq(host_root.format_mask({0, 33}), "00000002,00000001", "mask")
    expect_eq(host_root.parse_cpus("(null)"), set(), "no list")


# ---- this machine, and the page

@contextlib.contextmanager
def folder_with(text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "weir.yaml")
        path.write_text(text)
        yield path


def test_this_machine_is_checked_without_a_crash(make):
    """Whatever it is. check alone: tune has no business here, since a fault of it would change the machine."""
    env = {k: v for k, v in os.environ.items() if k != "WEIR_HOST_ROOT"}
    with folder_with(CONFIG.replace("[5, 6], main_core: 1", "[0]")) as path:
        for args in (["check", "-c", path], ["check", "-c", path, "-o", "json"]):
            done = subprocess.run([WEIR_HOST, *args], env=env, capture_output=True, text=True, timeout=120)
            expect_eq((done.returncode in (0, 1), done.stderr), (True, ""), f"{args}: {done.returncode}")
            if "json" not in args:
                said = {line.split()[1].rstrip(":") for line in done.stdout.splitlines()[:-1]}
                expect_eq(said, names(), "each check says something")


test_this_machine_is_checked_without_a_crash.not_sanitized = True


@host_test
def test_the_page_explains_each_check(make, tree):
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \| (.*) \|$", (ROOT / "docs/host.md").read_text(), re.M)
    said = subprocess.run([sys.executable, WEIR_HOST, "check", "--list", "-o", "json"], capture_output=True, text=True, check=True, timeout=60)
    expect_eq(rows, [(r["check"], r["means"], r["mends"]) for r in json.loads(said.stdout)], "the table of docs/host.md")
