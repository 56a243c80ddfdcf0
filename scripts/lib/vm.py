# SPDX-License-Identifier: Apache-2.0
"""A Debian guest in QEMU, without KVM: with an IOMMU, NICs of several kinds, and an agent that runs what it is asked for."""
import itertools
import json
import pathlib
import select
import socket
import subprocess
import time

from vm_qemu import Qemu

COMMAND_S = 120.0  # of a command in the guest, if nothing else is said: the guest is ten to thirty times slower than the machine
BOOT_S = 600.0


class Failure(Exception):
    pass


def ip(*args):
    subprocess.run(["ip", *map(str, args)], check=True, capture_output=True, timeout=30)


class Nic:
    """One of the guest's. model: QEMU's; queues: pairs, for those that have several; options: more of QEMU's; offloads: the other end leaves
    checksums to it; tso: it cuts long segments; wakes: by receive interrupts; vfs: so many are asked of it, so it is behind a root port of its own,
    for functions beyond eight (ARI)."""

    def __init__(self, model, queues=1, options="", offloads=False, tso=False, wakes=True, vfs=0):
        self.model, self.queues, self.options, self.offloads, self.tso, self.wakes, self.vfs = model, queues, options, offloads, tso, wakes, vfs

    def is_of(self, models):
        """Whether they, as QEMU's -device help has them, have this one."""
        return f'name "{self.model}"' in models


class Vm:
    """
    In a network namespace of its own, in which tap0, tap1, ... are the other ends of the NICs; slot 0x10 + i of bus 0 is NIC i's, or its root port's.
    share: a folder that the guest sees read-only at /weir, if it is mounted there.
    """

    def __init__(self, folder, image, kernel, initrd, nics, share, qemu=None, cores=3, memory_mb=2048, command_line=""):
        self.dir = pathlib.Path(folder)
        self.image, self.kernel, self.initrd, self.nics, self.share, self.qemu = image, kernel, initrd, nics, share, qemu or Qemu()
        self.cores, self.memory_mb, self.command_line = cores, memory_mb, command_line
        self.ns = f"weir-vm-{self.dir.name}"
        self.ids = itertools.count()
        self.process = self.socket = None
        self.text = b""

    def __enter__(self):
        ip("netns", "add", self.ns)
        try:
            ip("-n", self.ns, "link", "set", "lo", "up")
            for i, nic in enumerate(self.nics):
                ip("-n", self.ns, "tuntap", "add", f"tap{i}", "mode", "tap", *(["multi_queue"] if nic.queues > 1 else []))
                ip("-n", self.ns, "link", "set", f"tap{i}", "up")
                if not nic.offloads:  # else frames of 64 KiB come to models that know none
                    self.here("ethtool", "-K", f"tap{i}", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
            self._start()
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(self, kind, value, tb):
        if kind and (self.dir / "console.log").exists():
            print("the end of the guest's console:\n" + (self.dir / "console.log").read_text(errors="replace")[-3000:])
            print("and QEMU:\n" + (self.dir / "qemu.log").read_text(errors="replace")[-3000:])
        self._clean()

    def _clean(self):
        if self.socket:
            self.socket.close()
        if self.process:
            self.process.kill()
            self.process.wait(30)
        subprocess.run(["ip", "netns", "del", self.ns], capture_output=True, timeout=30)

    def pci(self, i):
        if not self.nics[i].vfs:
            return f"0000:00:{0x10 + i:02x}.0"
        return f"0000:{1 + sum(1 for n in self.nics[:i] if n.vfs):02x}:00.0"

    def _nic_options(self, i, nic):
        queues = f",queues={nic.queues}" if nic.queues > 1 else ""
        yield from ("-netdev", f"tap,id=n{i},ifname=tap{i},script=no,downscript=no{queues}")
        multi = f",mq=on,vectors={2 * nic.queues + 2}" if nic.queues > 1 else ""
        place = f"bus=pcie.0,addr=0x{0x10 + i:x}"
        if nic.vfs:
            yield from ("-device", f"pcie-root-port,id=port{i},chassis={1 + i},{place}")
            place = f"bus=port{i}"
        yield from ("-device", f"{nic.model},netdev=n{i},mac=52:54:00:77:00:{i:02x},{place}{multi}{nic.options}")

    def _more_options(self):
        """Of QEMU, for a guest of another kind."""
        return ()

    def _start(self):
        agent = self.dir / "agent.sock"
        # no_timer_check: else the kernel gives up where the machine is too busy to bring its timer's interrupts in time
        argv = ["ip", "netns", "exec", self.ns, *self.qemu.argv(self.image.parent, self.dir), "-nodefaults", "-no-user-config", "-display", "none",
                "-machine", "q35,kernel-irqchip=split", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", self.cores, "-m", self.memory_mb,
                "-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on,aw-bits=48", "-kernel", self.kernel, "-initrd", self.initrd,
                "-append", f"root=/dev/vda rw console=ttyS0 panic=1 quiet intel_iommu=on iommu=pt mitigations=off no_timer_check net.ifnames=1 {self.command_line}",
                "-drive", f"file={self.image},format=raw,if=none,id=root,snapshot=on", "-device", "virtio-blk-pci,drive=root,bus=pcie.0", "-serial", f"file:{self.dir / 'console.log'}",
                "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={agent},server=on,wait=off",
                "-device", "virtserialport,chardev=agent,name=weir", "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
                "-fsdev", f"local,id=share,path={self.share},security_model=none,readonly=on", "-device", "virtio-9p-pci,fsdev=share,mount_tag=weir"]
        for i, nic in enumerate(self.nics):
            argv += self._nic_options(i, nic)
        argv += self._more_options()
        with open(self.dir / "qemu.log", "ab") as log:
            self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while not agent.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failure("QEMU does not start: " + (self.dir / "qemu.log").read_text(errors="replace"))
            time.sleep(0.1)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(agent))

    def wait_for_agent(self, seconds=BOOT_S):
        """What it is asked before it is there it answers when it is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.ask("true", 10)["rc"] == 0:
                    return
            except TimeoutError:
                pass
            if self.process.poll() is not None:
                break
        raise Failure("the guest does not start")

    def prepare(self):
        """Weir's programs are where an installation has them."""
        self.run("mkdir -p /weir /run/weir; mount -t 9p -o trans=virtio,ro,version=9p2000.L weir /weir; cp /weir/weir* /usr/bin/; "
                 "cp -r /weir/scripts /usr/local/lib/weir; for p in /usr/local/lib/weir/weir-*; do ln -s $p /usr/local/sbin; done")

    def ask(self, command, seconds=COMMAND_S):
        """{"rc", "out", "err"} of a command of bash in the guest. TimeoutError: it did not answer."""
        number = next(self.ids)
        self.socket.sendall(json.dumps({"id": number, "command": command, "timeout": seconds}).encode() + b"\n")
        end = time.monotonic() + seconds + 10
        while True:
            while b"\n" in self.text:
                line, self.text = self.text.split(b"\n", 1)
                answer = json.loads(line)
                if answer["id"] == number:
                    return answer
            if not select.select([self.socket], [], [], max(end - time.monotonic(), 0))[0]:
                raise TimeoutError(command)
            got = self.socket.recv(65536)
            if not got:
                raise Failure("QEMU has ended: " + (self.dir / "qemu.log").read_text(errors="replace"))
            self.text += got

    def run(self, command, seconds=COMMAND_S):
        """What it prints; Failure unless it succeeds."""
        a = self.ask(command, seconds)
        if a["rc"] != 0:
            raise Failure(f"in the guest, {command}: {a['rc']}\n{a['out']}{a['err']}")
        return a["out"]

    def here(self, *argv, timeout=120, check=True, **kw):
        """A command on this side, in the namespace of the NICs' other ends."""
        return subprocess.run(["ip", "netns", "exec", self.ns, *map(str, argv)], check=check, timeout=timeout, capture_output=True, text=True, **kw)
