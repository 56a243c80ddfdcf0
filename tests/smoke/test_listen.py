# SPDX-License-Identifier: Apache-2.0
"""The listen side with the kernel's TCP as the peer: SYN cookies, bounds, TIME-WAIT."""
import subprocess

from rig import WEIR4, WEIR6, expect, expect_eq, wait_until

# Opens so many connections, and two more that nobody answers.
HOLD = r"""
import socket, sys, time
held = []
for i in range(int(sys.argv[2]) + 2):
    s = socket.socket()
    s.settimeout(60 if i < int(sys.argv[2]) else 0.7)  # before the SYN is sent again
    try:
        s.connect((sys.argv[1], 80))
        held.append(s)
    except OSError:
        pass
print(len(held), flush=True)
sys.stdin.readline()
"""


def test_kernel_connects_by_syn_cookies_and_carries_bodies(make):
    with make(extra="limits: {syn_cookies: always}") as rig:
        (rig.dir / "www/big").write_bytes(b"x" * (16 << 20))
        for addr in (WEIR4, WEIR6):
            for i in range(20):
                expect_eq(rig.curl(f"/n{i}", addr=addr)[0], 200, "request")
        expect_eq(len(rig.curl("/files/big", timeout=60)[2]), 16 << 20, "body by cookie")
        p = rig.spawn(["curl", "-s", "--limit-rate", "4M", "-o", "/dev/null", "-H", "Host: shop.example.com",
                       f"http://{WEIR4}/files/big"], stdout=subprocess.DEVNULL)
        line = wait_until("a connection to look at", lambda: rig.run(["ss", "-tineH", "state", "established", "dst", f"{WEIR4}:80"]).stdout.decode())
        expect(" ts " in line and " sack " in line and "wscale:" in line, line)
        p.wait(60)
        expect(rig.metric_sum("weir_tcp_cookies_accepted_total") >= 42, "connections by cookie")
        expect_eq(rig.metric_sum("weir_tcp_cookies_refused_total"), 0, "refused cookies")


def test_source_prefix_has_its_bound(make):
    with make(extra="limits: {prefix_connections: 5, syn_cookies: off}") as rig:
        p = rig.spawn(["python3", "-c", HOLD, WEIR4, "5"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        expect_eq(p.stdout.readline().strip(), b"5", "connections of one address")
        expect_eq(rig.curl("/", addr=WEIR6)[0], 200, "another prefix")
        p.communicate(b"\n", 60)
        wait_until("they are closed", lambda: rig.curl("/", check=False)[0] == 200)
        expect(rig.metric_sum("weir_drops_total", "tcp_prefix_full") >= 2, "the reason is counted")


def test_client_port_is_reused_at_once_over_time_wait(make):
    """Weir closes first, as asked to: each connection but the first begins in the TIME-WAIT of the one before."""
    with make() as rig:
        for i in range(10):
            # The client's own end may still wait for the last ACK: then its kernel does not give the port again.
            wait_until("the port is free", lambda: not rig.run(["ss", "-Htan", "sport = :41000"]).stdout.strip())
            expect_eq(rig.curl(f"/n{i}", args=("--local-port", "41000", "-H", "Connection: close"))[0], 200, "request")
        expect_eq(rig.metric_sum("weir_tcp_time_wait_reused_total"), 9, "TIME-WAITs reused")
