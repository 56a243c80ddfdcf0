# SPDX-License-Identifier: Apache-2.0
"""Checks of weir-host: NICs, their slots, the IOMMU, crypto devices."""
import re

from host_checks import Keep, Run, Write, check, fail, note, ok, skip, warn
from host_root import format_cpus

PCI = "/sys/bus/pci/devices"
BIFURCATED = ("mlx4_core", "mlx5_core", "mana")  # the kernel keeps the device, DPDK shares it
UIO = ("uio_pci_generic", "igb_uio")
NETWORK, QAT_VENDOR = "0x02", "0x8086"
QAT = {"0x0435": "dh895xcc", "0x37c8": "c62x", "0x19e2": "c3xxx", "0x18ee": "200xx", "0x6f54": "d15xx", "0x4940": "4xxx", "0x4942": "401xx",
       "0x4944": "402xx", "0x4946": "420xx", "0x0443": "dh895xcc VF", "0x37c9": "c62x VF", "0x19e3": "c3xxx VF", "0x4941": "4xxx VF",
       "0x4943": "401xx VF", "0x4945": "402xx VF", "0x4947": "420xx VF"}


def driver(host, address):
    return host.link(f"{PCI}/{address}/driver")


def own_nics(host, needs):
    """NICs of weir.yaml that the kernel gives away: all but those with a driver that shares them."""
    return [a for a in needs.pci if host.exists(f"{PCI}/{a}") and driver(host, a) not in BIFURCATED]


def network_devices(host):
    return [a for a in host.list(PCI) if (host.read(f"{PCI}/{a}/class") or "").startswith(NETWORK)]


def default_routes(host):
    """Interfaces that carry a default route, of either family."""
    rows = [line.split() for line in (host.read("/proc/net/route") or "").splitlines()]
    out = {r[0] for r in rows if len(r) > 7 and r[1] == r[7] == "00000000"}
    rows = [line.split() for line in (host.read("/proc/net/ipv6_route") or "").splitlines()]
    return out | {r[-1] for r in rows if len(r) > 9 and set(r[0]) == {"0"} and r[1] == "00"} - {"lo"}


@check("nic", "Each NIC of weir.yaml is there and bound to a driver that lets DPDK have it (vfio-pci; uio without protection), "
       "or to one that shares it (mlx5, mlx4, mana).", "`weir-nic bind ADDRESS`; not the NIC by which you are logged in.")
def nic(host, needs):
    if not needs.pci:
        yield ok("", "weir.yaml has no PCI ports")
    for a in needs.pci:
        bound = driver(host, a)
        kind = host.read(f"{PCI}/{a}/class") or ""
        if not host.exists(f"{PCI}/{a}"):
            there = ", ".join(network_devices(host)) or "none"
            yield fail(a, "no such device", f"one of this machine's NICs: {there}", "the port does not start", mend="pci in weir.yaml")
        elif not kind.startswith(NETWORK):
            yield fail(a, f"class {kind}", "a network device", "the port does not start", mend="pci in weir.yaml")
        elif bound in UIO:
            yield warn(a, bound, "vfio-pci", "without an IOMMU the NIC can write to all memory", mend=f"weir-nic bind --driver vfio-pci {a}")
        elif bound == "vfio-pci" or bound in BIFURCATED:
            yield ok(a, bound)
        elif not bound:
            yield fail(a, "bound to no driver", "vfio-pci", "DPDK cannot have it", mend=f"weir-nic bind {a}")
        else:
            names = host.list(f"{PCI}/{a}/net")
            mend = f"weir-nic bind {a}"
            if set(names) & default_routes(host):
                mend = f"not this NIC, unless the machine is reached by another: it carries the default route. Else {mend} --force"
            yield fail(a, f"bound to {bound}" + (f" ({', '.join(names)})" if names else ""), "vfio-pci", "DPDK cannot have it", mend=mend)


def bound_at_boot(host, address):
    """Where it is said that the NIC is bound at the next start, too: driverctl, udev, or vfio-pci's own list of devices."""
    for path in host.glob("/etc/driverctl.d/*"):
        if path.endswith(address):
            return path
    ids = ":".join((host.read(f"{PCI}/{address}/{f}") or "?")[2:] for f in ("vendor", "device"))
    for pattern, text in (("/etc/udev/rules.d/*.rules", address), ("/etc/modprobe.d/*.conf", ids)):
        for path in host.glob(pattern):
            if any(text in line for line in (host.read(path) or "").splitlines() if not line.lstrip().startswith("#")):
                return path
    return None


@check("nic-boot", "NICs that are bound to vfio-pci will be so after the next start of the machine: by driverctl, a rule of udev, or `ids=` of vfio-pci in "
       "`/etc/modprobe.d`.", "`weir-nic bind --persistent ADDRESS`.")
def nic_boot(host, needs):
    bound = [a for a in needs.pci if driver(host, a) == "vfio-pci"]
    if not bound:
        yield ok("", "no NIC is bound to vfio-pci")
    for a in bound:
        path = bound_at_boot(host, a)
        if path:
            yield ok(a, path)
        else:
            yield warn(a, "bound until the next start", "bound persistently", "after a restart the kernel would have it", mend=f"weir-nic bind --persistent {a}")


@check("vfio", "The driver vfio-pci is loaded.", "`modprobe vfio-pci`, and `vfio-pci` in `/etc/modules-load.d`.")
def vfio(host, needs):
    keep = (Keep("modules", "vfio-pci"),)
    if not own_nics(host, needs):
        yield ok("", "not needed: no NIC is bound by it")
    elif host.exists("/sys/bus/pci/drivers/vfio-pci"):
        yield ok("", "loaded", keep=keep)
    else:
        yield fail("", "not loaded", "loaded", "NICs are bound by it", actions=(Run(("modprobe", "vfio-pci"), ("modprobe", "-r", "vfio-pci")),), keep=keep)


def iommu_parameters(host):
    """AMD's is on wherever the firmware lets it; Intel's must be asked for."""
    return ("iommu=pt",) if host.vendor == "AuthenticAMD" else ("intel_iommu=on", "iommu=pt")


def passes_by(host):
    """By its command line, or because the kernel was built so."""
    types = {host.read(p) for p in host.glob("/sys/kernel/iommu_groups/*/type")}
    return host.cmdline.get("iommu") == "pt" or host.cmdline.get("iommu.passthrough") == "1" or types == {"identity"}


@check("iommu", "An IOMMU is on, so that a NIC reaches Weir's memory only; devices of the kernel pass it by (`iommu=pt`), which is faster.",
       "Switch it on in the firmware (VT-d, AMD-Vi). On the kernel's command line: `intel_iommu=on iommu=pt`, of AMD `iommu=pt`.")
def iommu(host, needs):
    unsafe = host.read("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode") in ("Y", "1")
    if not own_nics(host, needs):
        yield ok("", "not needed: no NIC is bound by VFIO")
    elif not host.list("/sys/class/iommu"):
        bad = warn if unsafe else fail
        yield bad("", f"off{', and VFIO goes without' if unsafe else ''}", "on", "a NIC could write to all memory" if unsafe else "VFIO takes no NIC",
                  kernel=iommu_parameters(host))
    elif passes_by(host):
        yield ok("", "on, passed by")
    else:
        yield warn("pt", "devices of the kernel are translated, too", "passed by", "their DMA is slower", kernel=("iommu=pt",))


@check("iommu-group", "No device in the IOMMU group of a NIC is the kernel's: VFIO takes a group as a whole.",
       "Bind the others, too; or another slot: groups follow the bridges of the board.")
def iommu_group(host, needs):
    nics = own_nics(host, needs)
    if not nics or not host.list("/sys/class/iommu"):
        yield skip("no NIC behind an IOMMU")
        return
    for a in nics:
        group = host.link(f"{PCI}/{a}/iommu_group")
        if group is None:
            yield fail(a, "in no IOMMU group", "in one", "VFIO does not take it", mend="the IOMMU in the firmware, for this slot")
            continue
        others = [d for d in host.list(f"/sys/kernel/iommu_groups/{group}/devices") if d != a]
        held = {d: driver(host, d) for d in others if driver(host, d) not in (None, "vfio-pci", "pcieport")}
        if held:
            yield fail(a, f"group {group} has {', '.join(f'{d} ({drv})' for d, drv in held.items())}, too", "of VFIO alone", "VFIO refuses such a group",
                       mend=f"weir-nic plan {a} (it says what each of them needs), or another slot")
        else:
            yield ok(a, f"group {group}")


@check("numa", "Each NIC's workers are on the NUMA node where it is plugged in.", "`workers.cores` of weir.yaml, or another slot.")
def numa(host, needs):
    of_workers = {host.node_of(c) for c in needs.cores}
    where = {a: host.read_int(f"{PCI}/{a}/numa_node") for a in needs.pci if host.exists(f"{PCI}/{a}")}
    if not where:
        yield ok("", f"no NICs; workers on node {format_cpus(of_workers)}")
        return
    for a, node in where.items():  # of several NICs on several nodes, workers on each of these are right
        if len(host.nodes) == 1:
            yield ok(a, "one node")
        elif node is None or node < 0:
            yield skip("the firmware does not tell the NIC's node", a)
        elif of_workers - {node} and (node not in of_workers or not of_workers <= set(where.values())):
            far = [c for c in needs.cores if host.node_of(c) != node]
            yield warn(a, f"on node {node}, workers {format_cpus(far)} on others", f"cores of {format_cpus(host.nodes.get(node, ()))}",
                       "each packet crosses from socket to socket", mend="workers.cores of weir.yaml")
        else:
            yield ok(a, f"on node {node}, with workers")


def speed(text):
    m = re.match(r"([\d.]+) GT/s", text or "")
    return float(m[1]) if m else None


@check("pcie", "Each NIC has all the lanes of PCI Express, at the speed, that it can have.", "The slot (a shorter one, or shared lanes), the firmware, the riser.")
def pcie(host, needs):
    if not needs.pci:
        yield ok("", "weir.yaml has no PCI ports")
    for a in needs.pci:
        files = ("current_link_speed", "max_link_speed", "current_link_width", "max_link_width")
        text = [host.read(f"{PCI}/{a}/{f}") for f in files]
        now, most = speed(text[0]), speed(text[1])
        lanes, all_lanes = (int(t) if (t or "").isdigit() else 0 for t in text[2:])
        if not now or not most or not lanes or not all_lanes or all_lanes == 255:
            yield skip(f"the link is not shown {host.place}", a)
        elif now < most or lanes < all_lanes:
            yield warn(a, f"{now:g} GT/s x{lanes}", f"{most:g} GT/s x{all_lanes}", "the slot may be what bounds throughput", mend="another slot, or the firmware's setting of this one")
        else:
            yield ok(a, f"{now:g} GT/s x{lanes}")


@check("qat", "Devices of Intel's QAT are there and up, where `tls.offload` of weir.yaml wants one.",
       "`up` in `/sys/bus/pci/devices/ADDRESS/qat/state`, or `adf_ctl up`; the driver's package and firmware.")
def qat(host, needs):
    found = [(a, QAT[d]) for a in host.list(PCI) if host.read(f"{PCI}/{a}/vendor") == QAT_VENDOR and (d := host.read(f"{PCI}/{a}/device")) in QAT]
    if not found:
        if needs.offload:
            yield warn("", "no QAT device", "one, as tls.offload asks for it", "the engine has no card", mend="tls.offload.kind: software in weir.yaml, or a card")
        else:
            yield ok("", "none, and none wanted")
    for a, kind in found:
        path = f"{PCI}/{a}/qat/state"
        state, bound = host.read(path), driver(host, a)
        if state == "down":
            text = f"{kind} is down"
            yield warn(a, text, "up", "handshakes stay in software", actions=(Write(path, "up"),)) if needs.offload else note(a, text)
        elif not bound:
            text = f"{kind} has no driver"
            yield warn(a, text, "bound", "handshakes stay in software", mend=f"modprobe qat_{kind.split()[0]}") if needs.offload else note(a, text)
        else:
            yield ok(a, f"{kind}, {state or f'bound to {bound}'}")
