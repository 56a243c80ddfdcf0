# SPDX-License-Identifier: Apache-2.0
"""Weir on a real Kubernetes (scripts/kube-rig) to which things happen, under steady traffic that must not notice."""
import contextlib
import json
import pathlib
import random
import signal
import subprocess
import sys
import time

import kube_rig
from kube_weir import Weir
from procs import end_process
from rig import expect, expect_eq, wait_until
from test_kube import answer, apply_route, echo, kube_test, run_echo, wait_ready

HERE = pathlib.Path(__file__).resolve().parent


@contextlib.contextmanager
def steady(rig, host, *args):
    """Traffic to Weir; gives a dict that has the result once the with-block is left."""
    stop = rig.dir / "stop-steady"
    stop.unlink(missing_ok=True)
    argv = ["ip", "netns", "exec", rig.ns, sys.executable, HERE / "steady.py", kube_rig.WEIR4, host, stop, *args]
    p = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, text=True)
    result = {}
    try:
        yield result
    finally:
        stop.touch()
        out = p.communicate(timeout=120)[0]
        stop.unlink()
    result.update(json.loads(out.splitlines()[-1]))


def host_of(ns):
    """Of its own: the namespace of an earlier test may not be gone yet, and the older route has a host."""
    return f"{ns[-50:].strip('-')}.example.com"


def say(text):
    print(f"      {text}", flush=True)


def judge(result, what):
    n_failed = len(result["failed"])
    say(f"{what}: {result['ok']} requests answered, {n_failed} failed, {result['repeated']} repeated by the client on a new "
        f"connection, the slowest took {result['slowest']} s, {len(result['pods'])} Pods")
    expect(result["ok"] > 100, f"too few answers: {result['ok']}")
    expect(not result["failed"], f"{n_failed} requests failed while {what}, the first: {result['failed'][:8]}")


def roll(make, rig, ns, n, stop_s, *traffic):
    run_echo(rig, ns, 3, stop_s=stop_s)
    with Weir(rig, make.args[0]) as weir:
        wait_until("weir-ctrl is healthy", weir.is_healthy)
        apply_route(rig, ns, host_of(ns))
        with steady(rig, host_of(ns), *traffic) as result:
            for _ in range(n):
                rig.kubectl("rollout", "restart", "deployment/echo", "-n", ns)
                rig.kubectl("rollout", "status", "deployment/echo", "-n", ns, "--timeout=300s", timeout=360)
            wait_until("the last Pods are gone", lambda: len(rig.get("pods", None, ns)) == 3, 120)
        judge(result, f"the Deployment was rolled {n} times")
        expect(len(result["pods"]) > 3 * n, f"answers of {len(result['pods'])} Pods: not all took part")


@kube_test
def test_rolling_a_deployment_five_times_fails_no_request(make, rig, ns):
    roll(make, rig, ns, 5, 1)


@kube_test
def test_rolling_a_deployment_twenty_times_fails_no_request(make, rig, ns):
    roll(make, rig, ns, 20, 1)


test_rolling_a_deployment_twenty_times_fails_no_request.long = True


@kube_test
def test_rolling_pods_that_end_at_once_fails_no_request_that_may_be_repeated(make, rig, ns):
    """Without a preStop hook a Pod ends before anybody can have heard that it will: what is safe to repeat goes elsewhere."""
    roll(make, rig, ns, 3, 0, "--method", "GET")


# -- an API server that comes and goes


def is_well(weir):
    kube = weir.weirctl_json("status")["kubernetes"]
    return kube["kinds_healthy"] == kube["kinds"]


def shape(rig, build, weir):
    """(what weir-ctrl serves, what a weir-ctrl that has just started makes of the API server's objects): routes and endpoints."""
    def read(*admin):
        out = [json.loads(rig.run([build / "ctrl/weirctl", *admin, what, "-o", "json"]).stdout) for what in ("routes", "backends")]
        return out[0], [(b["name"], b["endpoints"]) for b in out[1]]
    fresh = ["ip", "netns", "exec", rig.ns, build / "ctrl/weir-ctrl", "--kubeconfig", rig.weir, "--write-status", "never",
             "--ingress-without-class", "--address-pool", weir.pool(), "--socket", rig.dir / "nobody.sock", "--admin", "127.0.0.1:9911"]
    p = subprocess.Popen(list(map(str, fresh)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until("the other weir-ctrl has listed all", lambda: rig.run(
            [build / "ctrl/weirctl", "--admin", "127.0.0.1:9911", "status", "-o", "json"], check=False).stdout.find('"synced": true') > 0, 120)
        wait_until("the other weir-ctrl has compiled", lambda: read("--admin", "127.0.0.1:9911")[0])
        return read(), read("--admin", "127.0.0.1:9911")
    finally:
        end_process(p)


def change_something(rig, ns, n, rng):
    """A route more or less, or a changed one; without an API server nothing happens."""
    name = f"r{rng.randrange(6)}"
    if rng.random() < 0.3:
        rig.kubectl("delete", "ingress", name, "-n", ns, "--ignore-not-found", check=False)
        return
    host = f"{name}-{n % 3}.{host_of(ns)}"
    rig.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", check=False, input=f"""
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: {ns}}}
spec:
  rules:
  - host: {host}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: echo, port: {{number: 80}}}}}}}}]}}
""")


def kill_and_start(make, rig, ns, seconds, seed):
    rng, build = random.Random(seed), pathlib.Path(make.args[0]).resolve()
    run_echo(rig, ns, 2)
    took, kills = [], 0
    with Weir(rig, make.args[0]) as weir:
        wait_until("weir-ctrl is healthy", weir.is_healthy)
        apply_route(rig, ns, host_of(ns))
        with steady(rig, host_of(ns)) as result:
            end, n = time.monotonic() + seconds, 0
            while time.monotonic() < end:
                rig.procs.end("apiserver", 20, rng.choice([signal.SIGKILL, signal.SIGTERM]))
                kills += 1
                time.sleep(rng.random() * 5)
                if rng.random() < 0.3:
                    rig.compact()
                rig.start_apiserver()
                began = time.monotonic()
                wait_until("all kinds are up to date", lambda: is_well(weir), 180)
                took.append(time.monotonic() - began)
                for _ in range(rng.randrange(1, 4)):
                    n += 1
                    change_something(rig, ns, n, rng)
            expect(weir.is_healthy(), "weir-ctrl is healthy")
            wait_until("the manager is back", lambda: rig._answers("https://127.0.0.1:10257/healthz"), 180)
            wait_until("nothing changes any more", lambda: same_shape(rig, build, weir), 180)
        judge(result, f"the API server was killed {kills} times")
        took.sort()
        say(f"up to date again after its health: median {took[len(took) // 2]:.1f} s, at most {took[-1]:.1f} s")


def same_shape(rig, build, weir):
    served, fresh = shape(rig, build, weir)
    return served == fresh and len(fresh[0]) > 0


@kube_test
def test_api_server_that_comes_and_goes_for_forty_seconds_costs_no_request_and_no_change(make, rig, ns):
    kill_and_start(make, rig, ns, 40, 1)


@kube_test
def test_api_server_that_comes_and_goes_for_ten_minutes_costs_no_request_and_no_change(make, rig, ns):
    kill_and_start(make, rig, ns, 600, 2)


test_api_server_that_comes_and_goes_for_ten_minutes_costs_no_request_and_no_change.long = True


# -- definitions of kinds that come and go


@kube_test
def test_crd_that_is_removed_and_comes_back_is_noticed(make, rig, ns):
    run_echo(rig, ns, 1)
    route = f"""apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: {ns}}}
spec: {{gatewayClassName: weir-crds, listeners: [{{name: http, port: 80, protocol: HTTP}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: echo, namespace: {ns}}}
spec: {{parentRefs: [{{name: edge}}], hostnames: [crd.example.com], rules: [{{backendRefs: [{{name: echo, port: 80}}]}}]}}
"""
    gateway_class = """apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: weir-crds}
spec: {controllerName: weir.dev/ingress-controller}
---
"""

    def gateway_answers(weir):
        ips = (rig.get("gateway", "edge", ns).get("status") or {}).get("addresses") or [{}]
        if not ips[0].get("value"):
            return 0
        argv = ["curl", "-s", "-o", "/dev/null", "-m", "30", "-w", "%{http_code}", "-H", "Host: crd.example.com", f"http://{ips[0]['value']}/"]
        return int(rig.run(argv, check=False).stdout)

    with Weir(rig, make.args[0]) as weir:
        wait_until("weir-ctrl is healthy", weir.is_healthy)
        apply_route(rig, ns, host_of(ns))
        rig.apply(gateway_class + route)
        wait_until("the HTTPRoute is served", lambda: gateway_answers(weir) == 200)
        try:
            with steady(rig, host_of(ns)) as result:
                rig.kubectl("delete", "crd", "httproutes.gateway.networking.k8s.io", timeout=120)
                wait_until("no routes without httproutes", lambda: not [
                    r for r in weir.weirctl_json("routes") if r["namespace"] == ns and r["kind"] == "HTTPRoute"], 180)
                rig._apply_crds()
                rig.apply(route)
                wait_until("the HTTPRoute is served again", lambda: gateway_answers(weir) == 200, 180)
            judge(result, "httproutes were gone for a while")
        finally:
            rig._apply_crds()
            rig.kubectl("delete", "gatewayclass", "weir-crds", check=False)
        wait_until("all kinds are up to date", lambda: is_well(weir), 180)
