# SPDX-License-Identifier: Apache-2.0
"""scripts/weir-host tune, on machines of files (host_tree.py)."""
import json
import re

from host_tree import CONFIG, CPU, GOVERNOR, PAGES, THP, host_test
from rig import expect, expect_eq

import host_checks  # of scripts/lib, by host_tree
import host_tune


def many_faults(tree):
    """What tune can mend, of each kind."""
    tree.put(THP, "[always] madvise never")
    tree.put(GOVERNOR, "powersave")
    tree.put(f"{PAGES}/free_hugepages", 0)
    tree.put("proc/irq/default_smp_affinity", "ffff")
    tree.irq(31, "eth0-rx-0", "4-5")
    tree.put("proc/sys/kernel/nmi_watchdog", 1)
    tree.remove("sys/bus/pci/drivers/vfio-pci")
    tree.unit_limits("infinity", 1024)


def wanted_writes(stdout):
    return {path: (old, new) for path, old, new in re.findall(r"^would write  (/\S+): (.*) -> (.*)  \(", stdout, re.M)}


@host_test
def test_tune_prints_and_changes_nothing(make, tree):
    many_faults(tree)
    before = tree.everything()
    done = tree.tune("--persistent")
    expect_eq((done.returncode, done.stderr), (0, ""), "tune")
    expect_eq(len(wanted_writes(done.stdout)), 6, f"writes: {done.stdout}")
    expect("would run    modprobe vfio-pci" in done.stdout, done.stdout)
    expect_eq(tree.everything(), before, "files")
    expect(not (tree.root / "var").exists(), "nothing is remembered")
    expect(not (tree.root / "../modprobe.log").exists(), "no command was run")


@host_test
def test_apply_does_what_tune_said(make, tree):
    many_faults(tree)
    said = wanted_writes(tree.tune().stdout)
    before = tree.everything()
    done = tree.tune("--apply")
    expect_eq(done.returncode, 0, done.stdout + done.stderr)
    expect_eq({p: tree.get(p) for p in said}, {p: new for p, (_, new) in said.items()}, "values")
    drop_in = "run/systemd/system/weir-dataplane.service.d/50-weir-host.conf"
    expect_eq(tree.get(drop_in), "[Service]\nLimitMEMLOCK=infinity\nLimitNOFILE=65536", "drop-in")
    after = tree.everything()
    changed = {"/" + p for p in after if after[p] != before.get(p)}
    expect_eq(changed, {*said, "/" + drop_in}, "files that changed")
    expect_eq((tree.root / "../modprobe.log").read_text(), "vfio-pci\n", "modprobe")
    expect("daemon-reload\n" in (tree.root / "../systemctl.log").read_text(), "systemd is told")


@host_test
def test_undo_gives_everything_back(make, tree):
    many_faults(tree)
    before = {p: t.replace("[always] madvise never", "always") for p, t in tree.everything().items()}
    expect_eq(tree.tune("--apply", "--persistent").returncode, 0, "apply")
    expect((tree.root / "etc/sysctl.d/90-weir-host.conf").exists(), "files that last")
    done = tree.tune("--undo")
    expect_eq(done.returncode, 0, done.stdout + done.stderr)
    expect_eq(tree.everything(), before, "files")
    expect(not (tree.root / "var/lib/weir/host.json").exists(), "nothing is remembered")
    expect_eq((tree.root / "../modprobe.log").read_text(), "vfio-pci\n-r vfio-pci\n", "modprobe")
    expect_eq(tree.tune("--undo").stdout, "nothing to undo\n", "once more")


@host_test
def test_what_was_at_first_is_remembered_over_several_runs(make, tree):
    tree.put(f"{PAGES}/free_hugepages", 500)
    for mb, total in ((1024, 1036), (4096, 2584)):
        tree.config.write_text(CONFIG.replace("1024", str(mb)))
        expect_eq(tree.tune("--apply", "hugepages").returncode, 0, "apply")
        expect_eq(tree.get(f"{PAGES}/nr_hugepages"), str(total), "pages")
    expect_eq(tree.tune("--undo").returncode, 0, "undo")
    expect_eq(tree.get(f"{PAGES}/nr_hugepages"), "1024", "what was at first")


@host_test
def test_a_change_that_fails_is_told_and_the_others_are_made(make, tree):
    many_faults(tree)
    tree.link(GOVERNOR, "/proc/version")  # can be read, never written
    tree.command("modprobe", "echo 'module vfio-pci not found' >&2; exit 1")
    before = {p: t.replace("[always] madvise never", "always") for p, t in tree.everything().items()}
    done = tree.tune("--apply")
    expect_eq(done.returncode, 1, done.stdout)
    failed = re.findall(r"^FAIL  (.*)", done.stdout, re.M)
    expect(len(failed) == 2 and "scaling_governor" in failed[0] and failed[1] == "vfio: modprobe vfio-pci: module vfio-pci not found", f"{failed}")
    expect_eq(tree.get(THP), "madvise", "a later one")
    kept = json.loads((tree.root / "var/lib/weir/host.json").read_text())["changes"]
    expect(not [e for e in kept if e["kind"] == "run" or e.get("path") == "/" + GOVERNOR], "what failed is not remembered")
    expect_eq(tree.tune("--undo").returncode, 0, "undo")
    expect_eq(tree.everything(), before, "files")


@host_test
def test_a_run_that_was_killed_can_be_undone(make, tree):
    many_faults(tree)
    before = {p: t.replace("[always] madvise never", "always") for p, t in tree.everything().items()}
    tree.command("modprobe", 'echo "$@" >> "$WEIR_HOST_ROOT/../modprobe.log"; [ "$1" = -r ] || kill -9 $PPID')
    expect_eq(tree.tune("--apply").returncode, -9, "killed in the middle")
    expect_eq(tree.get(GOVERNOR), "performance", "some was done")
    expect(not tree.root.joinpath("run/systemd/system/weir-dataplane.service.d").exists(), "some was not")
    expect_eq(tree.tune("--undo").returncode, 0, "undo")
    expect_eq(tree.everything(), before, "files")
    expect_eq((tree.root / "../modprobe.log").read_text(), "vfio-pci\n-r vfio-pci\n", "what was being done, too")


@host_test
def test_undo_leaves_what_somebody_else_has_changed(make, tree):
    many_faults(tree)
    tree.tune("--apply")
    tree.put(GOVERNOR, "schedutil")
    done = tree.tune("--undo")
    expect_eq(done.returncode, 0, done.stdout)
    expect("is left: it is schedutil, not the performance of ours" in done.stdout, done.stdout)
    expect_eq((tree.get(GOVERNOR), tree.get(THP)), ("schedutil", "always"), "that one, and another")


@host_test
def test_what_cannot_be_undone_stays_remembered(make, tree):
    many_faults(tree)
    tree.tune("--apply")
    tree.command("modprobe", "echo in use >&2; exit 1")
    done = tree.tune("--undo")
    expect_eq(done.returncode, 1, done.stdout)
    expect("FAIL  vfio: modprobe -r vfio-pci: in use" in done.stdout, done.stdout)
    expect_eq(tree.get(THP), "always", "the others are")
    tree.command("modprobe", "exit 0")
    expect_eq(tree.tune("--undo").returncode, 0, "later")


@host_test
def test_systemd_is_told_only_where_it_runs(make, tree):
    many_faults(tree)
    tree.remove("run/systemd")
    done = tree.tune("--apply", "--persistent")
    expect_eq(done.returncode, 0, done.stdout)
    expect("by hand      limits: ulimit -l unlimited" in done.stdout, done.stdout)
    expect(not (tree.root / "run/systemd").exists() and not (tree.root / "etc/systemd").exists(), "nothing is written for it")
    expect_eq(tree.tune("--undo").returncode, 0, "undo")
    expect("daemon-reload" not in (tree.root / "../systemctl.log").read_text(), "it was not asked")


@host_test
def test_a_systemd_that_went_away_does_not_hinder_undo(make, tree):
    """As in a container that has the folder of another root."""
    many_faults(tree)
    expect_eq(tree.tune("--apply", "--persistent").returncode, 0, "apply")
    tree.remove("run/systemd")
    tree.command("systemctl", "exit 1")
    done = tree.tune("--undo")
    expect_eq(done.returncode, 0, done.stdout)
    expect(not (tree.root / "etc/systemd/system/weir-dataplane.service.d").exists(), "the drop-in is gone")


@host_test
def test_what_is_remembered_is_never_guessed_at(make, tree):
    many_faults(tree)
    tree.put("var/lib/weir/host.json", '{"version": 1, "changes": [{"ki')
    before = tree.everything()
    for args in (["--apply"], ["--undo"]):
        done = tree.tune(*args)
        expect_eq(done.returncode, 1, f"{args}")
        expect("host.json is not what this weir-host writes; nothing was changed" in done.stderr, done.stderr)
    expect_eq(tree.everything(), before, "files")


@host_test
def test_nothing_is_changed_that_could_not_be_remembered(make, tree):
    many_faults(tree)
    tree.put("var/lib/weir", "a file, where a folder should be")
    before = tree.everything()
    done = tree.tune("--apply")
    expect_eq((done.returncode, done.stdout), (1, ""), done.stderr)
    expect(done.stderr.startswith("weir-host: ") and "Traceback" not in done.stderr, done.stderr)
    expect_eq(tree.everything(), before, "files")


@host_test
def test_settings_last_where_that_is_asked(make, tree):
    many_faults(tree)
    expect_eq(tree.tune("--apply", "--persistent").returncode, 0, "apply")
    expect_eq(tree.get("etc/sysctl.d/90-weir-host.conf").splitlines()[1:], ["kernel.nmi_watchdog = 0"], "sysctl")
    lasting = tree.get("etc/tmpfiles.d/weir-host.conf").splitlines()[1:]
    for line in (f"w /{PAGES}/nr_hugepages - - - - 1536", f"w /{GOVERNOR} - - - - performance", f"w /{THP} - - - - madvise",
                 "w /proc/irq/default_smp_affinity - - - - 0000ff9f"):
        expect(line in lasting, f"{line} in {lasting}")
    expect("/proc/irq/31" not in str(lasting), "numbers of interrupts change")
    expect_eq(tree.get("etc/modules-load.d/weir-host.conf").splitlines()[1:], ["vfio-pci"], "modules")
    expect_eq(tree.get("etc/systemd/system/weir-dataplane.service.d/50-weir-host.conf").splitlines()[1:],
              ["[Service]", "LimitMEMLOCK=infinity", "LimitNOFILE=65536"], "drop-in")
    tree.put("proc/cmdline", "quiet")
    expect_eq([f["found"] for f in tree.check("hugepages-boot")[0]], ["/etc/tmpfiles.d/weir-host.conf"], "the check sees it")


@host_test
def test_a_setting_that_lasts_is_set_anew_beside_the_others(make, tree):
    many_faults(tree)
    tree.tune("--apply", "--persistent")
    lasting = set(tree.get("etc/tmpfiles.d/weir-host.conf").splitlines())
    tree.config.write_text(CONFIG.replace("mb: 1024", "mb: 4096"))
    expect_eq(tree.tune("--apply", "--persistent", "hugepages").returncode, 0, "apply")
    now = set(tree.get("etc/tmpfiles.d/weir-host.conf").splitlines())
    expect_eq((now - lasting, lasting - now), ({f"w /{PAGES}/nr_hugepages - - - - 3584"}, {f"w /{PAGES}/nr_hugepages - - - - 1536"}), "lines")


@host_test
def test_the_kernels_command_line_is_only_printed(make, tree):
    tree.put("proc/cmdline", "quiet")
    for f in ("isolated", "nohz_full"):
        tree.put(f"{CPU}/{f}", "")
    tree.remove("sys/class/iommu/dmar0")
    done = tree.tune("--apply", "--persistent")
    expect_eq(done.returncode, 0, done.stderr)
    expect('GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX isolcpus=managed_irq,domain,5-6,13-14 nohz_full=5-6,13-14 rcu_nocbs=5-6,13-14 hugepagesz=2M hugepages=512 '
           'intel_iommu=on iommu=pt"' in done.stdout, done.stdout)
    expect_eq(tree.get("etc/default/grub"), 'GRUB_CMDLINE_LINUX=""', "GRUB's file")


@host_test
def test_notes_are_acted_on_only_by_name(make, tree):
    tree.put("proc/mounts", "sysfs /sys sysfs rw 0 0")
    tree.command("mount", 'echo "$@" > "$WEIR_HOST_ROOT/../mount.log"')
    expect_eq(tree.tune("--apply").stdout, "nothing to change\n", "without a name")
    expect_eq(tree.tune("--apply", "hugetlbfs").returncode, 0, "by name")
    expect("hugetlbfs /dev/hugepages" in (tree.root / "../mount.log").read_text(), "mounted")


@host_test
def test_wrong_usage_changes_nothing(make, tree):
    many_faults(tree)
    before = tree.everything()
    for args in (["--apply", "nonsense"], ["--apply", "--undo"], ["--undo", "thp"], ["--nonsense"]):
        done = tree.tune(*args)
        expect_eq((done.returncode, done.stdout), (2, ""), f"{args}")
    expect_eq(tree.everything(), before, "files")


@host_test
def test_fewer_hugepages_than_asked_for_are_told(make, tree):
    action = host_checks.Write("/x/hugepages-2048kB/nr_hugepages", "1024")
    expect_eq(host_tune.falls_short(action, {"new": "1024"}), None, "all of them")
    expect(host_tune.falls_short(action, {"new": "800"}).startswith("the kernel made it 800, not 1024 (memory is full"), "some of them")
