# SPDX-License-Identifier: Apache-2.0
"""Handshakes of a whole Weir in a device: the engine of tests/engine, which has the manners of an accelerator and is none."""
import contextlib
import os
import pathlib
import re
import subprocess

from rig import Failure, expect, expect_eq, wait_until
from test_tls import tls_rig

ENGINES = re.search(r'"(.*)"', subprocess.check_output(["openssl", "version", "-e"], text=True))[1]


def offload(make, *commands, kind="engine", required="true", path=None, provider="base", properties="?provider=base", timeout_ms=500):
    """Lines of weir.yaml."""
    given = ", ".join(f"[{name}, {value}]" for name, value in commands)
    path = path or pathlib.Path(make.args[0]).resolve() / "tests/engine/weir_async.so"
    return (f"tls:\n  offload:\n    kind: {kind}\n    required: {required}\n    timeout_ms: {timeout_ms}\n    retry_ms: 1000\n"
            f"    engine: {{id: weir_async, path: {path}, commands: [{given}]}}\n"
            f"    provider: {{name: {provider}, properties: '{properties}'}}\n")


def workers_of(rig):
    return rig.weirctl_json("tls")["offload"]["workers"]


def test_an_engine_does_the_handshakes(make):
    with tls_rig(make, workers=2, extra=offload(make, ("DELAY_POLLS", 5), ("ORDER", 2))) as (rig, front):
        for args in ((), ("--tls-max", "1.2"), ("--tlsv1.3",)):
            expect_eq(front.curl("/", *args)[0], 200, f"curl {args}")
        text = rig.weirctl("tls")
        expect("offload         engine weir_async" in text and "in use" in text, text)
        expect("post-quantum    none: X25519MLKEM768" in text or "X25519MLKEM768:" in text, text)
        done = sum(w["completed"] for w in workers_of(rig))
        expect(done >= 3, f"operations: {workers_of(rig)}")
        wait_until("it is in the metrics", lambda: rig.metric_sum("weir_tls_offload_completed_total") == done)


def test_a_device_that_fails_is_gone_around(make):
    with tls_rig(make, extra=offload(make, ("FAIL_EVERY", 1))) as (rig, front):
        worker = workers_of(rig)[0]
        expect(not worker["up"] and worker["failed"] >= 8 and worker["fallbacks"] >= 1, f"{worker}")
        wait_until("main says so", lambda: "weir_async does not answer, or fails" in (rig.dir / "dataplane.log").read_text())
        expect(rig.metric_sum("weir_tls_offload_up") == 0, "gauge")


def test_a_provider_is_loaded_beside_the_default_one(make):
    with tls_rig(make, extra=offload(make, kind="provider")) as (rig, front):
        expect_eq(front.curl("/")[0], 200, "curl")
        expect("offload         provider base" in rig.weirctl("tls"), rig.weirctl("tls"))


@contextlib.contextmanager
def environment(**values):
    """Of the programs that are started meanwhile."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


def test_a_provider_does_the_handshakes_and_ends_them_on_a_thread_of_its_own(make):
    modules = str(pathlib.Path(make.args[0]).resolve() / "tests/engine")
    extra = offload(make, kind="provider", provider="weir_provider", properties="?weir.async=yes", timeout_ms=60000)
    with environment(OPENSSL_MODULES=modules, WEIR_ASYNC_THREAD="50", WEIR_ASYNC_POLLS="2"), \
            tls_rig(make, workers=2, extra=extra) as (rig, front):
        for args in ((), ("--tls-max", "1.2"), ("--tlsv1.3",)):
            expect_eq(front.curl("/", *args)[0], 200, f"curl {args}")
        got = front.h2load("-n", "600", "-c", "300")
        expect_eq((got["succeeded"], got["failed"], got["errored"]), (600, 0, 0), "h2load")
        expect("offload         provider weir_provider" in rig.weirctl("tls"), rig.weirctl("tls"))
        workers = workers_of(rig)  # an operation that ended before its job paused is not counted
        expect(all(w["up"] and w["failed"] == 0 and w["completed"] > 0 for w in workers), f"operations: {workers}")


def test_goes_without_a_device_that_is_not_required(make):
    with tls_rig(make, extra=offload(make, required="false", path="/nowhere.so")) as (rig, front):
        expect_eq(front.curl("/")[0], 200, "curl")
        got = rig.weirctl_json("tls")["offload"]
        expect_eq(got["kind"], "software", "kind")
        expect("engine weir_async cannot be loaded from /nowhere.so" in got["why"], got["why"])


def qatengine_finds():
    """What the qatengine of this machine is to say, or None: it works, with a card or (AVX-512 of Intel's CPUs) without one."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    flags = set(re.search(r"^flags\s*:(.*)$", info, re.M)[1].split())
    if not pathlib.Path(ENGINES, "qatengine.so").exists():
        return "engine qatengine cannot be loaded: "
    if list(pathlib.Path("/dev/vfio").glob("[0-9]*")) or "GenuineIntel" in info and {"avx512f", "vaes", "vpclmulqdq"} <= flags:
        return None
    return "engine qatengine does neither RSA nor ECDSA itself (is its device there?)"


def test_qatengine_is_used_or_it_is_said_why_not(make):
    """Debian 13 has it as a package, which works only with a card of Intel's, or a CPU that few have."""
    wanted = qatengine_finds()
    yaml = "tls:\n  offload:\n    kind: engine\n    required: {}\n    engine: {{id: qatengine}}\n"
    with tls_rig(make, extra=yaml.format("false")) as (rig, front):
        for args in ((), ("--tls-max", "1.2")):
            expect_eq(front.curl("/", *args)[0], 200, f"curl {args}")
        got = rig.weirctl_json("tls")["offload"]
        expect_eq(got["kind"], "software" if wanted else "engine", f"{got}")
        if not wanted:
            expect(sum(w["completed"] for w in got["workers"]) >= 2, f"{got}")
            return
        expect(wanted in got["why"], f"{got}")
        expect(f"tls: offload: {got['why']}; handshakes are done in software" in (rig.dir / "dataplane.log").read_text(), "log")
    try:
        with make(extra=yaml.format("true"), ctrl=False):
            pass
    except Failure as e:
        expect("dataplane ended with 1" in str(e), str(e))
        return
    raise Failure("it started")


def test_does_not_start_without_a_device_that_is_required(make):
    try:
        with make(extra=offload(make, path="/nowhere.so"), ctrl=False):
            pass
    except Failure as e:
        expect("dataplane ended with 1" in str(e), str(e))
        return
    raise Failure("it started")
