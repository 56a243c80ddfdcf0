#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a TLS handshake costs Weir's worker and nginx's, whole: TCP, TLS, the end of the connection.

    tests/bench/tls_busy.py --build BUILD [--rounds N] [--seconds S]

openssl s_time opens one connection after the other over a TAP port, without a request; to Weir and to nginx by turns. Weir's
cost is the busy cycles of its one worker, the driver's system calls among them; nginx's is the CPU time of its one worker as the
kernel counts it, in which the kernel's TCP is charged to it only as far as it runs within its system calls. Busy cycles go on
while another program has the core: on a machine with other work the figures mean nothing.
"""
import argparse
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "smoke"))

import tls_peers as peers  # noqa: E402
from rig import PEER4, WEIR4, Rig, expect, gateway, wait_until  # noqa: E402

EC, RSA = (443, "ec"), (8443, "rsa")
NGINX_OF = {443: 1443, 8443: 9443}


def manifests():
    edge = gateway(", ".join([peers.listener("ec", "ec", port=443), peers.listener("rsa", "rsa", port=8443)]))
    return {"edge.yaml": edge + peers.secret("ec", peers.pair(peers.ANY)) + peers.secret("rsa", peers.pair(peers.ANY, key="rsa"))}


def nginx():
    def server(port, key):
        p = peers.pair(peers.ANY, key=key)
        return (f"server {{ listen {PEER4}:{NGINX_OF[port]} ssl; ssl_certificate {p.crt}; ssl_certificate_key {p.key}; "
                "ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:P-256:P-384; ssl_session_cache off; return 204; }\n")
    return server(*EC) + server(*RSA)


def cpu_us(pid):
    """User and system time of a process, and of nobody else."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


def worker_of(rig):
    """nginx's one worker: the child of its master."""
    return next(int(p.name) for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and
                (p / "stat").exists() and (p / "stat").read_text().rpartition(")")[2].split()[1] == str(rig.procs["nginx"].pid))


def handshakes(rig, address, port, version, seconds, reuse):
    """As many as s_time says that it made."""
    out = rig.run(["openssl", "s_time", "-connect", f"{address}:{port}", "-reuse" if reuse else "-new", version,
                   "-time", seconds, "-CAfile", peers.authority().root], timeout=seconds * 3 + 60).stdout.decode()
    n = next(int(line.split()[0]) for line in out.splitlines() if "connections in" in line and "real seconds" in line)
    expect(n > 0, out)
    return n


class Weir:
    name, address = "Weir", WEIR4

    def __init__(self, rig):
        self.rig = rig
        at = time.monotonic(), rig.metric_sum("weir_worker_cycles_total")
        time.sleep(2)
        self.hz = (rig.metric_sum("weir_worker_cycles_total") - at[1]) / (time.monotonic() - at[0])

    def port(self, port):
        return port

    def cost_us(self):
        return self.rig.metric_sum("weir_worker_busy_cycles_total") / self.hz * 1e6


class Nginx:
    name, address = "nginx", PEER4

    def __init__(self, rig):
        self.pid = worker_of(rig)

    def port(self, port):
        return NGINX_OF[port]

    def cost_us(self):
        return cpu_us(self.pid)


CASES = [("TLS 1.3, P-256", EC, "-tls1_3", False), ("TLS 1.2, P-256", EC, "-tls1_2", False), ("TLS 1.2, P-256, resumed", EC, "-tls1_2", True),
         ("TLS 1.3, RSA-2048", RSA, "-tls1_3", False)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    args = parser.parse_args()
    with Rig(args.build, manifests=manifests(), nginx=nginx(), yaml_workers="") as rig:
        for port in NGINX_OF:
            wait_until("TLS is served", lambda port=port: rig.run(["openssl", "s_client", "-connect", f"{WEIR4}:{port}"],
                                                                  check=False, input=b"").returncode == 0)
        servers = [Weir(rig), Nginx(rig)]
        print("| handshake | Weir, us | nginx, us | nginx/Weir |\n| --- | --- | --- | --- |")
        for name, (port, _), version, reuse in CASES:
            costs = {s.name: [] for s in servers}
            for _ in range(args.rounds):
                for s in servers:
                    before = s.cost_us()
                    n = handshakes(rig, s.address, s.port(port), version, args.seconds, reuse)
                    costs[s.name].append((s.cost_us() - before) / n)
            weir, other = (statistics.median(costs[s.name]) for s in servers)
            print(f"| {name} | {weir:.0f} ({min(costs['Weir']):.0f} to {max(costs['Weir']):.0f}) | {other:.0f} "
                  f"({min(costs['nginx']):.0f} to {max(costs['nginx']):.0f}) | {other / weir:.2f} |", flush=True)


if __name__ == "__main__":
    main()
