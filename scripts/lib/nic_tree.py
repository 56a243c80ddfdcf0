# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of this machine's NICs: sysfs, proc, and `ip`. Reads only; used by scripts/weir-nic.

Everything is below a root, which is / but in tests (WEIR_NIC_ROOT). With another root only commands below it are run, so
that nothing of a made-up tree can reach a real device.
"""
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys

PROGRAM = sys.argv[0]  # so that a line that mends something can be typed as it is
NIC_CLASS = "0x02"
BRIDGE_CLASSES = ("0x0604", "0x0607", "0x0609")  # a type 1 header: VFIO lets them be, whatever drives them
HARMLESS = ("vfio-pci", "pci-stub")  # drivers that leave an IOMMU group usable
PCI_ADDRESS = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])")


class Refused(Exception):
    """Ends the command with status 1. name: which refusal; mend: the line that makes it possible."""

    def __init__(self, name, text, mend=""):
        super().__init__(text)
        self.name, self.text, self.mend = name, text, mend


class Root:
    def __init__(self, path=None):
        self.path = os.path.realpath(path or os.environ.get("WEIR_NIC_ROOT") or "/")
        self.is_real = self.path == "/"

    def at(self, path):
        return path if self.is_real else self.path + path

    def read(self, path, default=""):
        """The file's text without its last line end. What is not there, or cannot be asked now, is the default."""
        try:
            with open(self.at(path), encoding="utf-8", errors="replace") as f:
                return f.read().rstrip("\n")
        except (OSError, ValueError):
            return default

    def names(self, path):
        try:
            return sorted(os.listdir(self.at(path)))
        except OSError:
            return []

    def link(self, path):
        """The last part of what a symbolic link points to, or None."""
        try:
            return os.path.basename(os.readlink(self.at(path)))
        except OSError:
            return None

    def exists(self, path):
        return os.path.exists(self.at(path))

    def command(self, name):
        """Where a command is, by PATH, or None."""
        path = os.environ.get("PATH", "") + (":/usr/sbin:/sbin" if self.is_real else "")
        found = shutil.which(name, path=path)
        if found and not self.is_real and not os.path.realpath(found).startswith(self.path + os.sep):
            return None
        return found

    def run(self, name, *args):
        """A finished process, or None where the command is not there. It may fail."""
        found = self.command(name)
        if not found:
            return None
        try:
            return subprocess.run([found, *args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as e:
            return subprocess.CompletedProcess([name, *args], 1, "", f"{name}: {e}")


def ip_json(root, *args):
    done = root.run("ip", "-j", *args)
    try:
        return json.loads(done.stdout or "[]") if done and done.returncode == 0 else []
    except ValueError:
        return []


class Pci:
    """One PCI device, whatever its class."""

    def __init__(self, root, address):
        self.root, self.address = root, address
        self.dir = f"/sys/bus/pci/devices/{address}"
        self.pci_class = root.read(f"{self.dir}/class")
        self.vendor = root.read(f"{self.dir}/vendor")[2:]
        self.device = root.read(f"{self.dir}/device")[2:]
        self.group = root.link(f"{self.dir}/iommu_group")
        # VFIO without an IOMMU makes a group of its own while it has the device.
        self.is_noiommu = bool(self.group) and root.read(f"/sys/kernel/iommu_groups/{self.group}/name") == "vfio-noiommu"

    @property
    def driver(self):
        return self.root.link(f"{self.dir}/driver")

    @property
    def override(self):
        text = self.root.read(f"{self.dir}/driver_override").strip("\0")
        return None if text in ("", "(null)") else text

    @property
    def is_nic(self):
        return self.pci_class.startswith(NIC_CLASS)

    def number(self, name):
        text = self.root.read(f"{self.dir}/{name}")
        return int(text) if re.fullmatch(r"-?\d+", text) else None

    def partners(self):
        """The others of its IOMMU group, but bridges."""
        if not self.group or self.is_noiommu:
            return []
        others = [Pci(self.root, a) for a in self.root.names(f"/sys/kernel/iommu_groups/{self.group}/devices") if a != self.address]
        return [o for o in others if not o.pci_class.startswith(BRIDGE_CLASSES)]

    def vfs(self):
        """{number: address} of the VFs that a PF has."""
        found = {}
        for name in self.root.names(self.dir):
            if re.fullmatch(r"virtfn\d+", name):
                found[int(name[6:])] = self.root.link(f"{self.dir}/{name}")
        return dict(sorted(found.items()))

    def pf(self):
        return self.root.link(f"{self.dir}/physfn")

    def interfaces(self):
        """Names of its kernel interfaces; those of virtio are one folder further down."""
        found = self.root.names(f"{self.dir}/net")
        for name in self.root.names(self.dir):
            if re.fullmatch(r"virtio\d+", name):
                found += self.root.names(f"{self.dir}/{name}/net")
        return found

    def virtio_feature(self, bit):
        """True, False, or None where it is no virtio device or nothing drives it."""
        for name in self.root.names(self.dir):
            bits = self.root.read(f"{self.dir}/{name}/features") if re.fullmatch(r"virtio\d+", name) else ""
            if len(bits) > bit:
                return bits[bit] == "1"
        return None

    def holders(self):
        """[(pid, program)] of those that have it open by VFIO or UIO."""
        nodes = {f"/dev/{n}" for n in self.root.names(f"{self.dir}/uio")}
        nodes |= {f"/dev/vfio/devices/{n}" for n in self.root.names(f"{self.dir}/vfio-dev")}
        if self.group and self.driver == "vfio-pci":
            nodes |= {f"/dev/vfio/{self.group}", f"/dev/vfio/noiommu-{self.group}"}
        if not nodes:
            return []
        found = []
        for pid in filter(str.isdigit, self.root.names("/proc")):
            for fd in self.root.names(f"/proc/{pid}/fd"):
                try:
                    if os.readlink(self.root.at(f"/proc/{pid}/fd/{fd}")) in nodes:
                        found.append((int(pid), self.root.read(f"/proc/{pid}/comm", "?")))
                        break
                except OSError:
                    continue
        return found


class Machine:
    """All devices, and who uses them, as of one moment."""

    def __init__(self, root):
        self.root = root
        self.all = {a: Pci(root, a) for a in root.names("/sys/bus/pci/devices")}
        self.nics = {a: p for a, p in self.all.items() if p.is_nic}
        self.addresses = {}
        for link in ip_json(root, "addr", "show"):
            self.addresses[link.get("ifname", "")] = [a for a in link.get("addr_info", []) if a.get("local")]
        self.default = self._default_routes()
        self.ssh = self._ssh_sessions()
        self._names = None

    def find(self, name):
        """The Pci that a user means: an address, a short one, or an interface."""
        m = PCI_ADDRESS.fullmatch(name)
        if m:
            address = f"{(m[1] or '0000').lower()}:{m[2].lower()}:{m[3].lower()}.{m[4]}"
            if address in self.all:
                return self.all[address]
            raise Refused("no_such_device", f"there is no PCI device {address}", f"{PROGRAM} list")
        for pci in self.nics.values():
            if name in pci.interfaces():
                return pci
        if self.root.exists(f"/sys/class/net/{name}"):
            raise Refused("not_a_pci_device", f"{name} is an interface of no PCI device", f"{PROGRAM} list")
        raise Refused("no_such_device", f"there is no device or interface {name}", f"{PROGRAM} list")

    def _default_routes(self):
        """{interface: {"IPv4", "IPv6"}}"""
        found = {}
        for line in self.root.read("/proc/net/route").splitlines()[1:]:
            f = line.split()
            if len(f) > 7 and f[1] == f[7] == "00000000" and int(f[3], 16) & 1 and not int(f[3], 16) & 0x200:
                found.setdefault(f[0], set()).add("IPv4")
        for line in self.root.read("/proc/net/ipv6_route").splitlines():
            f = line.split()
            if len(f) > 9 and f[0] == "0" * 32 and f[1] == "00" and not int(f[8], 16) & 0x200:  # 0x200: RTF_REJECT
                found.setdefault(f[9], set()).add("IPv6")
        for version in ("4", "6"):  # proc has the main table only, and the first of several next hops
            for route in ip_json(self.root, f"-{version}", "route", "show", "table", "all", "default"):
                for hop in [route, *route.get("nexthops", [])]:
                    if hop.get("dev", "lo") != "lo":
                        found.setdefault(hop["dev"], set()).add(f"IPv{version}")
        return found

    def _ssh_ports(self):
        ports = set()
        files = ["/etc/ssh/sshd_config"]
        files += [f"/etc/ssh/sshd_config.d/{n}" for n in self.root.names("/etc/ssh/sshd_config.d") if n.endswith(".conf")]
        for path in files:
            ports |= {int(p) for p in re.findall(r"^\s*Port\s+(\d+)", self.root.read(path), re.M | re.I)}
            ports |= {int(p) for p in re.findall(r"^\s*ListenAddress\s+\S+:(\d+)\s*$", self.root.read(path), re.M | re.I)}
        return ports or {22}

    def _ssh_sessions(self):
        """{(local address, interface or None)} of ssh sessions: established TCP at sshd's ports, and what this shell came by. One to an address
        of lo (a router's own) is given the interface by which its answers leave."""
        found, ports = set(), self._ssh_ports()
        came = os.environ.get("SSH_CONNECTION", "").split()
        if len(came) == 4:
            ports.add(int(came[3]) if came[3].isdigit() else 22)
            found.add((plain_address(came[2].split("%")[0]), plain_address(came[0].split("%")[0])))
        for path in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in self.root.read(path).splitlines()[1:]:
                f = line.split()
                if len(f) > 3 and f[3] == "01":
                    address, port = f[1].split(":")
                    if int(port, 16) in ports:
                        found.add((address_of_hex(address), address_of_hex(f[2].split(":")[0])))
        loopback = [plain_address(a["local"]) for a in self.addresses.get("lo", [])]
        return {(local, self._way_to(remote) if local in loopback else None) for local, remote in found if local}

    def _way_to(self, remote):
        """The interface by which packets to an address leave, or None."""
        routes = ip_json(self.root, "route", "get", str(remote)) if remote and not remote.is_loopback else []
        return routes[0].get("dev") if routes else None

    def stack(self, name):
        """The interface and all that stand on it: bridges, bonds, VLANs, whatever is above those."""
        seen, todo = [], [name]
        while todo:
            one = todo.pop(0)
            if one in seen:
                continue
            seen.append(one)
            above = [n[6:] for n in self.root.names(f"/sys/class/net/{one}") if n.startswith("upper_")]
            master = self.root.link(f"/sys/class/net/{one}/master")
            todo += above + ([master] if master else [])
        return seen

    def uses(self, pci):
        """[(name of a refusal, what is said)] of what the kernel does with it. Empty: nobody misses it."""
        found = []
        if pci.interfaces() and not self.addresses:
            found.append(("addresses_unknown", "`ip addr` (iproute2) says nothing, so nobody can tell who uses it"))
        for name in pci.interfaces():
            stack = self.stack(name)
            for one in stack:
                by = f" by {one}" if one != name else ""
                if one in self.default:
                    found.append(("default_route", f"{name} carries the default route ({', '.join(sorted(self.default[one]))}){by}"))
                mine = [plain_address(a["local"]) for a in self.addresses.get(one, [])]
                met = sorted(str(a) for a, by_name in self.ssh if a in mine or by_name == one)
                if met:
                    found.append(("ssh", f"{name} carries an ssh session (at {', '.join(met)}){by}"))
            found += self._memberships(name, stack[1:])
            kept = [f"{a['local']}/{a['prefixlen']}" for a in self.addresses.get(name, []) if a.get("scope") != "link"]
            if kept and self.is_up(name):
                found.append(("has_addresses", f"{name} is up and has {', '.join(kept)}"))
        return found

    def _memberships(self, name, above):
        found = []
        for one in above:
            if not self.root.exists(f"/sys/class/net/{name}/upper_{one}") and self.root.link(f"/sys/class/net/{name}/master") != one:
                continue
            if self.root.exists(f"/sys/class/net/{one}/bridge"):
                found.append(("in_bridge", f"{name} is a port of bridge {one}"))
            elif self.root.exists(f"/sys/class/net/{one}/bonding"):
                found.append(("in_bond", f"{name} is a member of bond {one}"))
            elif self.root.exists(f"/proc/net/vlan/{one}") or "DEVTYPE=vlan" in self.root.read(f"/sys/class/net/{one}/uevent"):
                found.append(("vlan_parent", f"{name} carries VLAN {one}"))
            else:
                found.append(("has_upper", f"{one} stands on {name}"))
        return found

    def is_up(self, name):
        flags = self.root.read(f"/sys/class/net/{name}/flags", "0x0")
        return bool(int(flags, 16) & 1)

    def interface(self, name):
        """What `list` says of an interface, and what a state file keeps of it."""
        d = f"/sys/class/net/{name}"
        speed = self.root.read(f"{d}/speed")
        queues = self.root.names(f"{d}/queues")
        return {"name": name, "mac": self.root.read(f"{d}/address"), "mtu": int(self.root.read(f"{d}/mtu") or 0),
                "up": self.is_up(name), "link": self.root.read(f"{d}/carrier") == "1",
                "speed_mbps": int(speed) if re.fullmatch(r"[1-9]\d*", speed) else None,
                "rx_queues": sum(q.startswith("rx-") for q in queues), "tx_queues": sum(q.startswith("tx-") for q in queues),
                "addresses": [f"{a['local']}/{a['prefixlen']}" for a in self.addresses.get(name, [])]}

    def names(self, pci):
        """(vendor, device) by pci.ids, or the ids themselves."""
        if self._names is None:
            self._names = read_pci_ids(self.root, {(p.vendor, p.device) for p in self.nics.values()})
        return self._names.get(pci.vendor, pci.vendor), self._names.get((pci.vendor, pci.device), pci.device)


def plain_address(text):
    """An address without an IPv4-mapped form; None if it is none."""
    try:
        a = ipaddress.ip_address(text)
    except ValueError:
        return None
    return a.ipv4_mapped if a.version == 6 and a.ipv4_mapped else a


def address_of_hex(text):
    """Of /proc/net/tcp: words in the machine's order (every machine that Weir runs on is little-endian)."""
    words = [bytes.fromhex(text[i:i + 8])[::-1] for i in range(0, len(text), 8)]
    return plain_address(str(ipaddress.ip_address(b"".join(words))))


def read_pci_ids(root, wanted):
    """{vendor: name, (vendor, device): name} of those wanted."""
    names, vendor = {}, None
    for path in ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"):
        for line in root.read(path).splitlines():
            if line.startswith("C "):  # classes come behind the vendors
                break
            if line[:1] not in ("", "#", "\t"):
                vendor = line[:4].lower()
                names.setdefault(vendor, line[4:].strip())
            elif line.startswith("\t") and line[1:2] != "\t" and (vendor, line[1:5].lower()) in wanted:
                names.setdefault((vendor, line[1:5].lower()), line[5:].strip())
        if names:
            break
    return names
