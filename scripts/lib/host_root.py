# SPDX-License-Identifier: Apache-2.0
"""What weir-host sees of a machine: files of /proc and /sys below a root, and commands found by PATH.

Nothing here changes anything. A file that is not there, or cannot be read, is None: kernels, containers and virtual machines differ.
"""
import functools
import glob
import os
import shutil
import subprocess


def parse_cpus(text):
    """The set that a list such as 0-3,8 names. What is no list (the kernel writes "(null)" for none) is empty."""
    cpus = set()
    for part in (text or "").strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            cpus |= set(range(int(first), int(last or first) + 1))
    return cpus


def format_cpus(cpus):
    """The shortest list that names them: 0-3,8."""
    out, run = [], []
    for c in [*sorted(cpus), None]:
        if run and c != run[-1] + 1 if c is not None else run:
            out.append(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}")
            run = []
        run.append(c)
    return ",".join(out)


def parse_mask(text):
    """The set of a mask such as 00000000,0000000c."""
    try:
        bits = int((text or "0").replace(",", ""), 16)
    except ValueError:
        return set()
    return {i for i in range(bits.bit_length()) if bits >> i & 1}


def format_mask(cpus):
    words, bits = [], sum(1 << c for c in cpus)
    while bits or not words:
        words.append(f"{bits & 0xffffffff:08x}")
        bits >>= 32
    return ",".join(reversed(words))


class Host:
    def __init__(self):
        self.root = os.environ.get("WEIR_HOST_ROOT") or "/"

    def path(self, path):
        return os.path.join(self.root, path.lstrip("/"))

    def read(self, path):
        try:
            with open(self.path(path), "rb") as f:
                return f.read(4 << 20).decode(errors="replace").strip()
        except OSError:
            return None

    def read_int(self, path):
        try:
            return int(self.read(path) or "", 0)
        except ValueError:
            return None

    def exists(self, path):
        return os.path.exists(self.path(path))

    def list(self, path):
        try:
            return sorted(os.listdir(self.path(path)))
        except OSError:
            return []

    def glob(self, pattern):
        """Paths as without the root."""
        cut = len(self.root.rstrip("/"))
        return [p[cut:] for p in sorted(glob.glob(self.path(pattern)))]

    def link(self, path):
        """The last part of where a link leads: a device's driver, its IOMMU group."""
        try:
            return os.path.basename(os.readlink(self.path(path)))
        except OSError:
            return None

    def command(self, *argv):
        """What a command prints; None where there is none, or it fails."""
        if not shutil.which(argv[0]):
            return None
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def pids(self, name):
        """Processes of this name."""
        return [int(p) for p in self.list("/proc") if p.isdigit() and self.read(f"/proc/{p}/comm") == name]

    # ---- processors

    @functools.cached_property
    def online(self):
        return parse_cpus(self.read("/sys/devices/system/cpu/online"))

    @functools.cached_property
    def _cpuinfo(self):
        first = (self.read("/proc/cpuinfo") or "").split("\n\n")[0]
        return {k.strip(): v.strip() for k, sep, v in (line.partition(":") for line in first.splitlines()) if sep}

    @functools.cached_property
    def flags(self):
        return set(self._cpuinfo.get("flags", "").split())

    @property
    def vendor(self):
        return self._cpuinfo.get("vendor_id", "")

    @property
    def is_virtual(self):
        return "hypervisor" in self.flags

    @property
    def is_container(self):
        return any(self.exists(p) for p in ("/run/systemd/container", "/.dockerenv", "/run/.containerenv"))

    @property
    def place(self):
        """Why something may not be seen here."""
        return "in a container" if self.is_container else "in a virtual machine" if self.is_virtual else "by this kernel or firmware"

    def siblings(self, cpu):
        """Threads of the same core, this one left out."""
        return parse_cpus(self.read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")) - {cpu}

    @functools.cached_property
    def nodes(self):
        """{NUMA node: its CPUs}; one node where the kernel knows none."""
        found = {}
        for path in self.glob("/sys/devices/system/node/node[0-9]*"):
            found[int(path.rsplit("node", 1)[1])] = parse_cpus(self.read(f"{path}/cpulist"))
        return found or {0: self.online}

    def node_of(self, cpu):
        return next((n for n, cpus in self.nodes.items() if cpu in cpus), 0)

    @functools.cached_property
    def cmdline(self):
        """{parameter: value} of the kernel's command line; the last one counts."""
        words = (w.partition("=") for w in (self.read("/proc/cmdline") or "").split())
        return {key: value for key, _, value in words}
