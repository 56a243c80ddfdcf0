# SPDX-License-Identifier: Apache-2.0
"""Which driver a NIC gets and why, and what refuses it: used by scripts/weir-nic. Changes nothing.

The order is DPDK's ("Linux Drivers" of its Getting Started Guide): a bifurcated driver stays; vfio-pci behind an IOMMU; vfio-pci without one,
where that is allowed; UIO where asked for or where there is no VFIO.
"""
from nic_tree import HARMLESS, PROGRAM

BIFURCATED = {
    "mlx5_core": "DPDK's mlx5 uses the NIC beside its kernel driver (rdma-core)",
    "mlx4_core": "DPDK's mlx4 uses the NIC beside its kernel driver (rdma-core)",
    "mana": "DPDK's mana uses the NIC beside its kernel driver (rdma-core)",
}
BIFURCATED_VENDORS = {"15b3": "mlx5_core"}  # for a device that has no driver now
UIO = ("uio_pci_generic", "igb_uio")
USERSPACE = ("vfio-pci", *UIO)
# Kernel drivers whose devices DPDK has a driver for: those of others are bound with a warning.
KNOWN = {"e1000", "e1000e", "igb", "igbvf", "igc", "ixgbe", "ixgbevf", "i40e", "iavf", "ice", "idpf", "fm10k", "bnxt_en", "bnx2x", "cxgb4",
         "cxgb4vf", "ena", "enic", "vmxnet3", "virtio-pci", "nfp", "qede", "sfc", "hns3", "hns3vf", "hinic", "atlantic", "ionic", "gve",
         "txgbe", "ngbe", "amd-xgbe", "nicvf", "rvu_nicpf", "rvu_nicvf"}
NO_IOMMU_WARNING = ("NO IOMMU: the NIC, and whoever controls weir-dataplane, can read and write all memory of this machine; "
                    "the kernel is tainted")
FORCE = "once more with --force, if you can reach this machine by another way"


class Plan:
    """action: bind, already (it has the driver), or stays (it belongs to the kernel's driver)."""

    def __init__(self, pci):
        self.pci, self.action, self.driver, self.why = pci, "bind", None, ""
        self.no_iommu = False
        self.refusals, self.warnings = [], []  # of (name, text, mend); of text

    def refuse(self, name, text, mend):
        self.refusals.append((name, text, mend))

    def as_json(self):
        return {"pci": self.pci.address, "action": self.action, "driver": self.driver, "why": self.why, "warnings": self.warnings,
                "refused": [{"name": n, "why": t, "mend": m} for n, t, m in self.refusals]}


def has_module(root, name):
    """Whether the running kernel has a module: in it, loaded, or to be loaded."""
    plain = name.replace("-", "_")
    if root.exists(f"/sys/bus/pci/drivers/{name}") or root.exists(f"/sys/module/{plain}"):
        return True
    where = f"/lib/modules/{root.read('/proc/sys/kernel/osrelease')}"
    for line in (root.read(f"{where}/modules.dep") + "\n" + root.read(f"{where}/modules.builtin")).splitlines():
        file = line.split(":")[0].rsplit("/", 1)[-1]
        if file.split(".ko")[0].replace("-", "_") == plain:
            return True
    return False


def has_no_iommu_mode(root):
    """CONFIG_VFIO_NOIOMMU; true where nobody can tell before VFIO is loaded."""
    if root.exists("/sys/module/vfio/parameters"):
        return root.exists("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode")
    config = root.read(f"/boot/config-{root.read('/proc/sys/kernel/osrelease')}")
    return not config or "CONFIG_VFIO_NOIOMMU=y" in config


def iommu_line(root):
    """How the IOMMU is switched on here."""
    if "AuthenticAMD" in root.read("/proc/cpuinfo"):
        return "switch the IOMMU (AMD-Vi) on in the firmware, and boot with iommu=pt"
    return "switch VT-d on in the firmware, and boot with intel_iommu=on iommu=pt"


def no_iommu(root):
    """The refusal of who has not said that he takes the risk."""
    return ("no_iommu", "there is no IOMMU, so nothing bounds what memory the NIC reaches",
            f"{iommu_line(root)}; or take the risk with --allow-no-iommu")


def is_behind_iommu(pci):
    return bool(pci.group) and not pci.is_noiommu


def choose(plan, root, asked):
    """Sets driver and why."""
    pci = plan.pci
    vfio = has_module(root, "vfio-pci") and (is_behind_iommu(pci) or has_no_iommu_mode(root))
    if asked:
        plan.driver, plan.why = asked, "as asked"
    elif vfio and is_behind_iommu(pci):
        plan.driver, plan.why = "vfio-pci", f"the NIC is behind an IOMMU (group {pci.group})"
    elif vfio:
        plan.driver, plan.why = "vfio-pci", "there is no IOMMU: VFIO's no-IOMMU mode"
    else:
        uio = [d for d in (reversed(UIO) if pci.pf() else UIO) if has_module(root, d)]
        plan.driver, plan.why = (uio[0], "this kernel has no VFIO for it") if uio else ("vfio-pci", "DPDK's usual one")


def refuse_driver(plan, root, options):
    """What speaks against the driver itself."""
    pci, driver = plan.pci, plan.driver
    if not has_module(root, driver):
        mend = "apt-get install dpdk-kmods-dkms, or take vfio-pci" if driver == "igb_uio" else \
            f"apt-get install linux-image-amd64 (linux-image-cloud-amd64 has fewer modules): {driver} must be among its modules"
        plan.refuse("no_such_module", f"this kernel has no {driver}", mend)
    protected = is_behind_iommu(pci)
    if driver == "vfio-pci":
        refuse_virtio(plan)
        if protected:
            return
        if not has_no_iommu_mode(root):
            plan.refuse("no_iommu", "there is no IOMMU, and this kernel's VFIO has no no-IOMMU mode", iommu_line(root))
            return
        plan.no_iommu = True
    elif pci.pf() and driver == "uio_pci_generic":
        plan.refuse("vf_without_interrupts", "a VF has no legacy interrupt, which uio_pci_generic needs", "--driver igb_uio, or vfio-pci")
    kind = root.read(f"/sys/kernel/iommu_groups/{pci.group}/type") if protected else ""
    if driver in UIO and protected and kind != "identity" and pci.virtio_feature(33) is not False:
        plan.refuse("iommu_translates", f"the IOMMU translates for it ({kind or 'type unknown'}), which {driver} does not know of",
                    "--driver vfio-pci, or boot with iommu=pt")
    asked_uio = options.driver in UIO
    if not protected and not options.allow_no_iommu and not asked_uio:
        plan.refuse(*no_iommu(root))
    if plan.no_iommu or driver in UIO:
        plan.warnings.append(NO_IOMMU_WARNING)
    if driver in UIO and "[none]" not in (root.read("/sys/kernel/security/lockdown") or "[none]"):
        plan.refuse("locked_down", "the kernel is locked down (secure boot): it lets nobody use UIO", "switch secure boot off, or take vfio-pci")


def refuse_virtio(plan):
    """A virtio NIC obeys an IOMMU only if it was told so when its machine was made."""
    pci = plan.pci
    if pci.vendor != "1af4" or not is_behind_iommu(pci):
        return
    if pci.virtio_feature(32) is False:
        plan.refuse("legacy_virtio", "a legacy virtio NIC does not obey the IOMMU: VFIO cannot serve it",
                    "--driver uio_pci_generic, or give the machine the NIC with disable-legacy=on,iommu_platform=on")
    elif pci.virtio_feature(33) is False:
        plan.refuse("virtio_without_iommu", "this virtio NIC does not obey the IOMMU that it is behind",
                    "give the machine the NIC with iommu_platform=on, or take --driver uio_pci_generic")


def refuse_partners(plan, together):
    for other in plan.pci.partners():
        if other.driver is None or other.driver in HARMLESS or other.address in together:
            continue
        text = f"{other.address} ({other.driver}) is in the same IOMMU group {plan.pci.group}, and must not have a kernel driver either"
        if other.address == plan.pci.pf():
            mend = f"its slot does not keep VFs apart (no ACS): another slot, or all of the NIC: {PROGRAM} bind {other.address}"
        elif other.is_nic:
            mend = f"{PROGRAM} bind {plan.pci.address} {other.address}, or first: {PROGRAM} unbind {other.address}"
        else:
            mend = f"if nothing needs it: echo {other.address} >/sys/bus/pci/devices/{other.address}/driver/unbind; or put the NIC in another slot"
        plan.refuse("iommu_group_shared", text, mend)


def refuse_use(plan, machine, force):
    """What the kernel does with it, and programs."""
    pci = plan.pci
    held = pci.holders()
    if held:
        plan.refuse("in_use_by_process", f"process {held[0][0]} ({held[0][1]}) has it open", "end it first: systemctl stop weir-dataplane")
    uses = machine.uses(pci)
    for name, text in uses:
        if force:
            plan.warnings.append(f"forced: {text}")
        else:
            plan.refuse(name, text, FORCE)
    if pci.driver and pci.driver not in USERSPACE and not pci.interfaces():
        plan.warnings.append(f"{pci.driver} has it, but it has no interface here: perhaps it is in another network namespace")


def stays(plan):
    """Whether DPDK wants it to stay with the kernel."""
    pci = plan.pci
    kernel = pci.driver if pci.driver in BIFURCATED else BIFURCATED_VENDORS.get(pci.vendor)
    if not kernel or pci.driver not in (kernel, None):
        return False
    plan.action, plan.driver = "stays", kernel
    plan.why = f"{BIFURCATED[kernel]}: nothing to bind; weir.yaml names its address (pci: {pci.address})"
    if pci.driver is None:
        plan.warnings.append(f"it has no driver now: {PROGRAM} restore {pci.address} gives it {kernel}")
    return True


def make_plan(machine, pci, options, together=()):
    """options: driver, force, allow_no_iommu. together: addresses that the same command binds."""
    plan, root = Plan(pci), machine.root
    if not pci.is_nic:
        plan.refuse("not_a_nic", f"{pci.address} is no network device (class {pci.pci_class[2:]})", f"{PROGRAM} list")
        return plan
    if not options.driver and stays(plan):
        return plan
    choose(plan, root, options.driver)
    if pci.driver == plan.driver or (not options.driver and pci.driver in USERSPACE):
        plan.action, plan.driver, plan.why = "already", pci.driver, f"{pci.driver} has it"
        plan.no_iommu = pci.is_noiommu
        return plan
    refuse_driver(plan, root, options)
    if plan.driver == "vfio-pci":
        refuse_partners(plan, together)
    if pci.vfs():
        plan.refuse("pf_has_vfs", f"it has VFs ({', '.join(pci.vfs().values())}), which would be without their PF's driver",
                    f"bind these, or remove them: echo 0 >{pci.dir}/sriov_numvfs")
    refuse_use(plan, machine, options.force)
    if pci.driver and pci.driver not in KNOWN and pci.driver not in USERSPACE:
        plan.warnings.append(f"no DPDK driver is known for NICs of {pci.driver}: weir-dataplane may not find it")
    return plan
