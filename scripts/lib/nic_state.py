# SPDX-License-Identifier: Apache-2.0
"""What NICs were before scripts/weir-nic changed them, in /var/lib/weir/nic.json, and the files that make a binding outlast a restart.

Those files are made anew from the state each time, and are not there when it needs none. A device has
its first entry until it is restored: a second bind does not overwrite what it was.
"""
import fcntl
import json
import os
import tempfile

from nic_tree import Refused

FILE = "/var/lib/weir/nic.json"
LOCK = "/var/lib/weir/nic.lock"
RULES = "/etc/udev/rules.d/05-weir-nic.rules"  # before those that load modules by alias
MODULES = "/etc/modules-load.d/weir-nic.conf"
OPTIONS = "/etc/modprobe.d/weir-nic.conf"
HEAD = "# Written by weir-nic, which removes it when it restores the devices.\n"
VERSION = 1


def write_atomically(root, path, text):
    """The whole file or the one before."""
    full = root.at(path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=os.path.dirname(full), prefix=".weir-nic.")
    try:
        with os.fdopen(fd, "w") as f:
            f.write(text)
            f.flush()
            os.fchmod(f.fileno(), 0o644)
            os.fsync(f.fileno())
        os.rename(temporary, full)
    except BaseException:
        os.unlink(temporary)
        raise


class State:
    """devices: {address: entry}, an entry as remember_device() of nic_change makes it."""

    def __init__(self, root):
        self.root, self.devices, self.noiommu_before, self.lock = root, {}, None, None
        if not root.exists(FILE):
            return
        try:
            with open(root.at(FILE), encoding="utf-8") as f:
                read = json.load(f)
            if read["version"] != VERSION:
                raise ValueError(f"its version is {read['version']}, not {VERSION}")
            self.noiommu_before = read["noiommu_before"]
            for address, entry in read["devices"].items():
                if not isinstance(entry["interfaces"], list) or not {"driver", "override", "bound_to"} <= entry.keys():
                    raise ValueError(f"the entry of {address} is not whole")
                self.devices[address] = entry
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise Refused("state_unreadable", f"{FILE}: {e}",
                          f"mv {FILE} {FILE}.bad; then `restore` asks the kernel which driver is right") from e

    def hold(self):
        """Nobody else changes anything until this process ends."""
        os.makedirs(os.path.dirname(self.root.at(LOCK)), exist_ok=True)
        self.lock = open(self.root.at(LOCK), "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise Refused("busy", "another weir-nic is at work", "wait for it") from e

    def save(self):
        if not self.devices and self.noiommu_before is None:
            if self.root.exists(FILE):
                os.unlink(self.root.at(FILE))
            return
        whole = {"version": VERSION, "noiommu_before": self.noiommu_before, "devices": self.devices}
        write_atomically(self.root, FILE, json.dumps(whole, indent=1, sort_keys=True) + "\n")

    def persistence(self):
        """{path: text, or None where it is not to be there}"""
        kept = {a: e for a, e in sorted(self.devices.items()) if e.get("persistent")}
        rules = "".join(rules_of(a, e) for a, e in kept.items() if e["persistent"] == "udev")
        modules = sorted({e["bound_to"] for e in kept.values() if e["bound_to"]})
        options = any(e.get("no_iommu") for e in kept.values())
        return {RULES: HEAD + rules if rules else None,
                MODULES: HEAD + "".join(m + "\n" for m in modules) if modules else None,
                OPTIONS: HEAD + "options vfio enable_unsafe_noiommu_mode=1\n" if options else None}

    def write_persistence(self):
        """Whether anything was different."""
        changed = False
        for path, text in self.persistence().items():
            if text is None and self.root.exists(path):
                os.unlink(self.root.at(path))
                changed = True
            elif text is not None and self.root.read(path) + "\n" != text:
                write_atomically(self.root, path, text)
                changed = True
        return changed


def rules_of(address, entry):
    """udev's. The override comes before the kernel's driver is loaded; where that was quicker (another port of
    the card, an initramfs), the device is taken from it. One that has its driver already is left alone: somebody may use it."""
    if entry.get("made_vfs"):
        macs = "".join(f', RUN+="/bin/ip link set %k vf {i} mac {mac}"' for i, mac in enumerate(entry["vf_macs"]))
        return (f'ACTION=="add", SUBSYSTEM=="net", KERNELS=="{address}", ATTR{{device/sriov_numvfs}}=="0", '
                f'ATTR{{device/sriov_numvfs}}="{entry["made_vfs"]}"{macs}\n')
    driver = entry["bound_to"]
    again = (f"echo {address} >/sys/bus/pci/devices/{address}/driver/unbind; echo {address} >/sys/bus/pci/drivers_probe")
    return (f'ACTION=="add", SUBSYSTEM=="pci", KERNEL=="{address}", DRIVER!="{driver}", ATTR{{driver_override}}="{driver}", '
            f'RUN{{builtin}}+="kmod load {driver}", RUN+="/bin/sh -c \'{again}\'"\n')
