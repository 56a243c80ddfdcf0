# SPDX-License-Identifier: Apache-2.0
"""`bind --vfs N`: makes VFs of a NIC that stays with the kernel, and binds them. Used by scripts/weir-nic."""
import random
import sys

from nic_change import bind_planned, persist, refuse_all, remember_device, roll_back, say_done, settle_files, warn
from nic_hands import PATIENCE_S, say
from nic_plan import BIFURCATED, UIO, is_behind_iommu, make_plan, no_iommu
from nic_tree import PROGRAM, Machine, Refused


def refuse_vfs(machine, state, pci, options):
    """Before a VF is made. Ends with the reason."""
    n, total = options.vfs, pci.number("sriov_totalvfs")
    if not pci.is_nic:
        raise Refused("not_a_nic", f"{pci.address} is no network device", f"{PROGRAM} list")
    if not total:
        raise Refused("no_sriov", f"{pci.address} makes no VFs" + (" (it is one)" if pci.pf() else ""),
                      "switch SR-IOV on in the firmware, or bind the device itself")
    if pci.vfs():
        raise Refused("has_vfs", f"{pci.address} has {len(pci.vfs())} VFs already",
                      f"{PROGRAM} bind {' '.join(pci.vfs().values())}; or remove them: echo 0 >{pci.dir}/sriov_numvfs")
    if n > total:
        raise Refused("too_many_vfs", f"{pci.address} makes {total} VFs at most", f"--vfs {total}")
    if pci.driver is None or pci.driver in ("vfio-pci", *UIO):
        raise Refused("pf_without_kernel_driver", f"VFs are made by the PF's kernel driver; {pci.address} has {pci.driver or 'none'}",
                      f"{PROGRAM} restore {pci.address}")
    if not pci.interfaces():
        raise Refused("no_interface", f"{pci.address} has no interface, by which its VFs get their MAC addresses", "ip link")
    if not options.allow_no_iommu and options.driver not in UIO and pci.driver not in BIFURCATED and not is_behind_iommu(pci):
        name, text, mend = no_iommu(machine.root)
        raise Refused(name, f"{pci.address}: {text}", mend)
    if pci.address in state.devices:
        raise Refused("changed_already", f"{pci.address} is changed already", f"{PROGRAM} restore {pci.address}")
    for _, text in machine.uses(pci):
        say(f"weir-nic: WARNING: {pci.address}: {text}; its driver may reset the link for a moment", sys.stderr)
    name = pci.interfaces()[0]
    if not machine.is_up(name):
        say(f"weir-nic: WARNING: {pci.address}: {name} is down, and many PFs answer their VFs only while up: `ip link set {name} up` before weir-dataplane "
            "starts, after a restart of the machine too", sys.stderr)


def make_vfs(machine, state, hands, options, pci):
    """n VFs with MAC addresses of their own. The kernel's driver for VFs does not get them, unless DPDK wants it to."""
    entry = remember_device(machine, pci)
    entry["made_vfs"], entry["autoprobe"] = options.vfs, pci.root.read(f"{pci.dir}/sriov_drivers_autoprobe", "1")
    entry["vf_macs"] = [random_mac() for _ in range(options.vfs)]
    state.devices[pci.address] = entry
    if not hands.dry_run:
        state.save()
    if pci.driver not in BIFURCATED and pci.root.exists(f"{pci.dir}/sriov_drivers_autoprobe"):
        hands.write(f"{pci.dir}/sriov_drivers_autoprobe", "0")
    hands.write(f"{pci.dir}/sriov_numvfs", str(options.vfs))
    if not hands.wait(lambda: len(pci.vfs()) == options.vfs, PATIENCE_S):
        raise Refused("vfs_failed", f"{pci.address} made {len(pci.vfs())} of {options.vfs} VFs", "dmesg | tail")
    for i, mac in enumerate(entry["vf_macs"]):
        said = hands.run("ip", "link", "set", pci.interfaces()[0], "vf", str(i), "mac", mac)
        if said or said is None:
            raise Refused("vf_mac_failed", f"VF {i} gets no MAC address: {said or 'there is no ip (iproute2)'}", "dmesg | tail")


def random_mac():
    """Locally administered, unicast."""
    return "02:" + ":".join(f"{random.SystemRandom().randrange(256):02x}" for _ in range(5))


def vfs_command(machine, state, hands, options, names):
    if len(names) != 1:
        raise Refused("one_pf", "--vfs takes one PF", "a command for each")
    pci = machine.find(names[0])
    refuse_vfs(machine, state, pci, options)
    undo = [(pci.address, None, pci.driver)]
    try:
        make_vfs(machine, state, hands, options, pci)
        if hands.dry_run:
            say(f"would bind the {options.vfs} VFs of {pci.address}")
            return
        after = Machine(machine.root)
        vfs = list(pci.vfs().values())
        plans = [make_plan(after, after.all[v], options, vfs) for v in vfs]
        refuse_all(plans)
        for plan in plans:
            bind_planned(after, state, hands, options, plan, undo, vf_of=pci.address)
        if pci.root.exists(f"{pci.dir}/sriov_drivers_autoprobe"):
            hands.write(f"{pci.dir}/sriov_drivers_autoprobe", state.devices[pci.address]["autoprobe"])
        if options.persistent:
            persist(hands, state, pci.address)
    except BaseException:
        roll_back(state, hands, undo)
        raise
    settle_files(hands, state)
    for plan, mac in zip(plans, state.devices[pci.address]["vf_macs"]):
        warn(plan)
        say_done(hands, plan, state)
        say(f"    MAC address {mac}")
    name = pci.interfaces()[0]
    say(f"{pci.address} ({name}) stays with {pci.driver}. It lets a VF send by its own MAC address only (spoof check): enough for Weir. A VF that "
        f"refuses IPv6 neighbour discovery or promiscuous mode: ip link set {name} vf N trust on")
