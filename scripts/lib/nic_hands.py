# SPDX-License-Identifier: Apache-2.0
"""What changes something: writes below /sys, commands, and binding one device. Used by nic_change.py and nic_vfs.py.

dpdk-devbind.py binds where it is there; what it did is looked at, not believed.
"""
import sys
import time

from nic_plan import iommu_line
from nic_tree import Refused

PATIENCE_S = 3.0  # until the kernel shows what it was told
NOIOMMU = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"


def say(text, file=None):
    """A terminal that is gone, perhaps by what is being done, is no reason to stop half-way."""
    try:
        print(text, file=file or sys.stdout, flush=True)
    except OSError:
        pass


def wait_until(fn, seconds):
    end = time.monotonic() + seconds
    while not fn():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def because(said):
    return f": {' '.join(said.split())}" if said else ""


class Hands:
    """All that changes something, so that a dry run can say it instead."""

    def __init__(self, root, dry_run):
        self.root, self.dry_run = root, dry_run
        self.said = ""  # by the last command, whatever its status: dpdk-devbind.py's is 0 when it fails

    def write(self, path, text):
        if self.dry_run:
            say(f"would write {text.strip() or 'nothing'} to {path}")
            return
        try:
            with open(self.root.at(path), "a" if path.endswith("bind") else "w") as f:
                f.write(text)
        except OSError as e:
            raise Refused("write_failed", f"cannot write {text.strip()!r} to {path}: {e.strerror}", "dmesg | tail") from e

    def run(self, *argv):
        """What it says on failure, "" when it succeeded, None where the command is not there."""
        if self.dry_run:
            if self.root.command(argv[0]):
                say(f"would run {' '.join(argv)}")
                return ""
            return None
        done = self.root.run(*argv)
        if done is None:
            self.said = ""
            return None
        self.said = (done.stderr or done.stdout).strip()
        return "" if done.returncode == 0 else self.said or f"exit status {done.returncode}"

    def wait(self, fn, seconds):
        return self.dry_run or wait_until(fn, seconds)


def unbind(hands, pci):
    """From its driver to none."""
    driver = pci.driver
    if driver is None:
        return
    said = hands.run("dpdk-devbind.py", "--unbind", "--force", pci.address)
    if said is None or (pci.driver is not None and not hands.dry_run):
        hands.write(f"/sys/bus/pci/drivers/{driver}/unbind", pci.address)
    if not hands.wait(lambda: pci.driver is None, PATIENCE_S):
        raise Refused("unbind_failed", f"{pci.address} keeps its driver {driver}" + because(hands.said), "dmesg | tail")


def bind_by_sysfs(hands, pci, driver):
    """As dpdk-devbind does it: the override only while it binds."""
    hands.write(f"{pci.dir}/driver_override", driver)
    if pci.driver:
        hands.write(f"/sys/bus/pci/drivers/{pci.driver}/unbind", pci.address)
        hands.wait(lambda: pci.driver is None, PATIENCE_S)
    hands.write(f"/sys/bus/pci/drivers/{driver}/bind", pci.address)
    hands.wait(lambda: pci.driver == driver, PATIENCE_S)
    hands.write(f"{pci.dir}/driver_override", "\n")


def bind(hands, pci, driver, force):
    """To a userspace driver that is loaded, and looks that it is so."""
    said = hands.run("dpdk-devbind.py", f"--bind={driver}", *(["--force"] if force else []), pci.address)
    if said is None:
        bind_by_sysfs(hands, pci, driver)
    if not hands.wait(lambda: pci.driver == driver, PATIENCE_S):
        raise Refused("bind_failed", f"{pci.address} did not get {driver}, but {pci.driver or 'none'}" + because(hands.said), "dmesg | tail")


def load_driver(hands, plan, state):
    said = hands.run("modprobe", plan.driver)
    if said is None and not hands.root.exists(f"/sys/bus/pci/drivers/{plan.driver}"):
        raise Refused("no_modprobe", f"{plan.driver} is not loaded, and there is no modprobe", "apt-get install kmod")
    if said:
        raise Refused("modprobe_failed", f"{plan.driver} cannot be loaded: {said}", f"modprobe -v {plan.driver}")
    if plan.no_iommu and not hands.dry_run and not hands.root.exists(NOIOMMU):
        raise Refused("no_iommu", "this kernel's VFIO has no no-IOMMU mode", iommu_line(hands.root))
    if plan.no_iommu and hands.root.read(NOIOMMU) not in ("Y", "1"):
        if state.noiommu_before is None:
            state.noiommu_before = hands.root.read(NOIOMMU, "N")
            if not hands.dry_run:
                state.save()
        hands.write(NOIOMMU, "1")
