# SPDX-License-Identifier: Apache-2.0
"""Starts that cannot be: each is said at once, with what mends it, by status 1, and leaves nothing behind."""
import contextlib
import os
import pathlib
import subprocess

from rig import Skipped, alone, expect, expect_eq

HUGE = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def write_yaml(rig, name, port, memory="hugepages: false", socket="second.sock"):
    path = rig.dir / name
    path.write_text(f"""ports:
  - {port}
    addresses: [10.98.0.2/24]
workers: {{cores: [0], idle: sleep}}
memory: {{{memory}, arena_mb: 1}}
pools: {{mbufs: 1024, connections: 256, upstream_connections: 256, requests: 16, tunnels: 16, mirrors: 1}}
control: {{socket: {rig.dir}/{socket}}}
""")
    return path


def start_fails(rig, yaml):
    """Its words."""
    p = subprocess.run(["ip", "netns", "exec", rig.ns_weir, rig.build / "dataplane/weir-dataplane", "-c", yaml], capture_output=True, timeout=120)
    text = p.stderr.decode()
    expect_eq(p.returncode, 1, f"exit status; {text}")
    expect(not (rig.dir / "second.sock").exists(), "no control socket is left")
    return text


def wants(text, words):
    expect(words in text, f"wanted {words!r} in: {text}")
    expect("start failed at: host" in text and "EAL" not in text, f"found before DPDK: {text}")


def kernels_device():
    """A PCI device of this machine that the kernel has."""
    for device in sorted(pathlib.Path("/sys/bus/pci/devices").glob("*")):
        if (device / "driver").exists() and "vfio" not in os.readlink(device / "driver"):
            return device.name, pathlib.Path(os.readlink(device / "driver")).name
    raise Skipped("no PCI device with a driver")


def test_pci_address_that_is_nobodys_is_named(make):
    with make(ctrl=False) as rig:
        text = start_fails(rig, write_yaml(rig, "a.yaml", "pci: 0000:fe:1f.7", "hugepages: true"))
        wants(text, "port 0000:fe:1f.7: there is no such PCI device; `weir-nic list` shows those that there are")


def test_device_that_the_kernel_has_is_not_taken(make):
    address, driver = kernels_device()
    with make(ctrl=False) as rig:
        text = start_fails(rig, write_yaml(rig, "a.yaml", f"pci: {address}", "hugepages: true"))
        wants(text, f"port {address}: the kernel has it (driver {driver}); `weir-nic bind {address}` gives it to DPDK")


def test_interface_that_is_not_there_is_named(make):
    with make(ctrl=False) as rig:
        text = start_fails(rig, write_yaml(rig, "a.yaml", 'vdev: "net_af_packet0,iface=nobody0"'))
        wants(text, "there is no interface nobody0 in this network namespace")


def second_on_the_same_port(make, port):
    with make(port=port) as rig:
        name = "weir0" if port == "tap" else "port0"
        text = start_fails(rig, write_yaml(rig, "a.yaml", f'vdev: "{rig.vdev()}"'))
        wants(text, f"another weir-dataplane (process {rig.procs['dataplane'].pid}) has {name}: stop it, or give this one another port")
        for i in range(5):
            expect_eq(rig.curl(f"/{i}")[0], 200, "the first one goes on")
        rig.stop("dataplane")
        rig.start_dataplane()  # the name is free again
        rig.wait_healthy()


def test_two_dataplanes_on_one_tap_are_not_let_be(make):
    second_on_the_same_port(make, "tap")


def test_two_dataplanes_on_one_interface_are_not_let_be(make):
    second_on_the_same_port(make, "af_packet")


@contextlib.contextmanager
def hugepages(n):
    """So many of 2 MiB, of the whole machine, for a moment."""
    if not HUGE.exists():
        raise Skipped("the kernel has no hugepages of 2 MiB")
    before = (HUGE / "nr_hugepages").read_text()
    if int(before):
        raise Skipped("this machine has hugepages already, which are somebody's")
    try:
        (HUGE / "nr_hugepages").write_text(str(n))
        if int((HUGE / "nr_hugepages").read_text()) != n:
            raise Skipped(f"the kernel has no {n} hugepages to give")
        yield
    finally:
        (HUGE / "nr_hugepages").write_text(before)


@alone
def test_hugepages_that_are_missing_are_said_so(make):
    with make(ctrl=False) as rig, hugepages(0):
        text = start_fails(rig, write_yaml(rig, "a.yaml", 'vdev: "net_tap7,iface=weir7"', "hugepages: true"))
        wants(text, "memory: this machine has reserved no hugepages, and about")
        wants(text, "`weir-host tune --apply --persistent hugepages` reserves them")


@alone
def test_hugepages_that_are_used_up_or_too_few_are_said_so(make):
    hold = "import mmap,sys\nm=mmap.mmap(-1,%d<<21,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS|0x40000)\nm.write(b'x'*(%d<<21))\nprint(1,flush=True)\nsys.stdin.read()"
    with make(ctrl=False) as rig, hugepages(8):
        yaml = write_yaml(rig, "a.yaml", 'vdev: "net_tap7,iface=weir7"', "hugepages: true")
        p = subprocess.Popen(["python3", "-c", hold % (8, 8)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            expect_eq(p.stdout.readline().strip(), b"1", "they are in use")
            text = start_fails(rig, yaml)
            wants(text, "memory: all 16 MiB of hugepages are used up by other programs, and about")
        finally:
            p.communicate(b"", 60)
        text = start_fails(rig, yaml)
        expect("memory: 16 of 16 MiB of hugepages are free, and about" in text, text)
        expect("error: no memory for " in text and "needs about" in text, text)
