# SPDX-License-Identifier: Apache-2.0
"""Pods on nodes that are kernels: behind their vxlan devices, over IPv4 and IPv6, and by native routes."""
import hashlib
import json
import os
import pathlib
import subprocess

import paths_peer
from nodes import (FAR4, FAR6, NODE4, NODE6, NODE_MAC, OUR_MAC, OURS4, OURS6, POD4, POD4_NET, POD6, POD6_NET, POD_PORT, PORT, VNI, Node,
                   weir_yaml)
from rig import WEIR4, WEIR6, expect, expect_eq, ingress, service, slice_, takes, wait_until

BIG = 24 << 20
HERE = pathlib.Path(__file__).resolve().parent
MANIFESTS = {"pods.yaml": service("four") + slice_("four", POD4, POD_PORT) + service("six") + slice_("six", POD6, POD_PORT) +
             ingress("four", "four.example.com", [("/", "Prefix", "four")]) + ingress("six", "six.example.com", [("/", "Prefix", "six")])}
SOURCES = {"four.example.com": (POD4, OURS4, WEIR4), "six.example.com": (POD6, OURS6, WEIR6)}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_bodies(rig, host):
    """Both ways, whole."""
    big = rig.dir / "www" / "big"
    if not big.exists():
        big.write_bytes(os.urandom(BIG))
        big.chmod(0o644)
    got = rig.dir / "got"
    rig.run(["curl", "-sSf", "-m", "300", "-H", f"Host: {host}", "-o", got, f"http://{WEIR4}/files/big"], timeout=320)
    expect_eq(digest(got), digest(big), f"a large answer of {host}")
    rig.run(["curl", "-sSf", "-m", "300", "-H", f"Host: {host}", "-T", big, f"http://{WEIR4}/up/{host}"], timeout=320)
    expect_eq(digest(rig.dir / "www" / "up" / host), digest(big), f"a large request to {host}")


def check_whole(rig, node, tunnel):
    for host, (pod, ours, weir) in SOURCES.items():
        for i in range(8):
            status, _, body = rig.curl(f"/{i}", host=host)
            expect_eq((status, body), (200, f"pod {ours if tunnel else weir} {pod}\n"), f"{host}, and whom its pod sees")
        check_bodies(rig, host)
    counted = node.counters()
    for name in ("IpReasmReqds", "IpFragCreates", "Ip6ReasmReqds", "Ip6FragCreates", "UdpInCsumErrors", "Udp6InCsumErrors",
                 "TcpInCsumErrors", "IpExtInCsumErrors"):
        expect_eq(counted.get(name, 0), 0, f"the node's {name}")


def drops(rig, prefix):
    return {d["reason"]: d["count"] for d in rig.weirctl_json("drops") if d["reason"].startswith(prefix) and d["count"]}


def run_tunnel(make, outer, workers, overhead):
    vias = (NODE4, NODE4) if outer == 4 else (NODE6, NODE6)
    with make(manifests=MANIFESTS, workers=workers, extra=weir_yaml(*vias, True)) as rig, Node(rig) as node:
        node.tunnel(outer)
        check_whole(rig, node, True)
        # What Weir announced in its SYN: what the tunnel leaves, less the headers and the time stamps of each segment.
        expect_eq(node.mss(4), {1500 - overhead - 40 - 12}, "segments to IPv4 pods' peers")
        expect_eq(node.mss(6), {1500 - overhead - 60 - 12}, "segments to IPv6 pods' peers")
        stats = rig.weirctl_json("stats")
        expect(stats["vxlan_rx_packets"]["sum"] > 1000 and stats["vxlan_tx_packets"]["sum"] > 1000, "packets went through the tunnel")
        expect_eq(drops(rig, "vxlan_"), {}, "packets of the tunnel that were refused")
        expect_eq(drops(rig, "tcp_bad"), {}, "segments that were refused")
        for family, pod in (("-4", OURS4), ("-6", OURS6)):  # inner echo, from the node's kernel
            netns_ping(node, family, pod)


def netns_ping(node, family, address):
    p = subprocess.run(["ip", "netns", "exec", node.pod, "ping", family, "-n", "-c", "2", "-i", "0.2", "-W", "20", address],
                       capture_output=True, timeout=60)
    expect_eq(p.returncode, 0, f"a pod pings {address}: {p.stdout.decode()[-300:]}")


def test_pods_behind_a_kernels_vxlan_over_ipv4(make):
    run_tunnel(make, 4, 1, 50)


def test_pods_behind_a_kernels_vxlan_over_ipv6_with_two_workers(make):
    run_tunnel(make, 6, 2, 70)


def test_pods_behind_a_kernels_vxlan_over_ipv4_with_two_workers(make):
    run_tunnel(make, 4, 2, 50)


def test_pods_by_native_routes(make):
    with make(manifests=MANIFESTS, workers=2, extra=weir_yaml(NODE4, NODE6, False)) as rig, Node(rig) as node:
        check_whole(rig, node, False)
        expect_eq(node.mss(4), {1500 - 40 - 12}, "segments to IPv4 pods' peers")
        expect_eq(rig.weirctl_json("stats")["vxlan_tx_packets"]["sum"], 0, "packets in tunnels")


@takes(20)
def test_router_says_that_the_outer_packet_is_too_long(make):
    for outer, vias in ((4, (FAR4, FAR4)), (6, (FAR6, FAR6))):
        with make(manifests=MANIFESTS, workers=2, extra=weir_yaml(*vias, True)) as rig, Node(rig, far=True, mtu=1400) as node:
            node.tunnel(outer)
            check_whole(rig, node, True)
            expect(rig.weirctl_json("stats")["pmtu_learned"]["sum"] > 0, "the router was believed")
            expect_eq(drops(rig, "icmp_bad"), {}, "errors that were not understood")


def both(tunnel):
    """All ways as PATHS has them: through tunnels, or native."""
    mac = NODE_MAC if tunnel else None
    return [paths_peer.path(POD4_NET, NODE4, mac), paths_peer.path(POD6_NET, NODE4 if tunnel else NODE6, mac)]


@takes(20)
def test_change_of_paths_loses_no_request(make):
    ends = [paths_peer.vtep(OURS4, OUR_MAC, PORT, VNI), paths_peer.vtep(OURS6, OUR_MAC, PORT, VNI)]
    with make(manifests=MANIFESTS, workers=2, ctrl_args=()) as rig, Node(rig) as node:
        node.tunnel(4)
        rig.stop("ctrl")
        stop = rig.dir / "stop"
        with paths_peer.Peer(rig.dir / "dataplane.sock") as peer:
            expect_eq(peer.send(both(True), ends), "ok", "the first paths")
            steady = [rig.spawn(["python3", HERE / "steady.py", WEIR4, host, stop, "--clients", "6", "--gap", "0.01"], stdout=subprocess.PIPE)
                      for host in SOURCES]
            try:
                for i in range(12):
                    expect_eq(peer.send(both(i % 2 == 1), ends), "ok", f"paths {i}")
                    check_bodies(rig, "four.example.com")
                expect_eq(peer.send(both(True)[::-1], ends), "bad-order", "paths out of order")
            finally:
                stop.write_text("")
                out = [json.loads(p.communicate(timeout=120)[0]) for p in steady]
            for r in out:
                expect_eq(r["failed"], [], "requests that failed")
                expect(r["ok"] > 100, "requests went on")
        expect_eq(rig.curl("/", host="four.example.com")[0], 200, "the paths stay when who sent them has gone")
        rig.start_ctrl()
        rig.wait_healthy()
        wait_until("routes again", lambda: rig.curl("/", host="six.example.com")[0] == 200)


FLANNEL = "flannel.alpha.coreos.com"


def flannel_node(name, number, mac, ip4):
    return f"""apiVersion: v1
kind: Node
metadata:
  name: {name}
  annotations: {{{FLANNEL}/backend-type: vxlan, {FLANNEL}/backend-data: '{{"VNI":{VNI},"VtepMAC":"{mac}"}}', {FLANNEL}/public-ip: {ip4}}}
spec: {{podCIDR: 10.244.{number}.0/24, podCIDRs: [10.244.{number}.0/24]}}
status: {{addresses: [{{type: InternalIP, address: {ip4}}}]}}
---
"""


def test_nodes_of_flannel_show_the_tunnel(make):
    manifests = dict(MANIFESTS, **{"nodes.yaml": flannel_node("n1", 1, NODE_MAC, NODE4) + flannel_node("weir-vtep", 9, OUR_MAC, WEIR4)})
    with make(manifests=manifests, workers=2, ctrl_args=("--vtep-node", "weir-vtep")) as rig, Node(rig) as node:
        node.tunnel(4)
        expect_eq(rig.curl("/", host="four.example.com")[2], f"pod {OURS4} {POD4}\n", "whom the pod sees")
        check_bodies(rig, "four.example.com")
        paths = rig.weirctl_json("paths")
        expect_eq(paths["state"], "taken", "what the dataplane says of the ways")
        expect_eq([(p["node"], p["way"]) for p in paths["paths"]], [("n1", "vxlan"), ("weir-vtep", "ours")], "the ways")


def test_near_end_that_is_withdrawn_costs_no_connection(make):
    host, n1 = "four.example.com", flannel_node("n1", 1, NODE_MAC, NODE4)
    manifests = {**MANIFESTS, "nodes.yaml": n1 + flannel_node("weir-vtep", 9, OUR_MAC, WEIR4)}
    with make(manifests=manifests, workers=2, ctrl_args=("--vtep-node", "weir-vtep")) as rig, Node(rig) as node:
        node.tunnel(4)
        wait_until("the tunnel", lambda: rig.curl("/", host=host)[2] == f"pod {OURS4} {POD4}\n")
        check_bodies(rig, host)
        rig.write_manifest("nodes.yaml", n1)  # no end of Weir's any more: native
        wait_until("no tunnel any more", lambda: "native" in rig.weirctl("paths"))
        check_bodies(rig, host)  # idle connections came from within the tunnel, and their answers still do
