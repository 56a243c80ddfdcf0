# SPDX-License-Identifier: Apache-2.0
"""scripts/weir-nic, on machines that are files (nic_tree_double.py), and what it says of this one. Nothing real is bound."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from nic_tree_double import COMMANDS, SCRIPT, Tree, put
from rig import expect, expect_eq

A, B, C = "0000:01:00.0", "0000:01:00.1", "0000:02:00.0"
RULES = "etc/udev/rules.d/05-weir-nic.rules"
MODULES = "etc/modules-load.d/weir-nic.conf"
OPTIONS = "etc/modprobe.d/weir-nic.conf"
NOIOMMU = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"


def plain(fn):
    """There is no C in it."""
    fn.not_sanitized = True
    return fn


def planned(tree, *args, status=0):
    return json.loads(tree.run("plan", "-o", "json", *args, status=status).stdout)


# ---- list

@plain
def test_list_tells_what_a_nic_is(make):
    with Tree() as tree:
        tree.add(A, name="eth0", group=12, vfs_max=63)
        tree.add(B, name="eth1", group=12)
        tree.configure("eth0", "192.0.2.10/24")
        put(tree.root / "usr/share/misc/pci.ids", "8086  Intel Corporation\n\t10fb  82599ES 10-Gigabit\nC 02  Network\n")
        nic = json.loads(tree.run("list", "-o", "json").stdout)[0]
        expect_eq([nic[k] for k in ("pci", "vendor", "device", "driver", "numa_node", "iommu_group")],
                  [A, "Intel Corporation", "82599ES 10-Gigabit", "ixgbe", 1, "12"], "what it is")
        expect_eq(nic["group_partners"], [{"pci": B, "driver": "ixgbe"}], "others of the group")
        i = nic["interfaces"][0]
        expect_eq([i[k] for k in ("name", "link", "speed_mbps", "rx_queues", "tx_queues", "addresses")],
                  ["eth0", True, 10000, 2, 1, ["192.0.2.10/24"]], "its interface")
        expect_eq(nic["sriov"], {"pf": None, "vfs": [], "vfs_max": 63}, "SR-IOV")
        text = tree.run("list").stdout
        for part in ("Intel Corporation 82599ES", f"IOMMU group 12 with {B} (ixgbe)", "link up, 10000 Mb/s", "queues 2 rx 1 tx",
                     "0 of 63 VFs", "in use (has_addresses)"):
            expect(part in text, f"{part!r} in {text}")


@plain
def test_list_names_ids_without_pci_ids_and_leaves_other_classes_out(make):
    with Tree(iommu=False) as tree:
        tree.add(A, name="eth0")
        tree.add(C, driver="nvme", kind="010802")
        nics = json.loads(tree.run("list", "-o", "json").stdout)
        expect_eq([(n["pci"], n["vendor"], n["device"], n["iommu_group"]) for n in nics], [(A, "8086", "10fb", None)], "NICs")


@plain
def test_list_and_plan_run_on_this_machine(make):
    """On the real /sys, and they only read."""
    for args in (["list"], ["plan"], ["list", "-o", "json"], ["plan", "-o", "json"]):
        env = {k: v for k, v in os.environ.items() if k != "WEIR_NIC_ROOT"}
        done = subprocess.run([sys.executable, str(SCRIPT), *args], capture_output=True, text=True, timeout=60, env=env)
        expect(done.returncode == 0 and not done.stderr, f"{args}: {done.returncode} {done.stdout}{done.stderr}")
        if "json" in args:
            here = pathlib.Path("/sys/bus/pci/devices")
            nics = sorted(d.name for d in here.iterdir() if (d / "class").read_text().startswith("0x02")) if here.exists() else []
            expect_eq([n["pci"] for n in json.loads(done.stdout)], nics, f"NICs by {args}")


# ---- which driver

@plain
def test_vfio_behind_an_iommu(make):
    with Tree() as tree:
        tree.add(A, name="eth0", group=7)
        plan = planned(tree, "eth0")[0]
        expect_eq((plan["action"], plan["driver"], plan["refused"], plan["warnings"]), ("bind", "vfio-pci", [], []), "plan")
        expect("group 7" in plan["why"], plan["why"])


@plain
def test_bifurcated_drivers_stay_in_the_kernel(make):
    with Tree() as tree:
        for i, driver in enumerate(("mlx5_core", "mlx4_core", "mana")):
            address = tree.add(f"0000:0{i + 1}:00.0", driver=driver, name=f"eth{i}", ids="15b3:1017")
            before = tree.snapshot()
            plan = planned(tree, address)[0]
            expect_eq((plan["action"], plan["driver"], plan["refused"]), ("stays", driver, []), driver)
            expect(f"pci: {address}" in plan["why"], plan["why"])
            expect("stays with" in tree.run("bind", address).stdout, "bind says so")
            expect_eq(tree.snapshot(), before, "nothing is changed")


@plain
def test_no_iommu_is_refused_until_it_is_allowed(make):
    with Tree(iommu=False) as tree:
        tree.add(A, name="eth0")
        put(tree.root / "proc/cpuinfo", "vendor_id : GenuineIntel\n")
        line = tree.refused("no_iommu", "bind", A)
        expect("intel_iommu=on iommu=pt" in line and "--allow-no-iommu" in line, line)
        expect_eq(tree.driver(A), "ixgbe", "driver")
        done = tree.run("bind", A, "--allow-no-iommu")
        expect("WARNING" in done.stderr and "NO IOMMU" in done.stderr, done.stderr)
        expect_eq((tree.driver(A), tree.read(NOIOMMU)), ("vfio-pci", "1"), "bound in no-IOMMU mode")
        nic = json.loads(tree.run("list", "-o", "json").stdout)[0]
        expect_eq((nic["iommu_group"], nic["no_iommu"]), (None, True), "VFIO's own group is no protection")
        group = os.path.basename(os.readlink(tree.root / f"sys/bus/pci/devices/{A}/iommu_group"))
        tree.hold(4711, f"/dev/vfio/noiommu-{group}", "weir-dataplane")
        tree.refused("in_use_by_process", "restore", A)
        shutil.rmtree(tree.root / "proc/4711")
        tree.run("restore", A)
        expect_eq((tree.driver(A), tree.read(NOIOMMU), tree.state()), ("ixgbe", "0", None), "all as it was")


@plain
def test_no_iommu_mode_ends_with_the_last_device_that_needs_it(make):
    with Tree(iommu=False) as tree:
        tree.add(A, name="eth0"), tree.add(C, name="eth1")
        tree.run("bind", A, "--allow-no-iommu")
        tree.run("bind", C, "--allow-no-iommu")
        tree.run("restore", A)
        expect_eq(tree.read(NOIOMMU), "1", "the other one needs it")
        tree.run("restore", C)
        expect_eq(tree.read(NOIOMMU), "0", "nobody needs it")


@plain
def test_kernel_without_no_iommu_mode(make):
    with Tree(iommu=False) as tree:
        tree.add(A, name="eth0")
        put(tree.root / "boot/config-6.1.0-test", "# CONFIG_VFIO_NOIOMMU is not set\n")
        line = tree.refused("no_iommu", "bind", "--driver", "vfio-pci", "--allow-no-iommu", A)
        expect("no no-IOMMU mode" in line, line)
        (tree.root / "boot/config-6.1.0-test").unlink()
        put(tree.root / "no_noiommu", "")  # nobody knows before the module is loaded
        line = tree.refused("no_iommu", "bind", "--allow-no-iommu", A)
        expect("no no-IOMMU mode" in line, line)
        expect_eq((tree.driver(A), tree.state()), ("ixgbe", None), "driver, state")


@plain
def test_uio_where_there_is_no_vfio(make):
    with Tree(iommu=False, modules=("uio_pci_generic", "igb_uio")) as tree:
        tree.add(A, name="eth0")
        plan = planned(tree, A, "--allow-no-iommu")[0]
        expect_eq((plan["driver"], plan["refused"], len(plan["warnings"])), ("uio_pci_generic", [], 1), "plan")
        expect_eq([r["name"] for r in planned(tree, A, status=1)[0]["refused"]], ["no_iommu"], "not by itself")
        tree.run("bind", A, "--allow-no-iommu")
        expect_eq(tree.driver(A), "uio_pci_generic", "driver")


@plain
def test_uio_where_it_is_asked_for(make):
    with Tree(iommu=False, modules=("vfio-pci", "igb_uio")) as tree:
        tree.add(A, name="eth0")
        done = tree.run("bind", "--driver", "igb_uio", A)
        expect("NO IOMMU" in done.stderr, done.stderr)
        expect_eq(tree.driver(A), "igb_uio", "driver")


@plain
def test_uio_is_refused_where_the_iommu_translates(make):
    with Tree(modules=("uio_pci_generic",)) as tree:
        tree.add(A, name="eth0", group=3)
        tree.refused("iommu_translates", "bind", "--driver", "uio_pci_generic", A)
        put(tree.root / "sys/kernel/iommu_groups/3/type", "identity\n")
        tree.run("bind", "--driver", "uio_pci_generic", A)
        expect_eq(tree.driver(A), "uio_pci_generic", "driver with iommu=pt")


@plain
def test_uio_is_refused_by_a_locked_down_kernel(make):
    with Tree(iommu=False, modules=("uio_pci_generic",)) as tree:
        tree.add(A, name="eth0")
        put(tree.root / "sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
        tree.refused("locked_down", "bind", "--driver", "uio_pci_generic", A)


@plain
def test_a_module_that_the_kernel_does_not_have(make):
    with Tree(modules=()) as tree:
        tree.add(A, name="eth0")
        expect("linux-image-amd64" in tree.refused("no_such_module", "bind", A), "what to install")
        expect("dpdk-kmods-dkms" in tree.refused("no_such_module", "bind", "--driver", "igb_uio", A), "what to install")


def virtio(version_1, platform):
    bits = ["0"] * 64
    bits[32], bits[33] = "01"[version_1], "01"[platform]
    return "".join(bits)


@plain
def test_virtio_that_does_not_obey_the_iommu(make):
    for features, name in ((virtio(False, False), "legacy_virtio"), (virtio(True, False), "virtio_without_iommu"), (virtio(True, True), None)):
        with Tree(modules=("vfio-pci", "uio_pci_generic")) as tree:
            tree.add(A, driver="virtio-pci", name="eth0", ids="1af4:1000", features=features)
            if name:
                expect("uio_pci_generic" in tree.refused(name, "bind", A), "the way out is named")
                tree.run("bind", "--driver", "uio_pci_generic", A)
                expect_eq(tree.driver(A), "uio_pci_generic", name)
            else:
                tree.run("bind", A)
                expect_eq(tree.driver(A), "vfio-pci", "one that does")


@plain
def test_a_nic_that_dpdk_has_no_driver_for_is_warned_of(make):
    with Tree() as tree:
        tree.add(A, driver="tg3", name="eth0", ids="14e4:165f")
        expect("no DPDK driver is known" in planned(tree, A)[0]["warnings"][0], "warned")


# ---- refusals by use

def refused_unless_forced(name, prepare, text, **env):
    with Tree() as tree:
        tree.add(A, name="eth0")
        prepare(tree)
        before = tree.snapshot()
        for command in ("bind", "unbind"):
            line = tree.refused(name, command, "eth0", env=env)
            expect(text in line and "--force" in line, line)
        expect_eq(tree.snapshot(), before, "nothing is changed")
        expect(name in [u["name"] for u in json.loads(tree.run("list", "-o", "json", env=env).stdout)[0]["in_use"]], "list names it, too")
        done = tree.run("bind", "--force", "eth0", env=env)
        expect("WARNING" in done.stderr and text in done.stderr, done.stderr)
        expect_eq((tree.driver(A), "--force" in tree.log("dpdk-devbind.py")[-1]), ("vfio-pci", True), "forced")


@plain
def test_default_route_of_ipv4_is_refused(make):
    refused_unless_forced("default_route", lambda t: t.default_route("eth0"), "default route (IPv4)")


@plain
def test_default_route_of_ipv6_is_refused(make):
    refused_unless_forced("default_route", lambda t: t.default_route("eth0", 6), "default route (IPv6)")


@plain
def test_a_next_hop_of_the_default_route_is_refused(make):
    """proc shows the first of them only."""
    hops = [{"gateway": "198.51.100.1", "dev": "eth9"}, {"gateway": "192.0.2.1", "dev": "eth0"}]
    refused_unless_forced("default_route", lambda t: t.default_routes_of_ip({"dst": "default", "nexthops": hops}), "default route (IPv4)")
    with Tree() as tree:
        tree.add(A, name="eth0")
        tree.default_routes_of_ip({"type": "unreachable", "dst": "default"}, {"dst": "default", "dev": "eth9"})
        expect_eq(planned(tree, A)[0]["refused"], [], "another's")


@plain
def test_default_route_by_a_bridge_on_a_vlan_is_refused(make):
    def prepare(tree):
        tree.stack("eth0", "eth0.7", "vlan")
        tree.stack("eth0.7", "br0", "bridge")
        tree.default_route("br0")

    with Tree() as tree:
        tree.add(A, name="eth0")
        prepare(tree)
        names = [r["name"] for r in planned(tree, A, status=1)[0]["refused"]]
        expect_eq(names, ["default_route", "vlan_parent"], "refusals")


TCP = "  sl  local_address rem_address   st\n   0: 0A0200C0:{port:04X} 010200C0:C001 {state:02X} 0:0 0:0 0 0 0 1\n"
TCP6 = "  sl  local_address rem_address   st\n   0: {address}:0016 {address}:C001 01 0:0 0:0 0 0 0 1\n"


def ssh_at(port=22, state=1, config=None):
    def prepare(tree):
        tree.configure("eth0", "192.0.2.10/24", up=False)  # not up: it is ssh alone that refuses
        put(tree.root / "proc/net/tcp", TCP.format(port=port, state=state))
        if config:
            put(tree.root / "etc/ssh/sshd_config.d/port.conf", config)
    return prepare


@plain
def test_a_session_of_ssh_is_refused(make):
    refused_unless_forced("ssh", ssh_at(), "ssh session (at 192.0.2.10)")


@plain
def test_a_session_of_ssh_at_another_port_is_refused(make):
    refused_unless_forced("ssh", ssh_at(port=2222, config="Port 2222\n"), "ssh session")


@plain
def test_a_session_of_ssh_over_ipv6_is_refused(make):
    def prepare(tree):
        tree.configure("eth0", "2001:db8::10/64", up=False)
        put(tree.root / "proc/net/tcp6", TCP6.format(address="B80D0120000000000000000010000000"))
    refused_unless_forced("ssh", prepare, "ssh session (at 2001:db8::10)")


@plain
def test_a_session_of_ssh_to_a_mapped_address_is_refused(make):
    def prepare(tree):
        tree.configure("eth0", "192.0.2.10/24", up=False)
        put(tree.root / "proc/net/tcp6", TCP6.format(address="0000000000000000FFFF00000A0200C0"))
    refused_unless_forced("ssh", prepare, "ssh session (at 192.0.2.10)")


@plain
def test_the_session_that_one_types_in_is_refused(make):
    refused_unless_forced("ssh", lambda t: t.configure("eth0", "192.0.2.10/24", up=False), "ssh session",
                          SSH_CONNECTION="192.0.2.1 50000 192.0.2.10 22")


@plain
def test_a_session_of_ssh_to_an_address_of_loopback_is_refused(make):
    def prepare(tree):
        tree.ssh_at_loopback("192.0.2.10", "eth0")
        put(tree.root / "proc/net/tcp", TCP.format(port=22, state=1))
    refused_unless_forced("ssh", prepare, "ssh session (at 192.0.2.10)")


@plain
def test_a_socket_of_ssh_that_only_listens_is_nobody(make):
    for prepare in (ssh_at(state=0x0A), ssh_at(port=80)):
        with Tree() as tree:
            tree.add(A, name="eth0")
            prepare(tree)
            expect_eq(planned(tree, A)[0]["refused"], [], "refusals")


@plain
def test_an_interface_that_is_up_with_addresses_is_refused(make):
    refused_unless_forced("has_addresses", lambda t: t.configure("eth0", "198.51.100.1/24"), "198.51.100.1/24")


@plain
def test_members_of_bridges_and_bonds_and_parents_of_vlans_are_refused(make):
    for name, upper, kind in (("in_bridge", "br0", "bridge"), ("in_bond", "bond0", "bonding"), ("vlan_parent", "eth0.7", "vlan")):
        refused_unless_forced(name, lambda t, upper=upper, kind=kind: t.stack("eth0", upper, kind), upper)


@plain
def test_without_ip_nobody_knows_who_uses_it(make):
    with Tree() as tree:
        tree.add(A, name="eth0")
        tree.remove_command("ip")
        tree.refused("addresses_unknown", "bind", A)


@plain
def test_a_device_that_a_process_has_open_is_refused_even_with_force(make):
    with Tree() as tree:
        tree.add(A, name="eth0", group=5)
        tree.run("bind", A)
        tree.hold(4711, "/dev/vfio/5", "weir-dataplane")
        for args in (["unbind", A, "--force"], ["restore", A], ["restore", "--all"], ["bind", "--force", "--driver", "uio_pci_generic", A]):
            expect("4711 (weir-dataplane)" in tree.refused("in_use_by_process", *args), "who")
        expect_eq(tree.driver(A), "vfio-pci", "driver")


# ---- IOMMU groups

@plain
def test_partners_of_the_group_must_come_along(make):
    with Tree() as tree:
        tree.add(A, name="eth0", group=9)
        tree.add(B, name="eth1", group=9)
        tree.add("0000:00:1c.0", driver="pcieport", group=9, kind="060400")
        line = tree.refused("iommu_group_shared", "bind", A)
        expect(f"bind {A} {B}" in line and "1c.0" not in line, line)
        tree.run("bind", A, B)
        expect_eq((tree.driver(A), tree.driver(B)), ("vfio-pci", "vfio-pci"), "both")


@plain
def test_a_partner_without_a_driver_is_no_hindrance(make):
    with Tree() as tree:
        tree.add(A, name="eth0", group=9)
        tree.add(B, name="eth1", group=9)
        tree.run("unbind", B)
        tree.run("bind", A)
        expect_eq((tree.driver(A), tree.driver(B)), ("vfio-pci", None), "drivers")
        tree.run("restore", "--all")
        expect_eq((tree.driver(A), tree.driver(B)), ("ixgbe", "ixgbe"), "both are back")


@plain
def test_a_partner_that_is_no_nic_is_not_touched(make):
    with Tree() as tree:
        tree.add(A, name="eth0", group=9)
        tree.add(C, driver="xhci_hcd", group=9, kind="0c0330")
        expect(f"echo {C} >" in tree.refused("iommu_group_shared", "bind", A), "the line is named")
        tree.refused("not_a_nic", "bind", A, C)
        tree.refused("not_a_nic", "unbind", C)
        expect_eq(tree.driver(C), "xhci_hcd", "driver")


# ---- bind, unbind, restore

def busy_tree(**kw):
    tree = Tree(**kw)
    tree.add(A, name="eth0")
    tree.add(C, name="eth1")
    tree.configure("eth0", "192.0.2.10/24", "2001:db8::10/64", mtu="9000",
                   routes=["192.0.2.0/24 proto kernel scope link", "203.0.113.0/24 via 192.0.2.1 proto static linkdown"])
    return tree


@plain
def test_devices_are_named_in_three_ways(make):
    for name in (A, A[5:], A.upper(), "eth0"):
        with Tree() as tree:
            tree.add(A, name="eth0")
            tree.run("bind", name)
            expect_eq(tree.driver(A), "vfio-pci", name)
            tree.run("restore", name)
            expect_eq(tree.driver(A), "ixgbe", name)


@plain
def test_names_that_mean_nothing(make):
    with Tree() as tree:
        tree.add_interface("dummy0", None)
        tree.refused("no_such_device", "bind", "0000:09:00.0")
        tree.refused("no_such_device", "bind", "eth7")
        tree.refused("not_a_pci_device", "bind", "dummy0")


@plain
def test_bind_saves_first_what_was(make):
    with busy_tree() as tree:
        tree.run("bind", "--force", "eth0")
        entry = tree.state()["devices"][A]
        expect_eq((entry["driver"], entry["override"], entry["bound_to"]), ("ixgbe", None, "vfio-pci"), "driver")
        i = entry["interfaces"][0]
        expect_eq((i["name"], i["mtu"], i["up"], [a["local"] for a in i["addresses"]]), ("eth0", 9000, True, ["192.0.2.10", "2001:db8::10"]),
                  "interface")
        expect_eq(i["routes"], ["-4 203.0.113.0/24 via 192.0.2.1 proto static"], "routes that the kernel does not make itself")
        tree.run("bind", "--driver", "vfio-pci", A)
        expect_eq(tree.state()["devices"][A], entry, "a second bind keeps the first entry")


@plain
def test_restore_gives_back_all_that_was(make):
    for commands in (COMMANDS, [c for c in COMMANDS if c != "dpdk-devbind.py"]):
        with busy_tree(commands=commands) as tree:
            before = tree.snapshot()
            tree.run("bind", "--force", "eth0", C)
            expect_eq((tree.driver(A), tree.driver(C)), ("vfio-pci", "vfio-pci"), "bound")
            tree.run("restore", "--all")
            after = {k: v for k, v in tree.snapshot().items() if "/module/" not in k}
            expect_eq(after, before, f"everything, with {commands}")
            said = [" ".join(a) for a in tree.log("ip")]
            for wanted in ("addr replace 192.0.2.10/24 scope global dev eth0", "addr replace 2001:db8::10/64 scope global dev eth0",
                           "-4 route replace 203.0.113.0/24 via 192.0.2.1 proto static dev eth0", "link set eth1 down"):
                expect(wanted in said, f"{wanted} in {said}")
            expect("nothing to restore" in tree.run("restore", "--all").stdout, "once is enough")


@plain
def test_restore_gives_the_interface_its_name_back(make):
    with Tree() as tree:
        tree.add(A, name="eth0")
        tree.run("bind", A)
        tree.kinds[A] = ("enp1s0", None)  # what the kernel calls it now
        tree.run("restore", "eth0")
        expect_eq(os.listdir(tree.root / f"sys/bus/pci/devices/{A}/net"), ["eth0"], "name")


@plain
def test_an_interface_of_the_real_kernel_comes_back_as_it_was(make):
    child = pathlib.Path(__file__).with_name("nic_interface.py")
    done = subprocess.run(["unshare", "--net", "--mount", sys.executable, str(child)], capture_output=True, text=True, timeout=60)
    expect(done.returncode == 0 and not done.stderr, done.stdout + done.stderr)


@plain
def test_bind_goes_by_sysfs_as_devbind_does(make):
    with Tree(commands=["ip", "modprobe"]) as tree:
        tree.add(A, name="eth0")
        tree.run("bind", A)
        drivers = tree.root / "sys/bus/pci/drivers"
        expect_eq([(drivers / f).read_text() for f in ("ixgbe/unbind", "vfio-pci/bind")], [A, A], "written")
        expect_eq((tree.driver(A), tree.read(f"sys/bus/pci/devices/{A}/driver_override")), ("vfio-pci", "\n"), "bound, and no override left")


@plain
def test_restore_without_state_asks_the_kernel(make):
    with Tree() as tree:
        tree.add(A, name="eth0")
        tree.run("bind", A)
        (tree.root / "var/lib/weir/nic.json").unlink()
        tree.run("restore", A)
        expect_eq(tree.driver(A), "ixgbe", "driver")
        expect(["pci:v8086d10fb"] in tree.log("modprobe"), "by its modalias")


@plain
def test_unbind_leaves_no_driver_and_restore_undoes_it(make):
    with busy_tree() as tree:
        tree.run("unbind", C)
        expect_eq(tree.driver(C), None, "driver")
        tree.run("restore", C)
        expect_eq((tree.driver(C), tree.state()), ("ixgbe", None), "driver, state")


@plain
def test_a_second_driver_and_back_to_the_first(make):
    with Tree(modules=("vfio-pci", "uio_pci_generic")) as tree:
        tree.add(A, name="eth0", group=3)
        put(tree.root / "sys/kernel/iommu_groups/3/type", "identity\n")
        tree.run("bind", A)
        first = tree.state()["devices"][A]
        tree.deny("uio_pci_generic", A)
        tree.refused("bind_failed", "bind", "--driver", "uio_pci_generic", A)
        expect_eq((tree.driver(A), tree.state()["devices"][A]["bound_to"]), ("vfio-pci", "vfio-pci"), "as the first bind left it")
        tree.allow("uio_pci_generic", A)
        tree.run("bind", "--driver", "uio_pci_generic", A)
        expect_eq(tree.driver(A), "uio_pci_generic", "driver")
        expect_eq(tree.state()["devices"][A], first | {"bound_to": "uio_pci_generic"}, "what was before the first bind is kept")
        tree.run("restore", A)
        expect_eq(tree.driver(A), "ixgbe", "driver")


@plain
def test_a_failure_half_way_puts_all_back(make):
    for commands in (COMMANDS, [c for c in COMMANDS if c != "dpdk-devbind.py"]):
        with busy_tree(commands=commands) as tree:
            before = tree.snapshot()
            tree.deny("vfio-pci", C)
            line = tree.refused("bind_failed", "bind", "--force", "--persistent", A, C)
            expect(C in line and ("Cannot bind to driver vfio-pci" in line) == ("dpdk-devbind.py" in commands), f"what dpdk-devbind.py says: {line}")
            after = {k: v for k, v in tree.snapshot().items() if "/module/" not in k}
            expect_eq(after, before, "everything")
            expect_eq((tree.driver(A), tree.driver(C), tree.state()), ("ixgbe", "ixgbe", None), "drivers, state")


@plain
def test_a_signal_half_way_puts_all_back(make):
    for number in (signal.SIGTERM, signal.SIGINT):
        with busy_tree() as tree:
            before = tree.snapshot()
            status, said = tree.signalled(number, "dpdk-devbind.py", C, "bind", "--force", A, C)
            expect(status == 1 and "refused (interrupted)" in said and f"{A} is put back to ixgbe" in said, f"{status}: {said}")
            after = {k: v for k, v in tree.snapshot().items() if "/module/" not in k}
            expect_eq(after, before, "everything")


@plain
def test_a_session_that_breaks_does_not_end_it_half_way(make):
    with busy_tree() as tree:
        status, said = tree.signalled(signal.SIGHUP, "dpdk-devbind.py", A, "bind", "--force", A, C)
        expect(status == 0, f"{status}: {said}")
        expect_eq((tree.driver(A), tree.driver(C)), ("vfio-pci", "vfio-pci"), "drivers")


@plain
def test_a_module_that_does_not_load_puts_all_back(make):
    with Tree() as tree:
        tree.add(A, name="eth0")
        before = tree.snapshot()
        tree.fail("modprobe", "vfio-pci", "modprobe: ERROR: could not insert 'vfio_pci': Key was rejected by service")
        expect("Key was rejected" in tree.refused("modprobe_failed", "bind", A), "what modprobe says")
        expect_eq(tree.snapshot(), before, "everything")


@plain
def test_what_cannot_be_put_back_stays_in_the_state_file(make):
    with busy_tree() as tree:
        for driver in ("vfio-pci", "ixgbe"):
            tree.deny(driver, C)
        done = tree.run("bind", "--force", A, C, status=1)
        expect(f"{C} is not as it was" in done.stderr and f"restore {C}" in done.stderr, done.stderr)
        expect_eq((tree.driver(A), list(tree.state()["devices"])), ("ixgbe", [C]), "the other one is back")
        tree.allow("ixgbe", C)
        tree.run("restore", "--all")
        expect_eq((tree.driver(C), tree.state()), ("ixgbe", None), "driver, state")


@plain
def test_restore_goes_on_behind_one_that_fails(make):
    with busy_tree() as tree:
        tree.run("bind", "--force", A, C)
        tree.deny("ixgbe", A)
        tree.refused("restore_failed", "restore", "--all")
        expect_eq((tree.driver(C), list(tree.state()["devices"])), ("ixgbe", [A]), "the other one is back")


@plain
def test_a_device_that_is_gone_is_forgotten(make):
    with busy_tree() as tree:
        tree.run("bind", C)
        tree.detach(C)
        os.rename(tree.root / f"sys/bus/pci/devices/{C}", tree.root / "gone")
        expect("is not there" in tree.run("list").stdout, "list says so")
        expect("not there any more" in tree.run("restore", "--all").stderr, "restore warns")
        expect_eq(tree.state(), None, "state")


@plain
def test_a_state_file_that_cannot_be_read_is_left_alone(make):
    for text in ("{", '{"version": 7, "devices": {}, "noiommu_before": null}', '{"version": 1, "noiommu_before": null, "devices": {"x": {}}}', "[]"):
        with Tree() as tree:
            tree.add(A, name="eth0")
            put(tree.root / "var/lib/weir/nic.json", text)
            for args in (["bind", A], ["unbind", A], ["restore", "--all"], ["restore", A]):
                expect("mv " in tree.refused("state_unreadable", *args), "the line that mends it")
            expect("WARNING" in tree.run("list").stderr, "list goes on")
            expect_eq((tree.driver(A), tree.read("var/lib/weir/nic.json")), ("ixgbe", text), "driver, file")


@plain
def test_one_at_a_time(make):
    import fcntl
    with Tree() as tree:
        tree.add(A, name="eth0")
        put(tree.root / "var/lib/weir/nic.lock", "")
        with open(tree.root / "var/lib/weir/nic.lock") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            tree.refused("busy", "bind", A)
        tree.run("bind", A)


@plain
def test_a_dry_run_changes_nothing(make):
    for iommu in (True, False):
        with busy_tree(iommu=iommu) as tree:
            tree.add("0000:05:00.0", name="eth5", vfs_max=4)
            before = tree.snapshot()
            more = [] if iommu else ["--allow-no-iommu"]
            text = tree.run("bind", "--dry-run", "--force", "--persistent", *more, A).stdout
            expect("would run dpdk-devbind.py --bind=vfio-pci" in text and RULES in text and "would be bound" in text, text)
            tree.run("unbind", "--dry-run", C)
            tree.run("bind", "--dry-run", "--vfs", "2", *more, "eth5")
            expect_eq(tree.snapshot(), before, "everything")
            expect(not tree.log("dpdk-devbind.py") and not tree.log("modprobe"), f"run: {tree.log()}")
            tree.run("bind", "--force", *more, A)
            bound = tree.snapshot()
            expect("would write" in tree.run("restore", "--dry-run", "--all").stdout, "restore, too")
            expect_eq(tree.snapshot(), bound, "everything")


@plain
def test_usage_is_status_2(make):
    with Tree() as tree:
        for args in ([], ["bind"], ["restore"], ["restore", "--all", A], ["bind", "--vfs", "0", A], ["bind", "--driver", "ixgbe", A], ["mend"]):
            tree.run(*args, status=2)
        for args in (["--help"], ["list", "--help"], ["plan", "--help"], ["bind", "--help"], ["unbind", "--help"], ["restore", "--help"]):
            tree.run(*args)


# ---- persistence

@plain
def test_persistent_by_a_udev_rule(make):
    with Tree() as tree:
        tree.add(A, name="eth0")
        before = tree.snapshot()
        expect("05-weir-nic.rules" in tree.run("bind", "--persistent", A).stdout, "it says by what")
        rule = tree.read(RULES).splitlines()[1]
        for part in (f'KERNEL=="{A}"', 'ATTR{driver_override}="vfio-pci"', 'DRIVER!="vfio-pci"', "kmod load vfio-pci", "drivers_probe"):
            expect(part in rule, f"{part} in {rule}")
        expect_eq(tree.read(MODULES).splitlines()[1:], ["vfio-pci"], "modules")
        expect_eq((tree.read(OPTIONS), tree.log("udevadm")), (None, [["control", "--reload"]]), "options, udev")
        tree.run("restore", A)
        after = {k: v for k, v in tree.snapshot().items() if "/module/" not in k}
        expect_eq(after, before, "nothing is left")


@plain
def test_persistence_of_one_outlasts_the_restore_of_another(make):
    with Tree(iommu=False) as tree:
        tree.add(A, name="eth0"), tree.add(C, name="eth1")
        tree.run("bind", "--persistent", "--allow-no-iommu", A, C)
        expect("enable_unsafe_noiommu_mode=1" in tree.read(OPTIONS), "no-IOMMU mode outlasts a restart, too")
        tree.run("restore", A)
        expect(A not in tree.read(RULES) and C in tree.read(RULES) and tree.read(MODULES) and tree.read(OPTIONS), "the other's stays")
        tree.run("restore", C)
        expect_eq([tree.read(f) for f in (RULES, MODULES, OPTIONS)], [None] * 3, "files")


@plain
def test_a_device_that_is_bound_already_becomes_persistent(make):
    with Tree() as tree:
        tree.add(A, name="eth0")
        tree.run("bind", A)
        tree.run("bind", "--persistent", A)
        expect(A in tree.read(RULES), "rule")
        tree.run("restore", A)
        expect_eq((tree.driver(A), tree.read(RULES)), ("ixgbe", None), "driver, rule")


@plain
def test_persistent_by_driverctl_where_it_is(make):
    with Tree(commands=[*COMMANDS, "driverctl"]) as tree:
        tree.add(A, name="eth0")
        before = tree.snapshot()
        expect("driverctl" in tree.run("bind", "--persistent", A).stdout, "it says by what")
        expect_eq((tree.driver(A), tree.read(f"etc/driverctl.d/pci-{A}"), tree.read(RULES)), ("vfio-pci", "vfio-pci\n", None), "driverctl's file")
        tree.run("restore", A)
        after = {k: v for k, v in tree.snapshot().items() if "/module/" not in k}
        expect_eq(after, before, "nothing is left")


@plain
def test_driverctl_and_a_device_that_had_no_driver(make):
    """driverctl fails, and keeps its file, where nothing takes the device that it gives back."""
    with Tree(commands=[*COMMANDS, "driverctl"]) as tree:
        tree.add(A, driver=None)
        tree.run("bind", "--persistent", A)
        expect_eq((tree.driver(A), tree.read(f"etc/driverctl.d/pci-{A}")), ("vfio-pci", "vfio-pci\n"), "driver, driverctl's file")
        tree.run("restore", A)
        expect_eq((tree.driver(A), tree.read(f"etc/driverctl.d/pci-{A}"), tree.state()), (None, None, None), "driver, driverctl's file, state")


@plain
def test_driverctl_that_fails_puts_all_back(make):
    with Tree(commands=[*COMMANDS, "driverctl"]) as tree:
        tree.add(A, name="eth0")
        tree.fail("driverctl", "set-override", "driverctl: failed to bind device")
        tree.refused("driverctl_failed", "bind", "--persistent", A)
        expect_eq((tree.driver(A), tree.state(), tree.read(RULES)), ("ixgbe", None, None), "driver, state, rule")


# ---- SR-IOV

VFS = ["0000:02:10.0", "0000:02:10.1"]


@plain
def test_vfs_are_made_and_bound_and_removed(make):
    for driver in ("ice", "ixgbe"):
        with Tree() as tree:
            tree.add(A, driver=driver, name="eth0", vfs_max=8)
            tree.configure("eth0", "192.0.2.10/24")
            tree.default_route("eth0")  # which stays
            before = tree.snapshot()
            done = tree.run("bind", "--vfs", "2", "eth0")
            expect("spoof check" in done.stdout and "may reset the link" in done.stderr, done.stdout + done.stderr)
            expect_eq([tree.driver(a) for a in (A, *VFS)], [driver, "vfio-pci", "vfio-pci"], "drivers")
            expect("is down" not in done.stderr, done.stderr)
            expect("iavf" not in [d for _, d in tree.attached], f"the kernel's driver never had the VFs: {tree.attached}")
            macs = [a[-1] for a in tree.log("ip") if a[:5] in (["link", "set", "eth0", "vf", "0"], ["link", "set", "eth0", "vf", "1"])]
            expect(len(set(macs)) == 2 and all(m.startswith("02:") for m in macs), f"MAC addresses {macs}")
            expect_eq(tree.read(f"sys/bus/pci/devices/{A}/sriov_drivers_autoprobe"), "1", "autoprobe as it was")
            nics = {n["pci"]: n["sriov"] for n in json.loads(tree.run("list", "-o", "json").stdout)}
            expect_eq((nics[A]["vfs"], nics[VFS[0]]["pf"]), (VFS, A), "list")
            tree.refused("vf_goes_with_its_pf", "restore", VFS[0])
            tree.refused("has_vfs", "bind", "--vfs", "2", A)
            tree.refused("pf_has_vfs", "bind", "--force", A)
            tree.run("restore", A)
            after = {k: v for k, v in tree.snapshot().items() if "/module/" not in k and "iommu_groups" not in k}
            expect_eq(after, {k: v for k, v in before.items() if "iommu_groups" not in k}, "everything")


@plain
def test_vfs_that_outlast_a_restart(make):
    with Tree(commands=[*COMMANDS, "driverctl"]) as tree:
        tree.add(A, name="eth0", vfs_max=8)
        done = tree.run("bind", "--vfs", "2", "--persistent", A)
        expect("eth0 is down" in done.stderr, done.stderr)
        rules = tree.read(RULES)
        expect(f'KERNELS=="{A}", ATTR{{device/sriov_numvfs}}=="0", ATTR{{device/sriov_numvfs}}="2"' in rules and "vf 1 mac" in rules, rules)
        expect(all(f'KERNEL=="{v}"' in rules for v in VFS), rules)
        tree.run("restore", "--all")
        expect_eq((tree.read(RULES), tree.read(MODULES), tree.state()), (None, None, None), "files")


@plain
def test_vfs_that_cannot_be_made(make):
    with Tree() as tree:
        tree.add(A, name="eth0", vfs_max=1)
        tree.add(C, name="eth1")
        tree.refused("too_many_vfs", "bind", "--vfs", "2", A)
        tree.refused("no_sriov", "bind", "--vfs", "2", C)
        tree.refused("one_pf", "bind", "--vfs", "1", A, C)
        tree.run("bind", A)
        tree.refused("pf_without_kernel_driver", "bind", "--vfs", "1", A)
    with Tree(iommu=False) as tree:
        tree.add(A, name="eth0", vfs_max=8)
        tree.refused("no_iommu", "bind", "--vfs", "1", A)


@plain
def test_a_vf_that_does_not_bind_removes_all_of_them(make):
    with Tree() as tree:
        tree.add(A, name="eth0", vfs_max=8)
        tree.deny("vfio-pci", VFS[1])
        tree.refused("bind_failed", "bind", "--vfs", "2", A)
        expect_eq((tree.read(f"sys/bus/pci/devices/{A}/sriov_numvfs"), tree.driver(VFS[0]), tree.state()), ("0", None, None), "VFs, state")
        expect_eq(tree.read(f"sys/bus/pci/devices/{A}/sriov_drivers_autoprobe"), "1", "autoprobe")


@plain
def test_vfs_in_the_group_of_their_pf_are_removed_again(make):
    with Tree() as tree:
        tree.add(A, name="eth0", group=7, vfs_max=8)
        tree.vf_group = 7
        expect("no ACS" in tree.refused("iommu_group_shared", "bind", "--vfs", "2", A), "why")
        expect_eq((tree.read(f"sys/bus/pci/devices/{A}/sriov_numvfs"), tree.driver(A), tree.state()), ("0", "ixgbe", None), "VFs, driver, state")


@plain
def test_a_signal_before_anything_is_changed(make):
    with busy_tree() as tree:
        before = tree.snapshot()
        status, said = tree.signalled(signal.SIGTERM, "ip", "route show dev", "bind", "--force", A)
        expect((status, "refused (interrupted)" in said, "Traceback" in said) == (1, True, False), f"{status}: {said}")
        expect_eq(tree.snapshot(), before, "everything")


@plain
def test_vfs_of_a_bifurcated_driver_stay_with_the_kernel(make):
    with Tree() as tree:
        tree.add(A, driver="mlx5_core", name="eth0", ids="15b3:1017", vfs_max=8)
        tree.run("bind", "--vfs", "1", A)
        expect_eq((tree.driver(A), tree.read(f"sys/bus/pci/devices/{A}/sriov_numvfs")), ("mlx5_core", "1"), "made")


# ---- the docs, and the tests themselves

@plain
def test_docs_name_every_refusal(make):
    said = "".join(p.read_text() for p in [SCRIPT, *(SCRIPT.parent / "lib").glob("nic_*.py")])
    names = set(re.findall(r'(?:Refused\(|refuse\(|return \(|append\(\()"([a-z_]+)",', said))
    docs = (SCRIPT.parents[1] / "docs/nics.md").read_text()
    expect_eq(([n for n in sorted(names) if f"`{n}`" not in docs], len(names) > 35), ([], True), f"undocumented of {sorted(names)}")


@plain
def test_commands_outside_of_a_made_up_tree_are_never_run(make):
    with Tree(commands=[]) as tree:
        tree.add(A, name="eth0")
        outside = tree.root.parent / (tree.root.name + ".outside")
        try:
            for name in (*COMMANDS, "driverctl"):
                put(outside / name, f"#!/bin/sh\necho ran >>{outside}/ran\n")
                (outside / name).chmod(0o755)
            (tree.root / "bin/modprobe").symlink_to(outside / "modprobe")
            tree.add_driver("vfio-pci")
            tree.run("bind", "--force", "--persistent", A, env={"PATH": f"{tree.root}/bin:{outside}:{os.environ['PATH']}"})
            expect_eq((tree.driver(A), (outside / "ran").exists()), ("vfio-pci", False), "bound by sysfs, and nothing run")
        finally:
            subprocess.run(["rm", "-rf", str(outside)], check=True)
