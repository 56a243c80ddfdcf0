# SPDX-License-Identifier: Apache-2.0
"""Weir over memif against weir-blast: the benchmarks in small, of which only what they expect counts, not the figures."""
import contextlib
import fcntl
import pathlib
import subprocess
import sys
import tempfile

from procs import end_process
from rig import Failure, Skipped, expect, expect_eq, wait_until

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench"
sys.path.insert(0, str(BENCH))


def run_small(make, script):
    with subprocess.Popen([sys.executable, BENCH / script, "--build", make.args[0], "--small"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as p:
        try:
            out, err = p.communicate(timeout=900)
        except BaseException:  # by SIGTERM it ends what it has started
            end_process(p)
            raise
    if p.returncode != 0:
        raise Failure(f"{script} ended with {p.returncode}\n{out[-3000:]}\n{err[-6000:]}")


def test_ten_thousand_idle_connections_are_held_and_served(make):
    run_small(make, "million.py")


def test_syn_flood_breaks_no_established_connection(make):
    run_small(make, "flood.py")


def test_one_and_two_workers_one_and_two_endpoints_answer_all(make):
    run_small(make, "workers.py")


def test_an_origin_that_fails_in_every_way_costs_no_wrong_byte(make):
    run_small(make, "chaos.py")


def test_thousands_of_routes_are_served_and_a_copy_takes_a_kibibyte_each_at_most(make):
    run_small(make, "routes.py")


def test_mixed_load_with_faults_loses_nothing_unexplained_while_all_changes(make):
    run_small(make, "soak.py")


def test_changes_of_a_cluster_reach_the_workers_and_none_is_lost(make):
    run_small(make, "kube_scale.py")


def test_handshakes_requests_and_bodies_of_every_proxy_that_ends_tls(make):
    run_small(make, "tls_contest.py")


def test_requests_in_the_clear_beside_handshakes_in_a_device(make):
    run_small(make, "tls_beside.py")


for fn in (test_handshakes_requests_and_bodies_of_every_proxy_that_ends_tls, test_requests_in_the_clear_beside_handshakes_in_a_device):
    fn.not_sanitized = True  # the figures come from libssl and other proxies, whose clients wait for no slow worker


def bench(make, **kw):
    from bench import Bench
    return Bench(make.args[0], idle_us=50, sanitizers=make.keywords["sanitizers"], **kw)


def test_a_crowd_that_goes_idle_at_once_disturbs_nobody(make):
    """Thousands of timers expire together, each sends a FIN that is answered; meanwhile new clients come."""
    n = 5000
    with bench(make, timeouts={"idle_ms": 3000}) as b:
        expect_eq(b.phase(f"connect n={n}")["connections"], n, "connections")
        r = b.phase("load seconds=4 warmup=0 active=0 new=100")
        expect_eq(r["errors"], {}, "errors")
        expect_eq(r["new"]["good"], r["new"]["begun"], "new connections that were served")
        expect_eq(b.phase("hold seconds=60 n=0")["connections"], 0, "connections that outlived the idle limit")
        drops = {d["reason"]: d["count"] for d in b.weirctl("drops")}
        expect_eq(drops["req_idle_timeout"], n, "connections closed for being idle")


def test_bodies_of_all_sizes_arrive_unchanged_over_memif(make):
    """Chains of packet buffers, partial segments, lost frames: the client looks at each byte."""
    sizes = "size=0,1,500,513,1447,1448,1449,3000,65536,1048576"
    for mtu, drop, zero_copy in ((1500, 0, False), (1500, 1000, False), (9000, 1000, False), (1500, 1000, True), (9000, 0, True)):
        with bench(make, mtu=mtu, zero_copy=zero_copy, blast=["--drop", str(drop)]) as b:
            b.phase("connect n=24")
            r = b.measure(f"load seconds=120 warmup=0 active=24 requests=600 {sizes}")
            expect(r["weir"]["counters"].get("upstream_connects", 0) <= 24, "a connection was not used again behind a large body")
            expect_eq(r["errors"], {}, f"errors with {drop} lost of a million, MTU {mtu}, zero-copy: {zero_copy}")
            expect(r["responses"] > 50, f"only {r['responses']} responses")
            expect_eq(r["requests_at_origin"], r["responses"], "requests at the origin")


@contextlib.contextmanager
def hugepages(n):
    """So many free ones more than there were. The machine has one number of them: who wants some waits for who has them."""
    path = pathlib.Path("/proc/sys/vm/nr_hugepages")
    with open(pathlib.Path(tempfile.gettempdir(), "weir-test-hugepages.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = path.read_text()
        path.write_text(f"{int(before) + n}\n")
        try:
            if int(path.read_text()) < int(before) + n:
                raise Skipped(f"{n} hugepages are not to be had")
            yield
        finally:
            path.write_text(before)


def test_a_memif_shows_hugepages_to_its_peer(make):
    """What is allocated after the peer was told of the memory must not be needed, at any start."""
    with hugepages(700):
        for _ in range(3):
            with bench(make, mtu=9000, zero_copy=True, hugepages=True) as b:
                b.phase("connect n=8")
                r = b.phase("load seconds=120 warmup=0 active=8 requests=60 size=0,9000,300000")
                expect_eq(r["errors"], {}, "errors")
                expect(r["responses"] > 20, f"only {r['responses']} responses")


def test_many_clients_at_once_reuse_their_connections_to_one_endpoint(make):
    """Connections given back in a crowd are kept: else each round opens new ones, until no local port is left."""
    n = 600
    with bench(make) as b:
        b.phase(f"connect n={n}")
        b.phase(f"load seconds=0.5 warmup=0 active={n}")
        r = b.measure(f"load seconds=120 warmup=0 active={n} requests={10 * n}")
        expect_eq(r["errors"], {}, "errors")
        counters = r["weir"]["counters"]
        expect(counters["http_requests"] >= n, f"only {counters['http_requests']} requests")
        expect(counters.get("upstream_connects", 0) <= n, f"{counters.get('upstream_connects')} connections were opened for {n} clients")


def drain_once(make, n):
    """Drains a dataplane with n idle connections. What weir-blast saw of it, from before the first of them was closed; else None."""
    from bench import BlastEnded
    with bench(make, timeouts={"drain_ms": 20000}) as b:
        expect_eq(b.phase(f"connect n={n}")["connections"], n, "connections")
        hold = "hold seconds=30 n=0 tell=1"
        b.begin_phase(hold)
        b.terminate("dataplane")
        try:
            r = b.report(hold)
        except BlastEnded: # memif takes it along if it is late, once the dataplane has gone
            r = None
        wait_until("the dataplane has ended", lambda: b.has_ended("dataplane"))
        expect("draining" in b.log("dataplane") and "not drained" not in b.log("dataplane"), b.log("dataplane"))
    return r if r and r["lost"] + r["connections"] == n else None


def test_drain_of_thousands_of_idle_connections_closes_each_in_order(make):
    n = 3000
    for _ in range(3):
        r = drain_once(make, n)
        if r:
            break
    expect(r, "weir-blast did not see a drain from its beginning to its end, three times")
    expect_eq(r["errors"], {}, "connections that were not closed in order")
    expect_eq(r["connections"], 0, "connections that were not closed at all")


def contest(make, label, **kw):
    import contest as contests
    return contests.contestant(make.args[0], label, idle_us=50, sanitizers=make.keywords["sanitizers"], **kw)


def expect_all_right(b, line, at_least):
    r = b.cost(line)
    expect_eq(r["errors"], {}, f"{b.label}: errors of {line}")
    expect(r["responses"] >= at_least, f"{b.label}: {r['responses']} answers to {line}")


def test_every_proxy_of_the_comparison_answers_rightly_over_veth(make):
    """weir-blast looks at status, length and each byte, whoever is between its ends."""
    from contest import OVER_VETH
    for label in OVER_VETH:
        with contest(make, label) as b:
            expect_eq(b.phase("connect n=16")["connections"], 16, f"{label}: connections")
            for line in ("size=0 active=16", "size=128 active=0 shots=16", "size=65536 active=8", "size=1048576 active=4", "size=128 rate=200"):
                expect_all_right(b, f"load seconds=0.3 warmup=0 timeout=20 {line}", 4)


def test_wrk_and_its_origin_reach_every_proxy(make):
    from contest import OVER_VETH
    for label in OVER_VETH:
        with contest(make, label, load="wrk") as b:
            for is_shot in (False, True):
                r = b.wrk(1, 8, is_shot)
                expect("bad_status" not in r["errors"] and r["responses"] > 0, f"{label}: {r['wrk']}")


def test_all_packet_buffers_can_be_sent_over_af_xdp(make):
    """net_af_xdp must know of all of the pool: what lies behind what it knows of would be lost."""
    n_mbufs = 8192
    with contest(make, "Weir, af_xdp", pools={"mbufs": n_mbufs}) as b:
        b.phase("connect n=8")
        before, sent = b.weirctl("stats")["tx_packets"]["sum"], 0
        for _ in range(30):
            expect_all_right(b, "load seconds=0.5 warmup=0 timeout=20 size=65536 active=8", 8)
            sent = b.weirctl("stats")["tx_packets"]["sum"] - before
            if sent > 3 * n_mbufs:
                break
        expect(sent > 3 * n_mbufs, f"only {sent} frames in 30 tries")


def test_comparison_in_small_writes_its_pages(make):
    import xml.etree.ElementTree
    with tempfile.TemporaryDirectory() as d:
        p = subprocess.run([sys.executable, BENCH / "compare.py", "--build", make.args[0], "--small", "--only", "memif,latency", "--out", d],
                           capture_output=True, text=True, timeout=1500)
        expect(p.returncode == 0, f"compare.py ended with {p.returncode}\n{p.stdout[-3000:]}\n{p.stderr[-6000:]}")
        expect("## Targets" in (pathlib.Path(d) / "compare.md").read_text(), p.stdout)
        plots = sorted(pathlib.Path(d).glob("*.svg"))
        expect(len(plots) >= 3, f"plots: {plots}")
        for plot in plots:
            xml.etree.ElementTree.parse(plot)


for fn in [f for name, f in vars().items() if name.startswith("test_")]:
    fn.alone = True  # what polls in them has a core each, for which all of this machine is needed
