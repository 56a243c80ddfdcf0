# SPDX-License-Identifier: Apache-2.0
"""Binds NICs and gives them back: used by scripts/weir-nic. What was is on disk before anything changes.

A command binds all its devices or, if one fails, none: those that it has changed are put back.
"""
import signal
import sys

from nic_hands import NOIOMMU, PATIENCE_S, bind, bind_by_sysfs, load_driver, say, unbind
from nic_plan import FORCE, UIO, make_plan
from nic_state import RULES
from nic_tree import PROGRAM, Pci, Refused

KEPT = ("local", "prefixlen", "broadcast", "label", "family", "scope", "valid_life_time", "preferred_life_time")  # of an address
FOR_EVER = 0xFFFFFFFF
SHOWN_ONLY = ("linkdown", "dead", "offload", "rt_offload", "trap", "rt_trap")  # what `ip route show` says, and no command takes
INTERFACE_PATIENCE_S = 10.0  # until a driver has made its interface


def remember_device(machine, pci):
    """An entry of the state file."""
    interfaces = []
    for name in pci.interfaces():
        kept = machine.interface(name)
        kept["addresses"] = [{k: a[k] for k in KEPT if k in a} for a in machine.addresses.get(name, []) if is_kept(a)]
        kept["routes"] = [f"{v} {line}" for v in ("-4", "-6") for line in routes_of(machine.root, v, name)]
        interfaces.append(kept)
    return {"driver": pci.driver, "override": pci.override, "interfaces": interfaces, "bound_to": None, "persistent": None,
            "no_iommu": False}


def is_kept(address):
    """The kernel makes link-local ones itself, and those of router advertisements come again."""
    return address.get("scope") != "link" and not (address.get("family") == "inet6" and address.get("dynamic"))


def routes_of(root, version, name):
    """Those that the kernel does not make of addresses and of router advertisements by itself."""
    done = root.run("ip", version, "route", "show", "dev", name)
    lines = done.stdout.splitlines() if done and done.returncode == 0 else []
    wanted = [line for line in lines if line.strip() and " proto kernel" not in line and " proto ra" not in line]
    return [" ".join(word for word in line.split() if word not in SHOWN_ONLY) for line in wanted]


def persist(hands, state, address):
    """By driverctl where it is, and by files of our own."""
    entry = state.devices[address]
    entry["persistent"] = "udev"
    if entry["bound_to"] and not entry.get("vf_of") and hands.root.command("driverctl"):
        said = hands.run("driverctl", "set-override", address, entry["bound_to"])
        if said:
            raise Refused("driverctl_failed", f"driverctl: {said}", f"driverctl -v set-override {address} {entry['bound_to']}")
        entry["persistent"] = "driverctl"
        pci = Pci(hands.root, address)
        if not hands.wait(lambda: pci.driver == entry["bound_to"], PATIENCE_S):
            raise Refused("bind_failed", f"{address} has driver {pci.driver} after driverctl", "dmesg | tail")


def settle_files(hands, state):
    if hands.dry_run:
        for path, text in state.persistence().items():
            if text and state.root.read(path) + "\n" != text:
                say(f"would write {path}")
        return
    state.save()
    if state.write_persistence():
        hands.run("udevadm", "control", "--reload")


def refuse_all(plans):
    """Ends the command with the first refusal; all are said."""
    wrong = [(p, r) for p in plans for r in p.refusals]
    for plan, (name, text, mend) in wrong[:-1]:
        say(f"weir-nic: refused ({name}): {plan.pci.address}: {text}. Mend: {mend}", sys.stderr)
    if wrong:
        plan, (name, text, mend) = wrong[-1]
        raise Refused(name, f"{plan.pci.address}: {text}", mend)


def bind_command(machine, state, hands, options, names):
    """names: as the user gave them."""
    devices = list({p.address: p for p in map(machine.find, names)}.values())
    together = [p.address for p in devices]
    plans = [make_plan(machine, p, options, together) for p in devices]
    refuse_all(plans)
    transaction(machine, state, hands, options, plans)


def transaction(machine, state, hands, options, plans):
    """Binds all, or puts back what it has changed."""
    undo = []
    try:
        for plan in plans:
            warn(plan)
            bind_planned(machine, state, hands, options, plan, undo)
    except BaseException:
        roll_back(state, hands, undo)
        raise
    settle_files(hands, state)
    for plan in plans:
        say_done(hands, plan, state)


def warn(plan):
    for text in plan.warnings:
        say(f"weir-nic: WARNING: {plan.pci.address}: {text}", sys.stderr)


def bind_planned(machine, state, hands, options, plan, undo, vf_of=None):
    """undo gets (address, its entry before or None, its driver before)."""
    address = plan.pci.address
    if plan.action == "stays" or (plan.action == "already" and not options.persistent):
        return
    before = state.devices.get(address)
    undo.append((address, before and dict(before), plan.pci.driver))
    entry = state.devices.setdefault(address, before or remember_device(machine, plan.pci))
    if vf_of:
        entry["vf_of"] = vf_of
    entry["bound_to"], entry["no_iommu"] = plan.driver, plan.no_iommu
    if not hands.dry_run:
        state.save()
    if plan.action == "bind":
        load_driver(hands, plan, state)
        bind(hands, plan.pci, plan.driver, options.force)
    if options.persistent or entry["persistent"]:
        persist(hands, state, address)


def say_done(hands, plan, state):
    address, entry = plan.pci.address, state.devices.get(plan.pci.address, {})
    if plan.action == "stays":
        say(f"{address} stays with {plan.driver}: {plan.why}")
        return
    kept = {"udev": f", after a restart too ({RULES})", "driverctl": ", after a restart too (driverctl)"}.get(entry.get("persistent"), "")
    verb = "would be bound" if hands.dry_run else "is bound" if plan.action == "bind" else "was bound already"
    say(f"{address} {verb} to {plan.driver}{kept}")


def roll_back(state, hands, undo):
    """Best effort, the last one first. What cannot be put back stays in the state file, for `restore`."""
    if hands.dry_run:
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for address, entry, driver in reversed(undo):
        if address not in state.devices:
            continue  # a signal came before anything was changed
        try:
            if entry is None:
                give_back(hands, state, address)
            else:
                give_back_to_driver(hands, state, address, entry, driver)
        except (Refused, OSError) as e:
            say(f"weir-nic: {address} is not as it was: {e}. Mend: {PROGRAM} restore {address}", sys.stderr)
        else:
            say(f"weir-nic: {address} is put back to {driver or 'no driver'}", sys.stderr)
    end_noiommu(hands, state)
    settle_files(hands, state)


def give_back_to_driver(hands, state, address, entry, driver):
    """A device that had been bound by an earlier command: to what it had from that."""
    pci = Pci(hands.root, address)
    state.devices[address] = entry
    if pci.driver != driver and driver:
        bind_by_sysfs(hands, pci, driver)
    elif pci.driver != driver:
        unbind(hands, pci)
    if entry["persistent"] == "driverctl":
        hands.run("driverctl", "set-override", address, entry["bound_to"])
    if not hands.wait(lambda: pci.driver == driver, PATIENCE_S):
        raise Refused("restore_failed", f"{address} did not get {driver} back, but {pci.driver or 'none'}", "")


def end_noiommu(hands, state):
    """The mode goes with the last device that needs it."""
    if state.noiommu_before is None or any(e.get("no_iommu") for e in state.devices.values()):
        return
    if hands.root.exists(NOIOMMU):
        hands.write(NOIOMMU, "1" if state.noiommu_before in ("Y", "1") else "0")
    state.noiommu_before = None


def give_back(hands, state, address):
    """One device as it was before, and its entry gone. It may have VFs that we made: they go first."""
    entry, pci = state.devices[address], Pci(hands.root, address)
    if entry.get("persistent") == "driverctl":
        said = hands.run("driverctl", "--noprobe", "unset-override", address)  # it fails where probing finds no driver
        if said:
            raise Refused("driverctl_failed", f"driverctl: {said}", f"driverctl --noprobe unset-override {address}")
        entry["persistent"] = None
    if entry.get("made_vfs"):
        remove_vfs(hands, state, pci, entry)
    elif entry.get("vf_of"):
        if pci.driver in ("vfio-pci", *UIO):
            unbind(hands, pci)
    else:
        to_kernel(hands, pci, entry["driver"], entry["override"])
        for kept in entry["interfaces"]:
            restore_interface(hands, pci, kept, len(entry["interfaces"]) == 1)
    del state.devices[address]


def to_kernel(hands, pci, driver, override):
    """driver None: it had none."""
    hands.write(f"{pci.dir}/driver_override", f"{override}\n" if override else "\n")
    if pci.driver == driver:
        return
    unbind(hands, pci)
    if driver is None:
        return
    if not hands.root.exists(f"/sys/bus/pci/drivers/{driver}"):
        hands.run("modprobe", hands.root.read(f"{pci.dir}/modalias"))
    if pci.driver != driver:  # the module may have taken it when it was loaded
        hands.write(f"/sys/bus/pci/drivers/{driver}/bind", pci.address)
    if not hands.wait(lambda: pci.driver == driver, PATIENCE_S):
        raise Refused("restore_failed", f"{pci.address} did not get {driver} back, but {pci.driver or 'none'}",
                      f"echo {pci.address} >/sys/bus/pci/drivers/{driver}/bind; dmesg | tail")


def restore_interface(hands, pci, kept, is_only):
    """Name, MTU, addresses, routes, up or down. What fails is said, and the rest goes on."""
    name = kept["name"]
    if not hands.wait(pci.interfaces, INTERFACE_PATIENCE_S):
        raise Refused("no_interface", f"{pci.address} has its driver, but {name} did not come", "dmesg | tail; ip link")
    hands.run("udevadm", "settle", "--timeout=5")
    now = pci.interfaces()
    commands = []
    if name not in now and is_only and now:
        commands.append(["link", "set", now[0], "name", name])
    commands.append(["link", "set", name, "mtu", str(kept["mtu"])])
    commands.append(["link", "set", name, "up" if kept["up"] else "down"])
    for a in kept["addresses"]:
        more = ["broadcast", a["broadcast"]] if "broadcast" in a else []
        more += ["label", a["label"]] if "label" in a else []
        if a.get("valid_life_time", FOR_EVER) != FOR_EVER:  # a DHCP client's, which goes on with it
            more += ["valid_lft", str(a["valid_life_time"]), "preferred_lft", str(a.get("preferred_life_time", a["valid_life_time"]))]
        commands.append(["addr", "replace", f"{a['local']}/{a['prefixlen']}", *more, "scope", a.get("scope", "global"), "dev", name])
    for route in kept["routes"]:
        version, *rest = route.split()
        commands.append([version, "route", "replace", *rest, "dev", name])
    for command in commands:
        said = hands.run("ip", *command)
        if said or said is None:
            say(f"weir-nic: WARNING: ip {' '.join(command)}: {said or 'there is no ip (iproute2)'}", sys.stderr)


def remove_vfs(hands, state, pci, entry):
    for vf in [a for a, e in state.devices.items() if e.get("vf_of") == pci.address]:
        give_back(hands, state, vf)
    if pci.vfs():
        hands.write(f"{pci.dir}/sriov_numvfs", "0")
        if not hands.wait(lambda: not pci.vfs(), PATIENCE_S):
            raise Refused("vfs_stay", f"{pci.address} keeps its VFs", f"echo 0 >{pci.dir}/sriov_numvfs; dmesg | tail")
    if pci.root.exists(f"{pci.dir}/sriov_drivers_autoprobe"):
        hands.write(f"{pci.dir}/sriov_drivers_autoprobe", entry["autoprobe"])


# ---- unbind and restore

def refuse_held(pci):
    held = pci.holders()
    if held:
        raise Refused("in_use_by_process", f"{pci.address}: process {held[0][0]} ({held[0][1]}) has it open",
                      "end it first: systemctl stop weir-dataplane")


def unbind_command(machine, state, hands, options, names):
    devices = list({p.address: p for p in map(machine.find, names)}.values())
    for pci in devices:
        if not pci.is_nic:
            raise Refused("not_a_nic", f"{pci.address} is no network device", f"{PROGRAM} list")
        refuse_held(pci)
        uses = machine.uses(pci)
        if uses and not options.force:
            raise Refused(uses[0][0], f"{pci.address}: {uses[0][1]}", FORCE)
    for pci in devices:
        if pci.driver is None:
            say(f"{pci.address} has no driver")
            continue
        if pci.address not in state.devices:
            state.devices[pci.address] = remember_device(machine, pci)
            if not hands.dry_run:
                state.save()
        unbind(hands, pci)
        say(f"{pci.address} {'would have' if hands.dry_run else 'has'} no driver now")


def restore_command(machine, state, hands, options, names):
    """All that was saved, or the devices named, of which those without state get what the kernel finds right."""
    if options.all:
        addresses = [a for a, e in state.devices.items() if not e.get("vf_of")]
        if not addresses:
            say("nothing to restore")
    else:
        addresses = list(dict.fromkeys(find_saved(machine, state, n) for n in names))
    for address in addresses:
        entry = state.devices.get(address, {})
        if entry.get("vf_of"):
            raise Refused("vf_goes_with_its_pf", f"{address} was made with its PF {entry['vf_of']}", f"{PROGRAM} restore {entry['vf_of']}")
        for one in [address, *(a for a, e in state.devices.items() if e.get("vf_of") == address)]:
            refuse_held(Pci(machine.root, one))
    failed = None
    for address in addresses:
        try:
            restore_one(machine, state, hands, address)
        except Refused as e:  # the others come back all the same
            if e.name == "interrupted":
                raise
            if failed:
                say(f"weir-nic: failed ({failed.name}): {failed.text}. Mend: {failed.mend}", sys.stderr)
            failed = e
        if not hands.dry_run:
            settle_files(hands, state)
    end_noiommu(hands, state)
    if not hands.dry_run:
        settle_files(hands, state)
    if failed:
        raise failed


def find_saved(machine, state, name):
    """By the interface that it had, too."""
    for address, entry in state.devices.items():
        if name in [i["name"] for i in entry["interfaces"]] and not machine.root.exists(f"/sys/class/net/{name}"):
            return address
    return machine.find(name).address


def restore_one(machine, state, hands, address):
    pci = Pci(machine.root, address)
    if address not in state.devices:
        restore_by_alias(hands, pci)
    elif not machine.root.exists(pci.dir):
        say(f"weir-nic: WARNING: {address} is not there any more", sys.stderr)
        del state.devices[address]
        return
    else:
        give_back(hands, state, address)
    would = "would be" if hands.dry_run else "is"
    say(f"{address} {would} with {pci.driver or 'no driver'}" + (f" ({', '.join(pci.interfaces())})" if pci.interfaces() else ""))


def restore_by_alias(hands, pci):
    """Nothing was saved: the kernel knows which of its drivers is for it."""
    if not pci.is_nic:
        raise Refused("not_a_nic", f"{pci.address} is no network device", f"{PROGRAM} list")
    if pci.driver is not None and pci.driver not in ("vfio-pci", *UIO):
        return
    hands.write(f"{pci.dir}/driver_override", "\n")
    unbind(hands, pci)
    hands.run("modprobe", pci.root.read(f"{pci.dir}/modalias"))
    if pci.driver is None:
        hands.write("/sys/bus/pci/drivers_probe", pci.address)
    if not hands.wait(lambda: pci.driver is not None, PATIENCE_S):
        raise Refused("no_kernel_driver", f"no driver of this kernel takes {pci.address} ({pci.vendor}:{pci.device})",
                      "apt-get install linux-image-amd64, or the firmware that dmesg names")
