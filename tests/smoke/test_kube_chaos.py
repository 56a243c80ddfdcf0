# SPDX-License-Identifier: Apache-2.0
"""Thousands of random changes come through an API server that fails in every way: in the end nothing of them is lost."""
import json
import pathlib
import random
import signal
import sys

from rig import expect, expect_eq, takes, wait_until
from test_kube_source import BASE, Double, gateway_objects, total, wait_answer

DRIVER = pathlib.Path(__file__).resolve().parent / "kube_chaos.py"
READ = {"Ingress", "IngressClass", "GatewayClass", "Gateway", "HTTPRoute", "ReferenceGrant", "Service", "EndpointSlice", "Namespace"}
OTHER = "127.0.0.1:9911"


def shape(rig, *admin):
    """Routes and backends, but for numbers that count publications."""
    routes, backends = (json.loads(rig.run([rig.build / "ctrl/weirctl", *admin, what, "-o", "json"]).stdout)
                        for what in ("routes", "backends"))
    return routes, [{k: v for k, v in b.items() if k != "version"} for b in backends]


def from_scratch(rig, double):
    """What a weir-ctrl makes of the double's objects as manifests: neither lists nor watches nor their order have a part in it."""
    folder = rig.dir / "final"
    folder.mkdir(exist_ok=True)
    objects = json.loads(rig.run(["curl", "-sSk", f"{double.url}/double/objects"]).stdout)
    (folder / "all.yaml").write_text("".join(f"---\n{json.dumps(o)}\n" for o in objects if o["kind"] in READ))
    rig._spawn("fresh", [rig.build / "ctrl/weir-ctrl", "--manifests", folder, "--socket", rig.dir / "nobody.sock", "--admin", OTHER], rig.ns)
    try:
        wait_until("the other weir-ctrl", lambda: rig.run(["curl", "-s", "-m", "60", "-o", "/dev/null", f"http://{OTHER}/metrics"],
                                                          check=False).returncode == 0)
        return shape(rig, "--admin", OTHER)
    finally:
        rig.stop("fresh")


def trusting(rig, double):
    """weir-ctrl trusts two certificates, of which the double has one at a time."""
    double.make_certificate("other")
    bundle = rig.dir / "both.crt"
    bundle.write_text((rig.dir / "double.crt").read_text() + (rig.dir / "other.crt").read_text())
    config = json.loads(double.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["certificate-authority"] = str(bundle)
    double.kubeconfig.write_text(json.dumps(config))


def chaos(make, seed, rounds, changes):
    rng = random.Random(seed)
    with make(ctrl=False, manifests={}) as rig:
        double = Double(rig, BASE + gateway_objects(), tls=True)
        trusting(rig, double)
        double.tell("streams", {"mode": rng.choice(["serve", "refuse", "ignore"])})
        rig.ctrl_source = ["--kubeconfig", double.kubeconfig, "--ingress-without-class"]
        rig.start_ctrl()
        rig.wait_healthy()
        wait_answer(rig, "shop.example.com", "web")
        did = {}
        for i in range(rounds):
            double.tell("pages", {"most": 7})
            p = rig.run([sys.executable, DRIVER, double.url, seed * 1000 + i, changes], timeout=1200)
            for what, n in json.loads(p.stdout.splitlines()[-1])["faults"].items():
                did[what] = did.get(what, 0) + n
            expect(rig.procs["ctrl"].poll() is None, "weir-ctrl has ended")
            if i % 2 == 0:  # killed; it comes back with another certificate, what it was told of faults forgotten
                double.kill()
                double.start(rng.choice(["double", "other"]))
            double.tell("streams", {"mode": rng.choice(["serve", "refuse"])})
            double.tell("forgive")
            wait_until("all kinds are up to date", lambda: rig.metrics()["weir_ctrl_kube_healthy"] == rig.metrics()["weir_ctrl_kube_kinds"], 180)
            wanted = from_scratch(rig, double)
            wait_until("it is served as compiled from scratch", lambda: shape(rig) == wanted, 120)
            expect(len(wanted[0]) > 5 and len(wanted[1]) > 2, f"{len(wanted[0])} routes, {len(wanted[1])} backends")
        print(f"      {rounds * changes} changes; {did}; {total(rig, 'malformed'):.0f} answers that could not be read, "
              f"{total(rig, 'failed'):.0f} requests failed, {total(rig, 'expired'):.0f} times 410, {total(rig, 'lists_complete'):.0f} lists, "
              f"{total(rig, 'streamed'):.0f} of them as a watch", flush=True)
        expect(total(rig, "malformed") > 2 and total(rig, "failed") > 20 and total(rig, "expired") > 1, "faults were met")
        expect_eq(rig.stop("ctrl", signal.SIGTERM), 0, "exit status")


@takes(120)
def test_changes_through_a_failing_api_server_end_as_compiled_from_scratch(make):
    chaos(make, 1, 3, 700)


def test_many_changes_through_a_failing_api_server_end_as_compiled_from_scratch(make):
    for seed in range(2, 8):
        chaos(make, seed, 6, 2000)


test_many_changes_through_a_failing_api_server_end_as_compiled_from_scratch.long = True


def test_lists_that_come_as_watches_are_followed(make):
    """The three ways of servers: they give such a list, refuse it, or do not know what was asked of them."""
    for mode in ("serve", "refuse", "ignore"):
        with make(ctrl=False, manifests={}) as rig:
            double = Double(rig, BASE + gateway_objects())
            double.tell("streams", {"mode": mode})
            rig.ctrl_source = ["--kubeconfig", double.kubeconfig, "--ingress-without-class"]
            rig.start_ctrl()
            rig.wait_healthy()
            wait_answer(rig, "gw.example.com", "api")
            kinds = rig.metrics()["weir_ctrl_kube_kinds"] - 1  # the double has no UDPRoutes
            expect_eq((total(rig, "streamed"), total(rig, "stream_refused")), (kinds, 0) if mode == "serve" else (0, kinds), mode)
            expect_eq(double.stats().get("list", 0), 0 if mode == "serve" else kinds, f"lists that were asked for, {mode}")
            double.tell("compact")
            double.delete("HTTPRoute", "route")
            wait_answer(rig, "gw.example.com", None)
            expect_eq(rig.stop("ctrl"), 0, "exit status")
