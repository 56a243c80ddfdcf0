# SPDX-License-Identifier: Apache-2.0
"""Workers that sleep until something comes (workers.idle: interrupt), over a TAP: they sleep, and miss nothing."""
import os
import pathlib
import subprocess
import time

from rig import WEIR4, WEIR6, Skipped, alone, expect, expect_eq, ingress, wait_until

WAKES = ("port", "call", "timer", "signal")
SLEPT = "weir_worker_sleep_deep_cycles_total"


def cpu_seconds(rig):
    fields = pathlib.Path(f"/proc/{rig.procs['dataplane'].pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wakes(rig):
    """By cause, of all workers."""
    m = rig.metrics()
    return {w: sum(v for k, v in m.items() if k.startswith(f"weir_worker_wakes_{w}_total{{")) for w in WAKES}


def wait_asleep(rig, workers=1):
    """Each worker sleeps deeply, again and again: nothing but its timers wakes it."""
    def slept():
        return {k: v for k, v in rig.metrics().items() if k.startswith(SLEPT) and 'worker="main"' not in k}
    before = slept()
    expect_eq(len(before), workers, "workers")
    wait_until("all workers sleep", lambda: all(v > before[k] for k, v in slept().items()))


def serves(rig, n=1):
    for _ in range(n):
        for addr in (WEIR4, WEIR6):
            status, _, body = rig.curl("/", addr=addr)
            expect_eq((status, body), (200, "web GET shop.example.com/\n"), f"by {addr}")


@alone
def test_a_worker_without_work_sleeps_until_a_packet_comes(make):
    with make(idle="interrupt") as rig:
        log = (rig.dir / "dataplane.log").read_text()
        expect("no receive interrupts" not in log, log)
        serves(rig)
        wait_asleep(rig)
        cpu, before, start = cpu_seconds(rig), wakes(rig), time.monotonic()
        time.sleep(2)
        share = (cpu_seconds(rig) - cpu) / (time.monotonic() - start)
        after = wakes(rig)
        print(f"     without work {share * 100:.1f} % of a core; wakes {after}")
        expect(share < 0.2, f"{share:.3f} of a core without work")
        expect(after["timer"] > before["timer"], f"its timers run: {before} > {after}")
        for i in range(20):
            wait_asleep(rig) if i % 5 == 0 else time.sleep(0.01 * i)
            serves(rig)
        last = wakes(rig)
        expect(last["port"] + last["signal"] >= after["port"] + after["signal"] + 20, f"packets wake it: {after} > {last}")


@alone
def test_cores_of_workers_that_sleep_wake_in_time(make):
    """Their bound is there while it runs, and gone with it; who spins has none."""
    bounds = [pathlib.Path(f"/sys/devices/system/cpu/cpu{c}/power/pm_qos_resume_latency_us") for c in range(os.cpu_count())]
    if not bounds[0].exists():
        raise Skipped("this kernel has no bound of the time to wake for each core")
    for b in bounds:  # what a dataplane that was killed has left; the rig writes back what was there before the run
        b.write_text("0")
    before = [b.read_text() for b in bounds]
    for idle, wanted in (("interrupt", "70\n"), ("sleep", "70\n"), ("spin", "0\n")):
        with make(idle=idle, yaml_workers=", idle_latency_us: 70") as rig:
            serves(rig)
            expect_eq(bounds[0].read_text(), wanted, f"the bound of core 0 with {idle}")
            expect_eq([b.read_text() for b in bounds[1:]], before[1:], "the bounds of cores without a worker")
        expect_eq([b.read_text() for b in bounds], before, f"the bounds behind {idle}")


def test_what_main_has_for_a_worker_wakes_it(make):
    """Routes come while it sleeps, and it is main's call that wakes it."""
    with make(idle="interrupt", workers=2) as rig:
        for i in range(5):
            wait_asleep(rig, 2)
            before = wakes(rig)["call"]
            generation = rig.live_generation()
            rig.write_manifest("new.yaml", ingress("new", f"new{i}.example.com", [("/", "Prefix", "web")]))
            wait_until("the route is live", lambda: rig.live_generation() > generation)
            expect_eq(rig.curl("/", host=f"new{i}.example.com")[0], 200, "by the new route")
            expect(wakes(rig)["call"] > before, "main called")


def test_workers_that_sleep_wake_for_what_others_redirect(make):
    """By kernel's choice half of the packets come to the wrong worker; its owner may be asleep."""
    with make(idle="interrupt", workers=2) as rig:
        before = wakes(rig)["call"]
        steered = 0
        for i in range(200):
            serves(rig)
            time.sleep(0.003 * (i % 3))  # asleep, or about to be
            if i % 20 == 19:
                steered = rig.metric_sum("weir_steered_in_packets_total")
                if steered > 20 and wakes(rig)["call"] > before and i > 50:
                    break
        expect(steered > 20, f"{steered} packets were redirected")
        expect(wakes(rig)["call"] > before, "a worker called another")
        expect_eq(rig.metric_sum("weir_drops_total", 'reason="steer_ring_full"'), 0, "nothing was lost on the way")


def test_what_the_kernel_sends_by_the_exception_path_wakes_a_worker(make):
    frames = """
import socket, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('k0', 0))
for i in range(20):
    s.send(b'\\xff' * 6 + b'\\x02\\0\\0\\0\\0\\1' + b'\\x88\\xb5' + bytes(46))
    time.sleep(0.05)
"""
    with make(idle="interrupt", yaml_port="kernel: {interface: k0}") as rig:
        def count():
            return rig.metric_sum("weir_kernel_sent_packets_total"), wakes(rig)["call"]
        wait_asleep(rig)
        before = count()
        rig.run(["python3", "-c", frames])
        wait_until("all frames went out", lambda: count()[0] >= before[0] + 20)
        expect(count()[1] >= before[1] + 5, f"frames and calls: {before} > {count()}")  # others find it awake


def test_a_dataplane_drains_and_stops_while_its_workers_sleep(make):
    with make(idle="interrupt", workers=2, timeouts="drain_ms: 60000") as rig:
        serves(rig)
        p = rig.spawn(["python3", "-c", f"""
import socket
s = socket.create_connection(('{WEIR4}', 80))
s.sendall(b'GET / HTTP/1.1\\r\\nHost: shop.example.com\\r\\n\\r\\n')
got = b''
while b'web GET' not in got:
    got += s.recv(4096)
print('open', flush=True)
print('closed' if s.recv(4096) == b'' else 'data', flush=True)
"""], stdout=subprocess.PIPE, text=True)
        expect_eq(p.stdout.readline(), "open\n", "a connection without a request")
        wait_asleep(rig, 2)
        expect_eq(rig.stop("dataplane"), 0, "exit status after SIGTERM")
        expect_eq(p.communicate(timeout=60)[0], "closed\n", "how the connection ended")
        expect("not drained" not in (rig.dir / "dataplane.log").read_text(), "drained in time")


def test_a_load_after_sleep_loses_no_request(make):
    for idle in ("interrupt", "pause", "spin"):
        with make(idle=idle, workers=1 if idle == "spin" else 2) as rig:
            for _ in range(3):
                p = rig.run(["h2load", "--h1", "-n", "2000", "-c", "8", f"--connect-to={WEIR4}:80", "http://shop.example.com/"])
                expect(b"2000 succeeded, 0 failed" in p.stdout, p.stdout[-600:])
                if idle == "interrupt":
                    wait_asleep(rig, 2)


def test_a_port_without_interrupts_is_looked_at_by_short_sleeps(make):
    with make(idle="interrupt", port="af_packet") as rig:
        expect("has no receive interrupts" in (rig.dir / "dataplane.log").read_text(), "said in the log")
        serves(rig, 5)
        before = rig.metric_sum("weir_worker_sleeps_total")
        wait_until("it sleeps shortly", lambda: rig.metric_sum("weir_worker_sleeps_total") > before + 100)
        expect_eq(rig.metric_sum(SLEPT), 0, "cycles of deep sleep")
        serves(rig, 5)
