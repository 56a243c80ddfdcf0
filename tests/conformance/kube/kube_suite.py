# SPDX-License-Identifier: Apache-2.0
"""Runs the official conformance suite of the Gateway API against Weir on a KubeRig."""
import collections
import pathlib
import re
import subprocess
import sys
import time

from kube_weir import OUTSIDE, POOL, Weir

HERE = pathlib.Path(__file__).resolve().parent
PROFILE = "GATEWAY-HTTP"
GATEWAY_CLASS = """apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: weir}
spec: {controllerName: weir.dev/ingress-controller}
"""
RESULT = re.compile(r"^    --- (PASS|FAIL|SKIP): TestConformance/([^/\s]+) \(([\d.]+)s\)")
SKIPPED_FOR = re.compile(r"Skipping (\S+): (?:suite does not support (\S+)|test explicitly skipped)")

Result = collections.namedtuple("Result", "name outcome seconds reason")


def claimed_features(path=HERE / "features.txt"):
    """The names in a file: one a line, # begins a comment."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def suite_argv(rig, tests, features, more):
    argv = [rig.programs.suite, "-test.run=^TestConformance$", "-test.v", "-test.timeout=90m", "-gateway-class=weir",
            f"-conformance-profiles={PROFILE}", f"-supported-features={','.join(features)}",
            f"-usable-address={POOL[-1]}", f"-unusable-address={OUTSIDE}", *more]
    return argv + ([f"-only={','.join(tests)}"] if tests else [])


def parse_results(text):
    """[Result] of the output of -test.v, in the order in which the tests ended."""
    reasons = {name: f"no {feature}" if feature else "not asked for" for name, feature in SKIPPED_FOR.findall(text)}
    found = (RESULT.match(line) for line in text.splitlines())
    return [Result(m[2], m[1], float(m[3]), reasons.get(m[2], "") if m[1] == "SKIP" else "") for m in found if m]


def print_table(results, file=sys.stdout):
    words = {"PASS": "passed", "FAIL": "FAILED", "SKIP": "skipped"}
    shown = [r for r in results if r.reason != "not asked for"]
    for r in sorted(shown, key=lambda r: (("FAIL", "PASS", "SKIP").index(r.outcome), r.name)):
        print(f"  {words[r.outcome]:8} {r.name:68} {r.reason or f'{r.seconds:.1f} s'}", file=file)
    n = collections.Counter(r.outcome for r in shown)
    others = len(results) - len(shown)
    print(f"conformance: {n['PASS']} passed, {n['FAIL']} failed, {n['SKIP']} skipped, {others} not asked for", file=file)


def run_suite(rig, build, tests=(), features=None, more=(), ctrl_args=(), say=print):
    """Gives the suite's exit status, which alone counts, and the Results. A Weir that ends badly is a failure too."""
    rig.apply(GATEWAY_CLASS)
    weir = Weir(rig, build, ctrl_args=ctrl_args)
    try:
        weir.start()
        if not weir.follows_kubernetes():
            say("this weir-ctrl cannot follow Kubernetes (no --kubeconfig): the suite will find no controller")
        began = time.monotonic()
        status, text = _run_binary(rig, suite_argv(rig, tests, claimed_features() if features is None else features, more), say)
        say(f"the suite took {time.monotonic() - began:.0f} s and ended with {status}")
    finally:
        problems = weir.stop()
    for p in problems:
        say(f"failed: {p}")
    results = parse_results(text)
    if not results:
        say("the suite ran no test; the end of its output:\n" + "\n".join(text.splitlines()[-15:]))
    return status or (1 if problems else 0), results


def leave_out_tls(rig, suite):
    """
    The suite's base manifests have a Gateway with an HTTPS listener, which is not ready before Weir has TLS, and the
    suite waits for all Gateways before the first test: for this one it shall not.
    """
    while suite.poll() is None:
        p = rig.kubectl("-n", "gateway-conformance-infra", "annotate", "--overwrite", "gateway", "same-namespace-with-https-listener",
                        "gateway-api/skip-this-for-readiness=true", check=False)
        if p.returncode == 0:
            return
        time.sleep(0.2)


def _run_binary(rig, argv, say):
    log = rig.dir / "conformance.log"
    say(f"the suite writes to {log}")
    with open(log, "wb") as out:
        suite = subprocess.Popen(["ip", "netns", "exec", rig.ns, "env", f"KUBECONFIG={rig.admin}", *map(str, argv)], stdout=out,
                                 stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            leave_out_tls(rig, suite)
            status = suite.wait()
        finally:
            if suite.poll() is None:
                suite.terminate()
                suite.wait(30)
    return status, log.read_text(errors="replace")
