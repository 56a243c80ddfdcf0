# SPDX-License-Identifier: Apache-2.0
"""Runs the official conformance suite of the Gateway API against Weir on a KubeRig."""
import collections
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

from kube_weir import OUTSIDE, POOL, Weir

HERE = pathlib.Path(__file__).resolve().parent
PROFILE = "GATEWAY-HTTP"
PARALLEL = 8  # tests at once, of those that may run beside others: they mostly wait
NAMESPACES = [f"gateway-conformance-{part}" for part in ("infra", "app-backend", "web-backend")]
GATEWAY_CLASS = """apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: weir}
spec: {controllerName: weir.dev/ingress-controller}
"""
# -test.v=test2json: results come as the tests end, each behind a control character, not all of them at the end.
RESULT = re.compile(r"^\x16? *--- (PASS|FAIL|SKIP): TestConformance/([^/\s]+) \(([\d.]+)s\)", re.M)
BEGUN = re.compile(r"^\x16?=== (RUN|PAUSE|CONT) +TestConformance/([^/\s]+)$", re.M)
SKIPPED_FOR = re.compile(r"Skipping (\S+): (?:suite does not support (\S+)|test explicitly skipped)")

# outcome: one of WORDS. UNCLAIMED: of a feature that Weir does not claim. UNASKED: others were asked for by name.
Result = collections.namedtuple("Result", "name outcome seconds reason")
WORDS = {"FAIL": "FAILED", "UNFINISHED": "UNENDED", "SKIP": "SKIPPED", "PASS": "passed", "WAITS": "waits", "UNCLAIMED": "skipped"}


def _lines(path):
    """What stands in a file, without comments (# begins one)."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def claimed_features(path=HERE / "features.txt"):
    """The names in a file, one a line."""
    return _lines(path)


def waiting_tests(path=HERE / "waiting.txt"):
    """Tests of claimed features that are left out: {name: what it waits for}."""
    return {name: reason.strip() for name, _, reason in (line.partition(" ") for line in _lines(path))}


def suite_argv(rig, tests, features, waiting, more):
    argv = [rig.programs.suite, "-test.run=^TestConformance$", "-test.v=test2json", "-test.timeout=90m",
            f"-test.parallel={PARALLEL}", "-gateway-class=weir", f"-conformance-profiles={PROFILE}",
            f"-supported-features={','.join(features)}", f"-usable-address={POOL[-1]}", f"-unusable-address={OUTSIDE}", *more]
    return argv + [f"-only={','.join(tests)}" if tests else f"-skip-tests={','.join(waiting)}"]


def parse_results(text, waiting=None):
    """[Result] of the output of -test.v, in the order in which the tests ended; then those in hand that did not."""
    waiting = waiting or {}
    unclaimed = dict(SKIPPED_FOR.findall(text))
    results = []
    for outcome, name, seconds in RESULT.findall(text):
        reason = ""
        if outcome == "SKIP" and unclaimed.get(name):
            outcome, reason = "UNCLAIMED", f"no {unclaimed[name]}"
        elif outcome == "SKIP" and name in unclaimed:
            outcome, reason = ("WAITS", waiting[name]) if name in waiting else ("UNASKED", "")
        results.append(Result(name, outcome, float(seconds), reason))
    ended = {r.name for r in results}
    at = {name: event for event, name in BEGUN.findall(text) if name not in ended}
    return results + [Result(n, "UNFINISHED", 0, "did not end") for n, event in at.items() if event != "PAUSE"]


def print_table(results, file=sys.stdout):
    order = list(WORDS)
    for r in sorted((r for r in results if r.outcome in WORDS), key=lambda r: (order.index(r.outcome), r.name)):
        print(f"  {WORDS[r.outcome]:8} {r.name:68} {r.reason or f'{r.seconds:.1f} s'}", file=file)
    n = collections.Counter(r.outcome for r in results)
    print(f"conformance: {n['PASS']} passed, {n['FAIL'] + n['UNFINISHED'] + n['SKIP']} failed, {n['WAITS']} waiting, "
          f"{n['UNCLAIMED']} of features that are not claimed", file=file)


def remove_leftovers(rig):
    """What a run before this one has left, be it that it was ended or that the namespaces are going still."""
    rig.kubectl("delete", "namespace", "--ignore-not-found", "--timeout=120s", *NAMESPACES, timeout=180)


def run_suite(rig, build, tests=(), features=None, more=(), ctrl_args=(), limit_s=None, say=print):
    """Gives the suite's exit status, and the Results. A Weir that ends badly is a failure too, and so is a suite
    that is not done after limit_s seconds."""
    waiting = {} if tests else waiting_tests()
    remove_leftovers(rig)
    rig.apply(GATEWAY_CLASS)
    weir = Weir(rig, build, ctrl_args=ctrl_args)
    try:
        weir.start()
        if not weir.follows_kubernetes():
            say("this weir-ctrl cannot follow Kubernetes (no --kubeconfig): the suite will find no controller")
        began = time.monotonic()
        argv = suite_argv(rig, tests, claimed_features() if features is None else features, waiting, more)
        status, text = _run_binary(rig, argv, limit_s, say)
        say(f"the suite took {time.monotonic() - began:.0f} s and ended with {status}")
    finally:
        problems = weir.stop()
    results = parse_results(text, waiting)
    problems += [f"the suite has no test {name}, for which waiting.txt has a reason"
                 for name in waiting if results and status >= 0 and name not in {r.name for r in results}]
    problems += [f"{r.name} has skipped itself" for r in results if r.outcome == "SKIP"]
    if not results:
        say("the suite ran no test; the end of its output:\n" + "\n".join(text.splitlines()[-15:]))
    for p in problems:
        say(f"failed: {p}")
    return (1 if problems or status < 0 else status), results


def _run_binary(rig, argv, limit_s, say):
    """Its exit status (not 0 if it was not done in time), and its output."""
    log = rig.dir / "conformance.log"
    late = None
    say(f"the suite writes to {log}")
    with open(log, "wb") as out:
        suite = subprocess.Popen(["ip", "netns", "exec", rig.ns, "env", f"KUBECONFIG={rig.admin}", *map(str, argv)], stdout=out,
                                 stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            late = threading.Timer(limit_s, suite.terminate) if limit_s else None
            if late:
                late.start()
            status = suite.wait()
            if limit_s and status == -signal.SIGTERM:
                say(f"failed: the suite was not done after {limit_s:.0f} s, its limit, and was ended")
        finally:
            if late:
                late.cancel()
            if suite.poll() is None:
                suite.terminate()
                suite.wait(30)
    return status, log.read_text(errors="replace")
