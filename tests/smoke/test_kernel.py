# SPDX-License-Identifier: Apache-2.0
"""The exception path: what is not Weir's goes to the kernel beside it and back, in classes with rates of their own."""
import contextlib
import json
import pathlib
import socket
import subprocess
import sys
import time

from nodes import NODE4, NODE6, POD4, POD4_NET, POD6, POD6_NET, POD_PORT, Node
from rig import MANIFESTS, PEER4, PEER6, WEIR4, WEIR6, Failure, expect, expect_eq, ingress, ip, service, slice_, takes, wait_until
from test_life import ptracer, worker_tid

KERNEL4, KERNEL6 = "10.99.0.3", "fd99::3"
OWN = f'kernel: {{interface: k0, addresses: [{KERNEL4}/24, "{KERNEL6}/64"]}}'
SHARED = f'kernel: {{interface: k0, addresses: [{WEIR4}/24, "{WEIR6}/64"]}}'

# Answers each connection with what it got, and each datagram likewise, on a port of both families.
ECHO = r"""
import socket, sys, threading
port = int(sys.argv[1])
def serve(c):
    while data := c.recv(65536):
        c.sendall(data)
    c.close()
def accept(s):
    while True:
        threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
def datagrams(s):
    while True:
        s.sendto(*s.recvfrom(65536))
t = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
u.bind(("::", port))
threading.Thread(target=accept, args=(t,), daemon=True).start()
print("ready", flush=True)
datagrams(u)
"""

# Sends so many bytes and counts what comes back.
STREAM = r"""
import socket, sys, threading
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
n = int(sys.argv[3])
block = bytes(range(256)) * 256
def send():
    for i in range(0, n, len(block)):
        c.sendall(block)
    c.shutdown(socket.SHUT_WR)
t = threading.Thread(target=send); t.start()
got = b""
while data := c.recv(65536):
    got += data
t.join()
assert got == block * (n // len(block)), (len(got), n)
"""

DATAGRAM = r"""
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
data = bytes(range(256)) * (int(sys.argv[3]) // 256)
for i in range(20):
    s.sendto(data, (sys.argv[1], int(sys.argv[2])))
    try:
        assert s.recv(65536) == data
        break
    except TimeoutError:
        pass
else:
    sys.exit("no answer")
"""


@contextlib.contextmanager
def echo(ns, port):
    p = subprocess.Popen(["ip", "netns", "exec", ns, sys.executable, "-c", ECHO, str(port)], stdout=subprocess.PIPE)
    try:
        expect_eq(p.stdout.readline(), b"ready\n", "the echo server's first line")
        yield
    finally:
        p.kill()
        p.wait(30)


def in_kernel(r, *argv, check=True):
    """A command beside Weir, in the kernel whose interface is k0."""
    p = subprocess.run(["ip", "netns", "exec", r.ns_weir, *map(str, argv)], capture_output=True, timeout=120)
    if check and p.returncode != 0:
        raise Failure(f"{argv} ended with {p.returncode}: {p.stderr.decode()[-2000:]}")
    return p


def python(r, text, *argv):
    r.run([sys.executable, "-c", text, *argv])


def ping(r, addr):
    r.run(["ping", "-c", "3", "-i", "0.2", "-W", "5", addr])


def try_kernel(r, v4, v6):
    """From the peer to the kernel beside Weir, and back."""
    with echo(r.ns_weir, 2222):
        for addr in (v4, v6):
            ping(r, addr)
            python(r, STREAM, addr, 2222, 4 << 20)
            python(r, DATAGRAM, addr, 2222, 512)
            if r.port != "af_packet":  # whose fan-out puts fragments together, and cuts off what is too long then
                python(r, DATAGRAM, addr, 2222, 8192)


def try_weir(r):
    for addr in (WEIR4, WEIR6):
        expect_eq(r.curl("/", addr=addr)[0], 200, f"status from {addr}")


def from_kernel(r, url):
    p = in_kernel(r, "curl", "-sS", "-g", "-m", "20", "-H", "Host: shop.example.com", "-o", "/dev/null", "-w", "%{http_code}", url)
    return p.stdout.decode()






def check_own_addresses(rig, port, workers):
    with rig(port=port, workers=workers, yaml_port=OWN) as r:
        try_weir(r)
        try_kernel(r, KERNEL4, KERNEL6)
        for addr in (PEER4, f"[{PEER6}]"):  # the kernel as a client
            expect_eq(from_kernel(r, f"http://{addr}:8081/"), "200", f"status that the kernel gets from {addr}")
        for addr in (WEIR4, f"[{WEIR6}]"):  # and as one of Weir's
            expect_eq(from_kernel(r, f"http://{addr}/"), "200", f"status that the kernel gets from Weir at {addr}")
        try_weir(r)
        expect(r.metric_sum("weir_kernel_other_packets_total") > 0, "packets to the kernel are counted")
        expect(r.metric_sum("weir_kernel_sent_packets_total") > 0, "packets of the kernel are counted")
        expect(r.metric_sum("weir_kernel_received_packets_total") > 0, "packets of the kernel to Weir are counted")


def test_kernel_has_addresses_of_its_own(rig):
    check_own_addresses(rig, "af_packet", 1)


def test_kernel_has_addresses_of_its_own_with_two_workers(rig):
    check_own_addresses(rig, "af_packet", 2)


def test_kernel_beside_a_port_of_af_xdp(rig):
    check_own_addresses(rig, "af_xdp", 1)


def test_kernel_shares_weirs_addresses(rig):
    with rig(port="af_packet", workers=2, yaml_port=SHARED) as r:
        try_weir(r)
        try_kernel(r, WEIR4, WEIR6)
        for addr in (WEIR4, WEIR6):
            p = r.run(["curl", "-sg", "-m", "10", f"http://{f'[{addr}]' if ':' in addr else addr}:4444/"], check=False)
            expect_eq(p.returncode, 7, "curl's status at a port where nobody listens: refused, by the kernel")
        for addr in (PEER4, f"[{PEER6}]"):
            expect_eq(from_kernel(r, f"http://{addr}:8081/"), "200", f"status that the kernel gets from {addr}")
        try_weir(r)


def test_weir_reaches_a_pod_of_the_host_network_beside_it(rig):
    manifests = dict(MANIFESTS, **{"local.yaml": service("local") + slice_("local", KERNEL4, 8085) +
                                   ingress("local", "local.example.com", [("/", "Prefix", "local")])})
    with rig(port="af_packet", workers=2, yaml_port=OWN, manifests=manifests) as r:
        body = r.dir / "www" / "big"
        body.write_bytes(bytes(range(256)) * 8192)
        p = subprocess.Popen(["ip", "netns", "exec", r.ns_weir, sys.executable, "-m", "http.server", "8085", "-d", str(r.dir / "www")],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until("the server", lambda: in_kernel(r, "curl", "-sf", f"http://{KERNEL4}:8085/", check=False).returncode == 0)
            for _ in range(8):  # over either worker
                status, _, got = r.curl("/big", host="local.example.com")
                expect_eq(status, 200, "status")
                expect(got.encode("latin1") == body.read_bytes(), "the body is whole")
        finally:
            p.kill()
            p.wait(30)


def test_kernels_interface_goes_with_the_dataplane(rig):
    with rig(port="af_packet", yaml_port=OWN) as r:
        expect(b"k0" in in_kernel(r, "ip", "-br", "addr").stdout, "the kernel's interface is there")
        r.stop("dataplane")
        expect(b"k0" not in in_kernel(r, "ip", "-br", "addr").stdout, "it is gone with the dataplane")
        r.start_dataplane()
        wait_until("Weir serves", lambda: r.curl("/", check=False)[0] == 200)
        try_kernel(r, KERNEL4, KERNEL6)


BGP = f"bgp: {{asn: 64512, announce: [{WEIR4}, '{WEIR6}']}}"


def announced(r):
    return [in_kernel(r, "ip", f, "route", "show", "proto", "201").stdout.decode().split() for f in ("-4", "-6")]


def exception_cpu_s(r):
    """What the thread between rings and TAPs has used."""
    for task in pathlib.Path(f"/proc/{r.procs['dataplane'].pid}/task").iterdir():
        if (task / "comm").read_text().startswith("weir-exception"):
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    raise Failure("there is no such thread")


def test_kernels_interface_that_somebody_deletes_costs_no_core_and_is_announced_no_more(rig):
    with rig(port="af_packet", yaml_port=OWN, extra=BGP) as r:
        wait_until("both are announced", lambda: all(announced(r)) and r.metric_sum("weir_announced_addresses") == 2)
        in_kernel(r, "ip", "link", "del", "k0")
        wait_until("neither is announced", lambda: r.metric_sum("weir_announced_addresses") == 0)
        t, cpu = time.monotonic(), exception_cpu_s(r)
        time.sleep(2)
        share = (exception_cpu_s(r) - cpu) / (time.monotonic() - t)
        expect(share < 0.02, f"the thread sleeps, and does not use {share:.0%} of a core")
        expect("k0: somebody deleted this interface" in (r.dir / "dataplane.log").read_text(), "the log says so")
        try_weir(r)


def test_nothing_is_announced_while_a_worker_does_not_go_on(rig):
    with rig(port="af_packet", yaml_port=OWN, extra=BGP, workers=2, yaml_workers=", watchdog_ms: 60000") as r:
        wait_until("both are announced", lambda: all(announced(r)))
        held = ptracer("hold", worker_tid(r, 1))
        wait_until("neither is", lambda: not any(announced(r)))
        expect_eq(r.weirctl_json("status")["dataplane"]["announcing"]["state"], "worker-still", "state")
        held.communicate("", 60)
        wait_until("both are announced again", lambda: all(announced(r)))


def test_kernel_has_weirs_routes_beside_those_of_others(rig):
    """Of a dataplane that is to be relieved, say: when that withdraws its own, ours stay."""
    with rig(port="af_packet", yaml_port=OWN, extra=BGP, ctrl=False) as r:
        in_kernel(r, "ip", "link", "add", "other", "type", "veth", "peer", "name", "another")
        in_kernel(r, "ip", "link", "set", "other", "up")
        for prefix, scope in ((f"{WEIR4}/32", ("scope", "link")), (f"{WEIR6}/128", ())):
            in_kernel(r, "ip", "route", "add", prefix, "dev", "other", "proto", "202", *scope)
        r.start_ctrl()
        r.wait_healthy()
        wait_until("ours are there", lambda: all("k0" in words for words in announced(r)))
        in_kernel(r, "ip", "link", "del", "other")
        expect(all("k0" in words for words in announced(r)), "and stay")
        n = r.metric_sum("weir_announce_changes_total")
        time.sleep(6)  # they are asserted again, which is no change
        expect_eq(r.metric_sum("weir_announce_changes_total"), n, "the number of changes")
        expect([len(words) for words in announced(r)] == [len(set(words)) for words in announced(r)], f"each once: {announced(r)}")


@takes(15)
def test_routes_of_the_kernel_are_weirs_too(rig):
    manifests = {"pods.yaml": service("four") + slice_("four", POD4, POD_PORT) + service("six") + slice_("six", POD6, POD_PORT) +
                 ingress("four", "four.example.com", [("/", "Prefix", "four")]) + ingress("six", "six.example.com", [("/", "Prefix", "six")])}
    pods = ((POD4, POD4_NET, NODE4, "four.example.com"), (POD6, POD6_NET, NODE6, "six.example.com"))

    def status(r, host):
        return r.curl("/", host=host, args=("-m", "2"), check=False)[0]

    with rig(port="af_packet", workers=2, yaml_port=OWN.replace("}", ", learn_routes: true}"), timeouts="drain_ms: 3000, connect_ms: 500",
             manifests=manifests) as r, Node(r):
        for _, net, node, host in pods:
            expect(status(r, host) != 200, f"{host} is not reached without a route")
            in_kernel(r, "ip", "route", "add", net, "via", node, "dev", "k0", "proto", "bird")  # as a daemon of BGP does
            wait_until("the pod is reached", lambda h=host: status(r, h) == 200)
            in_kernel(r, "ip", "route", "replace", net, "proto", "bird", "nexthop", "via", node, "dev", "k0", "nexthop", "via",
                      node.replace("21", "22"), "dev", "k0")
        for _, net, node, host in pods:  # of two hops one is nobody: some connections end there, and others do not
            wait_until("both hops are used", lambda h=host: {status(r, h) for _ in range(12)} > {200})
            in_kernel(r, "ip", "route", "del", net)
            wait_until("the route is gone", lambda h=host: status(r, h) != 200 and status(r, h) != 200 and status(r, h) != 200)


def test_routes_of_ipv4_by_a_next_hop_of_ipv6_are_weirs_too(rig):
    """As BGP by link-local neighbours has them (RFC 8950)."""
    manifests = {"pods.yaml": service("four") + slice_("four", POD4, POD_PORT) + ingress("four", "four.example.com", [("/", "Prefix", "four")])}
    with rig(port="af_packet", yaml_port=OWN.replace("}", ", learn_routes: true}"), timeouts="drain_ms: 3000, connect_ms: 500", manifests=manifests) as r, Node(r):
        status = lambda: r.curl("/", host="four.example.com", args=("-m", "2"), check=False)[0]
        expect(status() != 200, "not reached without a route")
        in_kernel(r, "ip", "route", "add", POD4_NET, "via", "inet6", NODE6, "dev", "k0", "proto", "bird")
        wait_until("the pod is reached", lambda: status() == 200)
        in_kernel(r, "ip", "route", "replace", POD4_NET, "proto", "bird", "nexthop", "via", "inet6", NODE6, "dev", "k0",
                  "nexthop", "via", NODE4, "dev", "k0")
        for _ in range(12):
            expect_eq(status(), 200, "by both")


test_routes_of_the_kernel_are_weirs_too.not_sanitized = True  # mostly waits
