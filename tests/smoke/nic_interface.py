# SPDX-License-Identifier: Apache-2.0
"""Run by test_nic in network and mount namespaces of its own (unshare --net --mount): the real kernel's interface, saved and restored.

A veth stands for a NIC's interface, and another one, of another name, for what its driver makes when it is back. Prints what is different.
"""
import json
import os
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts/lib"))
from nic_change import remember_device, restore_interface  # noqa: E402
from nic_hands import Hands  # noqa: E402
from nic_tree import Machine, Root  # noqa: E402


class Nic:
    """What both functions ask of a PCI device."""
    address, driver, override = "0000:01:00.0", "veth", None

    def __init__(self, name):
        self.name = name

    def interfaces(self):
        return [n for n in (self.name, "w0") if os.path.exists(f"/sys/class/net/{n}")][:1]


def ip(words):
    subprocess.run(["ip", *words.split()], check=True)


def seen():
    """Addresses and routes, less what differs by time or by interface."""
    found = []
    for words in ("-j addr show dev w0", "-j -4 route show dev w0", "-j -6 route show dev w0"):
        for one in json.loads(subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True).stdout or "[]"):
            addresses = [{k: a.get(k) for k in ("local", "prefixlen", "broadcast", "scope", "label")}
                         | {"for_ever": a["valid_life_time"] == 0xFFFFFFFF} for a in one.get("addr_info", []) if a["scope"] != "link"]
            found.append({k: one.get(k) for k in ("mtu", "dst", "gateway", "metric", "protocol", "scope")} | {"addresses": addresses,
                         "up": "UP" in one.get("flags", [])})
    return sorted((f for f in found if f["dst"] != "fe80::/64"), key=str)


def main():
    if os.readlink("/proc/self/ns/net") == os.readlink(f"/proc/{os.getppid()}/ns/net"):
        return "this is for a network namespace of its own"
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "sysfs", "none", "/sys"], check=True)
    for words in ("link add w0 type veth peer name p0", "link set p0 up", "link set w0 mtu 1400 up", "addr add 192.0.2.77/24 brd + dev w0",
                  "addr add 192.0.2.78/24 dev w0 valid_lft 500 preferred_lft 400", "addr add 2001:db8::77/64 dev w0 nodad",
                  "route add default via 192.0.2.1", "route add 203.0.113.0/24 via 192.0.2.1 metric 5", "-6 route add default via 2001:db8::1"):
        ip(words)
    before = seen()
    kept = remember_device(Machine(Root("/")), Nic("w0"))["interfaces"][0]
    for words in ("link del w0", "link add w1 type veth peer name p1", "link set p1 up"):
        ip(words)
    hands = Hands(Root("/"), False)
    run = hands.run
    hands.run = lambda *argv: None if argv[0] == "udevadm" else run(*argv)  # udev is the whole machine's
    restore_interface(hands, Nic("w1"), kept, True)
    after = seen()
    return None if before == after and len(before) >= 6 else f"before: {before}\nafter: {after}"


if __name__ == "__main__":
    sys.exit(main())
