# SPDX-License-Identifier: Apache-2.0
"""Checks of weir-host: hugepages and all else of memory."""
import re

from host_checks import Keep, Run, Write, check, fail, keep_write, note, ok, skip, warn

NIC_MB = 64  # rings of descriptors, on a NIC's node that has no worker
SMALL = "hugepages-2048kB"
THP = "/sys/kernel/mm/transparent_hugepage/enabled"


def chosen(text):
    """The word in brackets of "always [madvise] never"."""
    m = re.search(r"\[(\w+)\]", text or "")
    return m[1] if m else text


def pages_folder(host, node):
    """Of a node's hugepages; of the machine's, where the kernel knows no nodes."""
    path = f"/sys/devices/system/node/node{node}/hugepages"
    return path if host.exists(path) else "/sys/kernel/mm/hugepages"


def needed_mb(host, needs):
    """{node: MiB}: each worker's share on its own node, rings on the NIC's."""
    out = {}
    share = -(-needs.memory_mb // len(needs.cores))
    for c in needs.cores:
        out[host.node_of(c)] = out.get(host.node_of(c), 0) + share
    for address in needs.pci:
        node = host.read_int(f"/sys/bus/pci/devices/{address}/numa_node")
        if node is not None and node >= 0 and node not in out:
            out[node] = NIC_MB
    return out


def node_pages(host, node):
    """[(KiB of a page, how many, how many free)]"""
    base = pages_folder(host, node)
    out = []
    for size in host.list(base):
        m = re.fullmatch(r"hugepages-(\d+)kB", size)
        total, free = host.read_int(f"{base}/{size}/nr_hugepages"), host.read_int(f"{base}/{size}/free_hugepages")
        if m and total is not None and free is not None:
            out.append((int(m[1]), total, free))
    return out


@check("hugepages", "On the node of each worker's core and of each NIC are as many free hugepages (of 2 MiB and 1 GiB together) as weir.yaml needs. "
       "While weir-dataplane runs, those in use count as well.",
       "`nr_hugepages` of the node; soon after boot, while memory is whole. 1 GiB pages only by the kernel's command line.")
def hugepages(host, needs):
    if not needs.hugepages:
        if needs.pci:
            yield fail("", "memory.hugepages is false", "true", "PCI ports need them", mend="memory: {hugepages: true} in weir.yaml")
        else:
            yield ok("", "not wanted (memory.hugepages: false)")
        return
    runs = bool(host.pids("weir-dataplane"))
    about = "about " if needs.is_estimate else ""
    for node, need in sorted(needed_mb(host, needs).items()):
        pages = node_pages(host, node)
        if not pages:
            yield fail(f"node{node}", "no hugepages", "there", "DPDK does not start", mend=f"a kernel with them (none are shown {host.place})")
            continue
        have = sum(kb * (total if runs else free) for kb, total, free in pages) // 1024
        text = f"{have} MiB {'in all, weir-dataplane runs' if runs else 'free'}"
        small = next((total for kb, total, _ in pages if kb == 2048), 0)
        path = f"{pages_folder(host, node)}/{SMALL}/nr_hugepages"
        if have >= need:
            yield ok(f"node{node}", f"{text}, {about}{need} needed", keep=(keep_write(path, str(small)),) if small else ())
            continue
        want = str(small + -(-(need - have) // 2))
        yield fail(f"node{node}", text, f"{about}{need} MiB", "packet buffers and connections lie in them",
                   actions=(Write(path, want),), keep=(keep_write(path, want),))


BOOT_FILES = ("/etc/sysctl.conf", "/etc/sysctl.d/*.conf", "/usr/lib/sysctl.d/*.conf", "/etc/tmpfiles.d/*.conf")


@check("hugepages-boot", "The hugepages will be there after the next start of the machine: by the kernel's command line, sysctl or tmpfiles.",
       "`weir-host tune --apply --persistent hugepages`, or `hugepagesz=2M hugepages=N` on the kernel's command line, which gets them before "
       "memory is in pieces.")
def hugepages_boot(host, needs):
    if not needs.hugepages:
        yield ok("", "not wanted (memory.hugepages: false)")
        return
    if "hugepages" in host.cmdline:
        yield ok("", "on the kernel's command line")
        return
    for pattern in BOOT_FILES:
        for path in host.glob(pattern):
            if re.search(r"^[^#;\n]*nr_hugepages", host.read(path) or "", re.M):
                yield ok("", path)
                return
    n = -(-sum(needed_mb(host, needs).values()) // 2)
    yield warn("", "nothing reserves them at boot", "reserved", "after a restart Weir would not start", kernel=("hugepagesz=2M", f"hugepages={n}"))


@check("hugetlbfs", "Whether hugetlbfs is mounted. Weir needs no mount (DPDK's `--in-memory`); other programs of DPDK on the machine may.",
       "Only if asked by name: `weir-host tune --apply hugetlbfs`.", needs_config=False)
def hugetlbfs(host, needs):
    mounts = [line.split() for line in (host.read("/proc/mounts") or "").splitlines()]
    at = [m[1] for m in mounts if len(m) > 2 and m[2] == "hugetlbfs"]
    if at:
        yield ok("", f"mounted at {', '.join(at)}")
    else:
        yield note("", "not mounted", "Weir does without; other programs of DPDK do not",
                   actions=(Run(("mount", "--mkdir", "-t", "hugetlbfs", "hugetlbfs", "/dev/hugepages"), ("umount", "/dev/hugepages")),))


@check("maps", "The kernel lets a process have as many mappings, and a VFIO container as many DMA entries, as there are hugepages: each page is one.",
       "`vm.max_map_count`; `options vfio_iommu_type1 dma_entry_limit=N` in `/etc/modprobe.d`, or hugepages of 1 GiB.")
def maps(host, needs):
    entries = needs.memory_mb // 2
    now = host.read_int("/proc/sys/vm/max_map_count")
    want = entries + 16384
    if now is None:
        yield skip(f"vm.max_map_count is not shown {host.place}")
    elif needs.hugepages and now < want:
        keep = (Keep("sysctl", "vm.max_map_count", str(want)),)
        yield fail("", str(now), f"{want} or more", "DPDK maps each hugepage by itself", keep=keep,
                   actions=(Write("/proc/sys/vm/max_map_count", str(want)),))
    else:
        yield ok("", str(now))
    limit = host.read_int("/sys/module/vfio_iommu_type1/parameters/dma_entry_limit")
    if limit is None:
        yield skip("vfio_iommu_type1 is not loaded", "dma")
    elif needs.pci and limit < entries:
        yield fail("dma", str(limit), f"{entries} or more", "each hugepage is mapped for the NIC by itself",
                   mend=f"echo options vfio_iommu_type1 dma_entry_limit={entries} > /etc/modprobe.d/weir-vfio.conf, and a restart")
    else:
        yield ok("dma", str(limit))


@check("thp", "Transparent hugepages are made only for programs that ask for them (`madvise`) or not at all: khugepaged stalls the others while it moves memory. "
       "Weir's own hugepages are not these.", "`madvise` in `/sys/kernel/mm/transparent_hugepage/enabled`.", needs_config=False)
def thp(host, needs):
    now = chosen(host.read(THP))
    keep = (keep_write(THP, "madvise"),)
    if not now:
        yield skip(f"no transparent hugepages {host.place}")
    elif now == "always":
        yield warn("", now, "madvise or never", "memory is moved under running programs", actions=(Write(THP, "madvise"),), keep=keep)
    else:
        yield ok("", now, keep=() if now == "never" else keep)


@check("swap", "No swap: a worker whose heap (TLS) was swapped out waits for the disk, and what was in memory is on it. Private keys are locked in any case.",
       "`swapoff -a`, and no swap in `/etc/fstab`. The kubelet by default wants it so, too.", needs_config=False)
def swap(host, needs):
    rows = (host.read("/proc/swaps") or "").splitlines()[1:]
    if rows:
        yield warn("", ", ".join(r.split()[0] for r in rows), "none", "a worker would wait for the disk", mend="swapoff -a (and /etc/fstab)")
    elif host.exists("/proc/swaps"):
        yield ok("", "none")
    else:
        yield skip(f"not shown {host.place}")


@check("ksm", "Nobody merges pages of memory (ksmd), or watches and moves them (kdamond): both take time and slow down who writes to such pages.",
       "`0` in `/sys/kernel/mm/ksm/run`; DAMON is switched off by whoever switched it on.", needs_config=False)
def ksm(host, needs):
    run = host.read("/sys/kernel/mm/ksm/run")
    if run == "1":
        yield warn("", "ksmd runs", "off", "it takes time from all cores", actions=(Write("/sys/kernel/mm/ksm/run", "0"),),
                   keep=(keep_write("/sys/kernel/mm/ksm/run", "0"),))
    elif run is not None:
        yield ok("", "ksmd does not run")
    else:
        yield skip("this kernel has no KSM")
    daemons = [p for p in host.list("/proc") if p.isdigit() and (host.read(f"/proc/{p}/comm") or "").startswith("kdamond")]
    if daemons:
        yield note("damon", f"{len(daemons)} kdamond threads run", "they take time, and may move memory")
