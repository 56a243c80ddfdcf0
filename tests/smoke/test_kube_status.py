# SPDX-License-Identifier: Apache-2.0
"""weir-ctrl writes status back to an API server, while it holds the Lease."""
import json
import time

from rig import expect, expect_eq, wait_until
from test_kube_source import BASE, TOKEN, following, gateway_objects

LEASES = "/apis/coordination.k8s.io/v1/namespaces/weir-system/leases/weir-ctrl"
ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/demo/httproutes/route"


def get(double, path):
    p = double.rig.run(["curl", "-sSk", "-m", "5", "-H", f"Authorization: Bearer {TOKEN}", double.url + path])
    return json.loads(p.stdout)


def accepted(double):
    for parent in get(double, ROUTE).get("status", {}).get("parents", []):
        for c in parent["conditions"]:
            if c["type"] == "Accepted":
                return c["status"]
    return None


def n_patches(double):
    return double.stats().get("patch-status", 0)


def test_status_is_written_once_by_the_holder_of_the_lease(make):
    with following(make, BASE + gateway_objects()) as (rig, double):
        wait_until("the route is told", lambda: accepted(double) == "True")
        wait_until("nothing waits", lambda: rig.metrics()["weir_ctrl_status_waiting"] == 0)
        n = n_patches(double)
        time.sleep(2)
        expect_eq(n_patches(double), n, "writes while nothing changes")
        holder = get(double, LEASES)["spec"]["holderIdentity"]
        expect(holder, "the Lease has a holder")
        expect_eq(rig.metrics()["weir_ctrl_lease_acquired_total"], 1, "Leases taken")
        expect_eq(rig.stop("ctrl"), 0, "weir-ctrl's exit status")
        expect_eq(get(double, LEASES)["spec"]["holderIdentity"], "", "holder after the end")


def test_who_does_not_hold_the_lease_writes_nothing(make):
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "weir-ctrl", "namespace": "weir-system"},
             "spec": {"holderIdentity": "another", "leaseDurationSeconds": 3600}}
    with following(make, BASE + gateway_objects() + [lease]) as (rig, double):
        wait_until("the Lease was looked at", lambda: double.stats().get("get", 0) > 0)
        time.sleep(1)
        expect_eq(n_patches(double), 0, "writes")
        expect_eq(get(double, LEASES)["spec"]["holderIdentity"], "another", "holder")


def test_failures_and_conflicts_do_not_lose_a_status(make):
    with following(make, BASE + gateway_objects(), start=False) as (rig, double):
        double.fault("/status", times=5, status=503)
        double.fault("/status", times=3, status=409)
        rig.start_ctrl("--write-status", "always")
        rig.wait_healthy()
        wait_until("the route is told", lambda: accepted(double) == "True", 40.0)
        expect(rig.metrics()["weir_ctrl_status_failed_total"] >= 1, "failures are counted")
