# SPDX-License-Identifier: Apache-2.0
"""Workers that are stuck or crash, processes that are paused or killed: what is said, how it ends, and what the next one tells."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from rig import WEIR4, alone, expect, expect_eq, wait_until

PTRACER = pathlib.Path(__file__).resolve().parent / "ptracer.py"
STUCK = 4


def threads(pid):
    """{name: tid}"""
    return {(t / "comm").read_text().strip(): int(t.name) for t in pathlib.Path(f"/proc/{pid}/task").iterdir()}


def worker_tid(rig, i):
    """DPDK names its threads by the lcore, which is the worker's number and one."""
    names = threads(rig.procs["dataplane"].pid)
    found = [tid for name, tid in names.items() if re.fullmatch(rf"\w+-worker-?{i + 1}", name)]
    expect(len(found) == 1, f"threads: {names}")
    return found[0]


def ptracer(what, tid):
    p = subprocess.Popen([sys.executable, PTRACER, what, str(tid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    line = p.stdout.readline()
    expect(line, "ptracer did what it should")
    return p


def log(rig, name="dataplane"):
    return (rig.dir / f"{name}.log").read_text(errors="replace")


def ended(rig):
    """The exit status of the dataplane, which ends by itself."""
    return rig.procs.pop("dataplane").wait(60)


def ends(rig):
    return {k: v for k, v in rig.weirctl_json("status")["dataplane"]["life"]["ends"].items() if v}


def serves_again(rig):
    rig.start_dataplane()
    rig.wait_healthy()
    wait_until("serves again", lambda: rig.curl("/a", check=False)[0] == 200)


def test_worker_that_is_held_ends_the_dataplane_and_the_next_one_tells(make):
    with make(workers=2) as rig:
        expect_eq(rig.curl("/a")[0], 200, "before")
        expect_eq(ends(rig), {}, "the first one")
        p = ptracer("hold", worker_tid(rig, 1))
        expect_eq(ended(rig), STUCK, "exit status")
        p.communicate("", 60)
        text = log(rig)
        expect(re.search(r"error: worker 1 \(thread \d+, core \d+\) is stuck: its loop has not moved for \d+ ms.*; state t", text), text[-2000:])
        expect("no trace: the thread does not run" in text, text[-2000:])
        serves_again(rig)
        life = rig.weirctl_json("status")["dataplane"]["life"]
        expect_eq((life["restarts"], life["last"], life["worker"]), (1, "worker_stuck", 1), "what the next one tells")
        expect_eq(rig.metric_sum("weir_dataplane_ends_total", 'reason="worker_stuck"'), 1, "metric")
        expect("1 worker_stuck" in rig.weirctl("status"), rig.weirctl("status"))


@alone
def test_worker_that_spins_is_found_with_its_trace(make):
    with make(yaml_workers=", watchdog_ms: 1000") as rig:
        expect_eq(rig.curl("/a")[0], 200, "before")
        ptracer("spin", worker_tid(rig, 0)).communicate("", 60)
        expect_eq(ended(rig), STUCK, "exit status")
        text = log(rig)
        expect(re.search(r"worker 0 .* is stuck: its loop has not moved for \d+ ms, in which it used \d+ ms of its core; state R", text), text[-2000:])
        expect(re.search(r"error:   #\d+ weir-dataplane\+0x[0-9a-f]+ \(worker_run\+0x", text), text[-3000:])
        serves_again(rig)
        expect_eq(ends(rig), {"worker_stuck": 1}, "ends")


def test_nobody_looks_where_the_watchdog_is_off(make):
    with make(workers=2, yaml_workers=", watchdog_ms: 0") as rig:
        p = ptracer("hold", worker_tid(rig, 1))
        time.sleep(4)
        expect(rig.procs["dataplane"].poll() is None, "it goes on")
        p.communicate("", 60)
        wait_until("serves", lambda: rig.curl("/a", check=False)[0] == 200)


def test_stop_does_not_wait_for_a_worker_that_is_held(make):
    with make(workers=2, yaml_workers=", watchdog_ms: 0", timeouts="drain_ms: 500") as rig:
        p = ptracer("hold", worker_tid(rig, 1))
        expect_eq(rig.stop("dataplane"), STUCK, "exit status")
        p.communicate("", 60)
        expect("it does not leave its loop" in log(rig), log(rig)[-2000:])
        rig.start_dataplane()
        rig.wait_healthy()


def test_worker_that_crashes_says_where(make):
    with make(workers=2) as rig:
        expect_eq(rig.curl("/a")[0], 200, "before")
        pid, tid = rig.procs["dataplane"].pid, worker_tid(rig, 1)
        libc = __import__("ctypes").CDLL(None)
        expect_eq(libc.syscall(234, pid, tid, signal.SIGSEGV), 0, "tgkill")
        expect_eq(ended(rig), -signal.SIGSEGV, "how it ended")
        text = log(rig)
        expect(re.search(r"error: crashed: SIGSEGV sent by process \d+, in thread worker 1, version \S+; it was here:", text), text[-2000:])
        expect(re.search(r"error:   #\d+ weir-dataplane\+0x[0-9a-f]+ \(worker_run\+0x", text), text[-3000:])
        serves_again(rig)
        life = rig.weirctl_json("status")["dataplane"]["life"]
        expect_eq((life["last"], life["signal"], life["worker"]), ("crashed", "SEGV", 1), "what the next one tells")
        rig.stop("dataplane", signal.SIGKILL)
        serves_again(rig)
        rig.stop("dataplane")
        serves_again(rig)
        expect_eq(ends(rig), {"crashed": 1, "killed": 1, "stopped": 1}, "ends")


test_worker_that_crashes_says_where.not_sanitized = True  # their own handler reports it


@alone
def test_paused_dataplane_goes_on_where_it_was(make):
    """A connection that was open goes on, and no worker is taken for stuck."""
    with make(workers=2, yaml_workers=", watchdog_ms: 1000") as rig:
        script = f"""
import http.client, sys
c = http.client.HTTPConnection("{WEIR4}", 80, timeout=60)
for line in sys.stdin:
    c.request("GET", "/" + line.strip(), headers={{"Host": "shop.example.com"}})
    r = c.getresponse()
    r.read()
    print(r.status, c.sock.getsockname()[1], flush=True)
"""
        client = rig.spawn([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def ask(path):
            client.stdin.write(path + "\n")
            client.stdin.flush()
            return client.stdout.readline().split()

        before = ask("before")
        p = rig.procs["dataplane"]
        for _ in range(2):
            p.send_signal(signal.SIGSTOP)
            time.sleep(5)
            p.send_signal(signal.SIGCONT)
            expect_eq(ask("after"), before, "the same connection, and an answer")
        time.sleep(2)
        expect(p.poll() is None, log(rig)[-2000:])
        expect("stuck" not in log(rig), log(rig)[-2000:])
        client.communicate("", 60)
        rig.wait_healthy()


def test_paused_ctrl_loses_no_request_and_catches_up(make):
    with make() as rig:
        p = rig.procs["ctrl"]
        p.send_signal(signal.SIGSTOP)
        try:
            for i in range(20):
                expect_eq(rig.curl(f"/{i}")[0], 200, "while weir-ctrl is paused")
            rig.write_manifest("shop.yaml", rig.manifest_texts["shop.yaml"].replace("shop.example.com", "late.example.com"))
        finally:
            p.send_signal(signal.SIGCONT)
        wait_until("the change is taken", lambda: rig.curl("/", host="late.example.com")[0] == 200)
        rig.wait_healthy()


def test_ctrl_that_crashes_says_where_and_leaves_no_core(make):
    with make() as rig:
        p = rig.procs.pop("ctrl")
        limits = pathlib.Path(f"/proc/{p.pid}/limits").read_text()
        expect(re.search(r"Max core file size +1 ", limits), limits)
        p.send_signal(signal.SIGSEGV)
        expect_eq(p.wait(60), -signal.SIGSEGV, "how it ended")
        text = log(rig, "ctrl")
        expect("weir-ctrl: error: crashed: SIGSEGV sent by process" in text and "#0 " in text, text[-2000:])
        expect_eq(rig.curl("/")[0], 200, "traffic goes on")
        rig.start_ctrl()
        rig.wait_healthy()


test_ctrl_that_crashes_says_where_and_leaves_no_core.not_sanitized = True


def test_second_dataplane_on_one_control_socket_is_told_who_has_it(make):
    with make() as rig:
        p = rig.run([rig.build / "dataplane/weir-dataplane", "-c", rig.dir / "weir.yaml"], check=False)
        pid = rig.procs["dataplane"].pid
        expect_eq(p.returncode, 1, "exit status")
        expect(f"another weir-dataplane runs with control socket {rig.dir}/dataplane.sock (process {pid})" in p.stderr.decode(), p.stderr.decode())
        expect_eq(rig.curl("/")[0], 200, "the first one goes on")


def test_service_manager_is_told(make):
    """The protocol of sd_notify(3): ready once it serves, alive while its workers are, stopping at the drain."""
    import socket
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind(folder + "/notify")
        os.chmod(folder, 0o755)
        os.chmod(folder + "/notify", 0o777)
        s.settimeout(60)

        def told(text):
            while True:
                got = s.recv(4096).decode()
                if text in got.split("\n"):
                    return got

        os.environ.update(NOTIFY_SOCKET=folder + "/notify", WATCHDOG_USEC="600000")
        try:
            with make(ctrl=False) as rig:
                told("READY=1")
                told("WATCHDOG=1")
                told("WATCHDOG=1")
                rig.start_ctrl()
                told("READY=1")
                rig.wait_healthy()
                rig.stop("ctrl")
                told("STOPPING=1")
                rig.stop("dataplane")
                told("STOPPING=1")
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
            s.close()
