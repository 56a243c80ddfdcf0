# SPDX-License-Identifier: Apache-2.0
"""A machine's NICs that are files: /sys, /proc, /etc and the commands below a folder, for scripts/weir-nic.

Tree builds one. Its thread plays the kernel: what is written into bind, unbind, drivers_probe and sriov_numvfs has the effect that it has
there. The commands are this file under other names (below the folder's bin/), which log their arguments and touch nothing outside the folder.
weir-nic runs no others there, so no test reaches a real device.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/weir-nic"
COMMANDS = ("dpdk-devbind.py", "modprobe", "ip", "udevadm")  # and driverctl where a test asks for it
USERSPACE = ("vfio-pci", "uio_pci_generic", "igb_uio")
ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Tree:
    def __init__(self, iommu=True, modules=("vfio-pci",), commands=COMMANDS):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="weir-nic."))
        self.iommu, self.native, self.kinds, self.attached = iommu, {}, {}, []
        for folder in ("sys/bus/pci/devices", "sys/bus/pci/drivers", "sys/class/net", "sys/kernel/iommu_groups", "proc", "bin", "fail"):
            (self.root / folder).mkdir(parents=True)
        put(self.root / "sys/bus/pci/drivers_probe", "")
        put(self.root / "proc/sys/kernel/osrelease", "6.1.0-test\n")
        put(self.root / "lib/modules/6.1.0-test/modules.dep", "".join(f"kernel/x/{m}.ko.xz:\n" for m in modules))
        self.links = [{"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]}]
        self.vf_group = None  # each VF has one of its own
        self.routes, self.defaults, self.way = {}, [], "lo"
        self._save_ip()
        for name in commands:
            self.add_command(name)

    def __enter__(self):
        self.stop = threading.Event()
        self.sizes = {}
        self.kernel = threading.Thread(target=self._be_the_kernel)
        self.kernel.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.kernel.join()
        shutil.rmtree(self.root)

    # ---- making it

    def add_command(self, name):
        put(self.root / "bin" / name, f"#!{sys.executable} -IS\n" + pathlib.Path(__file__).read_text())
        (self.root / "bin" / name).chmod(0o755)

    def remove_command(self, name):
        (self.root / "bin" / name).unlink()

    def fail(self, command, part, text):
        """The command fails with text where its arguments have part."""
        put(self.root / "fail" / command, json.dumps([part, text]))

    def add_driver(self, name):
        d = self.root / "sys/bus/pci/drivers" / name
        d.mkdir(exist_ok=True)
        for f in ("bind", "unbind"):
            put(d / f, "") if not (d / f).exists() else None

    def deny(self, driver, address):
        """The driver does not take the device."""
        put(self.root / "fail" / f"bind-{driver}-{address}", "")

    def allow(self, driver, address):
        for what in ("bind", "denied"):
            (self.root / "fail" / f"{what}-{driver}-{address}").unlink(missing_ok=True)

    def add(self, address, driver="ixgbe", name=None, ids="8086:10fb", group=None, kind="020000", vfs_max=0, bound=True, features=None):
        """A device. name: its interface, when its own driver has it."""
        d = self.root / "sys/bus/pci/devices" / address
        vendor, device = ids.split(":")
        for f, text in {"class": f"0x{kind}", "vendor": f"0x{vendor}", "device": f"0x{device}", "driver_override": "(null)",
                        "numa_node": "1", "modalias": f"pci:v{vendor}d{device}"}.items():
            put(d / f, text + "\n")
        if vfs_max:
            put(d / "sriov_totalvfs", f"{vfs_max}\n")
            put(d / "sriov_numvfs", "0\n")
            put(d / "sriov_drivers_autoprobe", "1\n")
        if self.iommu:
            group = str(group if group is not None else len(self.kinds) + 1)
            g = self.root / "sys/kernel/iommu_groups" / group
            put(g / "type", "DMA-FQ\n")
            (g / "devices").mkdir(exist_ok=True)
            os.symlink(f"../../../../bus/pci/devices/{address}", g / "devices" / address)
            os.symlink(f"../../../../kernel/iommu_groups/{group}", d / "iommu_group")
        self.native[address], self.kinds[address] = driver, (name, features)
        if driver:
            self.add_driver(driver)
            if bound:
                self.attach(address, driver)
        return address

    def add_interface(self, name, where, **files):
        d = self.root / "sys/class/net" / name
        for f, text in {"address": "02:00:00:00:00:01", "mtu": "1500", "flags": "0x1002", "carrier": "1", "speed": "10000", **files}.items():
            put(d / f, text + "\n")
        for q in ("rx-0", "rx-1", "tx-0"):
            (d / "queues" / q).mkdir(parents=True, exist_ok=True)
        if where:
            where.mkdir(parents=True, exist_ok=True)
            (where / name).mkdir(exist_ok=True)

    def configure(self, name, *addresses, up=True, mtu="1500", routes=()):
        """Gives an interface addresses, as 192.0.2.1/24."""
        put(self.root / f"sys/class/net/{name}/flags", "0x1003\n" if up else "0x1002\n")
        put(self.root / f"sys/class/net/{name}/mtu", mtu + "\n")
        info = [{"family": "inet6" if ":" in a else "inet", "local": a.split("/")[0], "prefixlen": int(a.split("/")[1]), "scope": "global"}
                for a in addresses]
        self.links.append({"ifname": name, "addr_info": info})
        self.routes[name] = list(routes)
        self._save_ip()

    def stack(self, lower, upper, kind):
        """upper stands on lower: bridge, bonding (members), or vlan."""
        self.add_interface(upper, None)
        d = self.root / "sys/class/net"
        os.symlink(f"../{upper}", d / lower / f"upper_{upper}")
        if kind == "vlan":
            put(d / upper / "uevent", f"DEVTYPE=vlan\nINTERFACE={upper}\n")
        else:
            os.symlink(f"../{upper}", d / lower / "master")
            (d / upper / kind).mkdir()

    def _save_ip(self):
        put(self.root / "ip.json", json.dumps({"links": self.links, "routes": self.routes, "defaults": self.defaults, "way": self.way}))

    def default_route(self, name, version=4):
        if version == 4:
            put(self.root / "proc/net/route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
                f"{name}\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
        else:
            put(self.root / "proc/net/ipv6_route", f"{'0' * 32} 00 {'0' * 32} 00 fd{'0' * 29}1 00000400 00000003 00000000 00000003 {name}\n"
                f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n")

    def default_routes_of_ip(self, *routes):
        """As `ip -j -4 route show table all default` has them, which is more than proc."""
        self.defaults = list(routes)
        self._save_ip()

    def ssh_at_loopback(self, address, way):
        """A session to an address of lo, whose answers leave by an interface."""
        self.links[0]["addr_info"].append({"family": "inet", "local": address, "prefixlen": 32, "scope": "global"})
        self.way = way
        self._save_ip()

    def hold(self, pid, node, program):
        (self.root / f"proc/{pid}/fd").mkdir(parents=True)
        os.symlink(node, self.root / f"proc/{pid}/fd/7")
        put(self.root / f"proc/{pid}/comm", program + "\n")

    # ---- the kernel

    def attach(self, address, driver):
        d = self.root / "sys/bus/pci/devices" / address
        override = (d / "driver_override").read_text().strip("\0\n")
        if (d / "driver").is_symlink() or override not in ("", "(null)", driver) or self._denied(driver, address):
            return
        if driver != self.native[address] and (driver not in USERSPACE or override != driver):
            return  # the driver does not know the device
        if driver == "vfio-pci" and not self.iommu:
            group = f"{100 + len(self.attached)}"
            put(self.root / f"sys/kernel/iommu_groups/{group}/name", "vfio-noiommu\n")
            os.symlink(f"../../../../kernel/iommu_groups/{group}", d / "iommu_group")
        name, features = self.kinds[address]
        if driver == self.native[address]:
            inner = d / "virtio0" if features else d
            if features:
                put(inner / "features", features + "\n")
            if name and name not in os.listdir(self.root / "sys/class/net"):
                self.add_interface(name, inner / "net")
        os.symlink(f"../../../../bus/pci/drivers/{driver}", d / "driver")
        self.attached.append((address, driver))

    def _denied(self, driver, address):
        """Leaves word, so that the commands need not wait for it."""
        denied = (self.root / "fail" / f"bind-{driver}-{address}").exists()
        if denied:
            put(self.root / "fail" / f"denied-{driver}-{address}", "")
        return denied

    def detach(self, address):
        d = self.root / "sys/bus/pci/devices" / address
        for net in (d / "net", d / "virtio0/net"):
            for one in net.iterdir() if net.exists() else []:
                shutil.rmtree(self.root / "sys/class/net" / one.name, ignore_errors=True)
                self.links = [link for link in self.links if link["ifname"] != one.name]
            shutil.rmtree(net, ignore_errors=True)
        shutil.rmtree(d / "virtio0", ignore_errors=True)
        self._save_ip()
        if not self.iommu and (d / "iommu_group").is_symlink():
            shutil.rmtree(self.root / "sys/kernel/iommu_groups" / os.path.basename(os.readlink(d / "iommu_group")))
            (d / "iommu_group").unlink()
        (d / "driver").unlink(missing_ok=True)

    def _be_the_kernel(self):
        while not self.stop.wait(0.002):
            for d in list((self.root / "sys/bus/pci/drivers").iterdir()):
                for name in ("unbind", "bind"):
                    for address in self._news(d / name):
                        self.detach(address) if name == "unbind" else self.attach(address, d.name)
            probe = self.root / "sys/bus/pci/drivers_probe"
            for address in ADDRESS.findall(probe.read_text()):
                probe.write_text("")
                override = (self.root / f"sys/bus/pci/devices/{address}/driver_override").read_text().strip("\0\n")
                driver = override if override not in ("", "(null)") else self.native[address]
                if driver and (self.root / "sys/bus/pci/drivers" / driver).exists():
                    self.attach(address, driver)
            for pf in list((self.root / "sys/bus/pci/devices").glob("*/sriov_numvfs")):
                self._count_vfs(pf)

    def _news(self, path):
        text = path.read_text() if path.exists() else ""
        new, self.sizes[path] = text[self.sizes.get(path, 0):], len(text)
        return ADDRESS.findall(new)

    def _count_vfs(self, file):
        pf, wanted = file.parent, file.read_text().strip()
        have = sorted(pf.glob("virtfn*"))
        if not wanted.isdigit() or int(wanted) == len(have) or (have and wanted != "0"):
            return
        if wanted == "0":
            for link in have:
                vf = os.path.basename(os.readlink(link))
                shutil.rmtree(self.root / "sys/bus/pci/devices" / vf)
                for group in (self.root / "sys/kernel/iommu_groups").glob(f"*/devices/{vf}"):
                    group.unlink()
                link.unlink()
        for i in range(int(wanted)):
            address = f"{pf.name[:5]}{int(pf.name[5:7], 16) + 1:02x}:10.{i}"
            self.add(address, "iavf", None, "8086:1889", bound=(pf / "sriov_drivers_autoprobe").read_text().strip() == "1",
                     group=self.vf_group)
            os.symlink(f"../{pf.name}", self.root / "sys/bus/pci/devices" / address / "physfn")
            os.symlink(f"../{address}", pf / f"virtfn{i}")

    # ---- using it

    def run(self, *args, env=None, status=0):
        """weir-nic on it. Its exit status is a test's, too."""
        assert self.root.is_dir() and str(self.root).startswith(tempfile.gettempdir())
        environment = {"PATH": str(self.root / "bin"), "WEIR_NIC_ROOT": str(self.root), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        done = subprocess.run([sys.executable, str(SCRIPT), *args], capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == status and "Traceback" not in done.stderr, \
            f"weir-nic {' '.join(args)}: status {done.returncode}, not {status}\n{done.stdout}{done.stderr}"
        return done

    def signalled(self, number, command, part, *args):
        """weir-nic gets a signal while it runs the command whose arguments have part. (exit status, stderr)"""
        put(self.root / "pause", json.dumps([command, part]))
        environment = {"PATH": str(self.root / "bin"), "WEIR_NIC_ROOT": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen([sys.executable, str(SCRIPT), *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
        try:
            assert settled((self.root / "paused").exists, 30), "the command is run"
            process.send_signal(number)
            if number == signal.SIGHUP:
                (self.root / "pause").unlink()
            return process.wait(60), process.stderr.read()
        finally:
            process.kill()
            process.wait()
            process.stderr.close()

    def refused(self, name, *args, **kw):
        """The line in which it refuses by that name, and says what mends it."""
        done = self.run(*args, status=1, **kw)
        lines = [line for line in done.stderr.splitlines() if f"refused ({name}): " in line and ". Mend: " in line]
        assert lines, f"weir-nic {' '.join(args)}: not {name}, but {done.stderr}"
        return lines[0]

    def driver(self, address):
        link = self.root / f"sys/bus/pci/devices/{address}/driver"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None

    def read(self, path):
        file = self.root / path
        return file.read_text() if file.exists() else None

    def state(self):
        text = self.read("var/lib/weir/nic.json")
        return json.loads(text) if text else None

    def log(self, command=None):
        """What was run: a list of argument lists."""
        lines = [json.loads(line) for line in (self.read("log") or "").splitlines()]
        return [a for c, *a in lines if c == command] if command else lines

    def snapshot(self):
        """{path: content} of all that weir-nic may change."""
        found = {}
        for top in ("sys", "etc", "var"):
            for path in sorted((self.root / top).rglob("*")):
                if path.name not in ("bind", "unbind", "nic.lock") and not path.is_dir():
                    found[str(path)] = os.readlink(path) if path.is_symlink() else path.read_text().strip("\0\n").replace("(null)", "")
        return found


# ---- the commands

def main(name, args):
    root = pathlib.Path(__file__).resolve().parent.parent
    with open(root / "log", "a") as f:
        f.write(json.dumps([name, *args]) + "\n")
    pause = root / "pause"
    if pause.exists() and json.loads(pause.read_text())[0] == name and json.loads(pause.read_text())[1] in " ".join(args):
        put(root / "paused", "")
        settled(lambda: not pause.exists(), 60)
    failing = root / "fail" / name
    if failing.exists():
        part, text = json.loads(failing.read_text())
        if part in " ".join(args):
            print(text, file=sys.stderr)
            return 1
    return {"dpdk-devbind.py": devbind, "modprobe": modprobe, "ip": ip, "driverctl": driverctl}.get(name, lambda *_: 0)(root, args) or 0


def settled(condition, seconds=3):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return condition()


def driver_of(device):
    try:
        return os.path.basename(os.readlink(device / "driver"))
    except FileNotFoundError:  # the other side may take it away at any time
        return None


def leave(root, address):
    device = root / "sys/bus/pci/devices" / address
    if driver_of(device):
        with open(root / "sys/bus/pci/drivers" / driver_of(device) / "unbind", "a") as f:
            f.write(address)
        settled(lambda: driver_of(device) is None)


def devbind(root, args):
    """As the real one: the override while it binds, and status 0 where that fails."""
    address = args[-1]
    device = root / "sys/bus/pci/devices" / address
    old = driver_of(device)
    leave(root, address)
    if args[0].startswith("--bind="):
        driver = args[0][7:]
        (device / "driver_override").write_text(driver)
        with open(root / "sys/bus/pci/drivers" / driver / "bind", "a") as f:
            f.write(address)
        denied = root / "fail" / f"denied-{driver}-{address}"
        if not settled(lambda: driver_of(device) == driver or denied.exists()) or driver_of(device) != driver:
            print(f"Error: bind failed for {address} - Cannot bind to driver {driver}: [Errno 22] Invalid argument (was {old})", file=sys.stderr)
        (device / "driver_override").write_text("\0")


def modprobe(root, args):
    dep = (root / "lib/modules/6.1.0-test/modules.dep").read_text()
    if args[0].startswith("pci:") or f"/{args[0]}.ko" in dep:
        names = [args[0]] if not args[0].startswith("pci:") else []
        for name in names:
            d = root / "sys/bus/pci/drivers" / name
            d.mkdir(exist_ok=True)
            for f in ("bind", "unbind"):
                (d / f).touch()
        if "vfio-pci" in names and not (root / "no_noiommu").exists():
            put(root / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N\n")
        return 0
    print(f"modprobe: FATAL: Module {args[0]} not found", file=sys.stderr)
    return 1


def driverctl(root, args):
    address, probe = args[args.index(next(a for a in args if ADDRESS.fullmatch(a)))], "--noprobe" not in args
    device, saved = root / "sys/bus/pci/devices" / address, root / f"etc/driverctl.d/pci-{address}"
    leave(root, address)
    driver = args[-1] if "set-override" in args else ""
    (device / "driver_override").write_text(driver + "\n")
    if probe:
        (root / "sys/bus/pci/drivers_probe").write_text(address)
        if not settled(lambda: driver_of(device)):
            return 1
    put(saved, driver + "\n") if driver else saved.unlink(missing_ok=True)


def ip(root, args):
    known = json.loads((root / "ip.json").read_text())
    net = root / "sys/class/net"
    if args == ["-j", "addr", "show"]:
        print(json.dumps(known["links"]))
    elif args[0] == "-j" and "table" in args:
        print(json.dumps(known["defaults"] if args[1] == "-4" else []))
    elif args[:3] == ["-j", "route", "get"]:
        print(json.dumps([{"dst": args[3], "dev": known["way"]}]))
    elif args[1:3] == ["route", "show"]:
        print("\n".join(known["routes"].get(args[-1], []) if args[0] == "-4" else []))
    elif args[:2] == ["link", "set"] and args[3] == "name":
        os.rename(net / args[2], net / args[4])
        for folder in root.glob(f"sys/bus/pci/devices/*/net/{args[2]}"):
            folder.rename(folder.parent / args[4])
    elif args[:2] == ["link", "set"] and args[3] in ("up", "down"):
        (net / args[2] / "flags").write_text("0x1003\n" if args[3] == "up" else "0x1002\n")
    elif args[:2] == ["link", "set"] and args[3] == "mtu":
        (net / args[2] / "mtu").write_text(args[4] + "\n")


if __name__ == "__main__":
    sys.exit(main(os.path.basename(__file__), sys.argv[1:]))
