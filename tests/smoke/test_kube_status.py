# SPDX-License-Identifier: Apache-2.0
"""weir-ctrl writes status back to an API server, while it holds the Lease."""
import json
import time

from rig import expect, expect_eq, wait_until
from test_kube_source import BASE, TOKEN, following, gateway_objects, obj

LEASES = "/apis/coordination.k8s.io/v1/namespaces/weir-system/leases/weir-ctrl"
DEMO = "/apis/gateway.networking.k8s.io/v1/namespaces/demo"
ROUTE, GATEWAY = f"{DEMO}/httproutes/route", f"{DEMO}/gateways/edge"


def ask(double, path, *args, token=TOKEN):
    p = double.rig.run(["curl", "-sSk", "-m", "60", "-H", f"Authorization: Bearer {token}", *args, double.url + path])
    return json.loads(p.stdout)


def get(double, path, token=TOKEN):
    return ask(double, path, token=token)


def write_status(double, path, status, manager="another"):
    """As another controller does it: the whole status by merge patch."""
    return ask(double, f"{path}/status?fieldManager={manager}", "-X", "PATCH", "-H",
               "Content-Type: application/merge-patch+json", "-d", json.dumps({"status": status}))


def is_quiet(rig, double):
    """Nothing waits, and the objects are as they are to be."""
    return rig.metrics()["weir_ctrl_status_waiting"] == 0 and accepted(double) == "True"


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

        def is_still():
            n = n_patches(double)
            time.sleep(2)
            return n_patches(double) == n
        wait_until("nothing is written while nothing changes", is_still)
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
        wait_until("the route is told", lambda: accepted(double) == "True")
        expect(rig.metrics()["weir_ctrl_status_failed_total"] >= 1, "failures are counted")


OTHERS = [{"controllerName": "example.net/other", "parentRef": {"name": "theirs"}, "conditions": [
    {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}]


def managers(double, path):
    return {(m["manager"], m["operation"]) for m in get(double, path)["metadata"]["managedFields"]
            if m.get("subresource") == "status"}


def test_entries_of_other_controllers_stay_and_ours_go_with_the_parent(make):
    with following(make, BASE + gateway_objects()) as (rig, double):
        wait_until("the route is told", lambda: is_quiet(rig, double))
        expect_eq(managers(double, ROUTE), {("weir-ctrl", "Apply")}, "who wrote the route's status")
        ours = get(double, ROUTE)["status"]["parents"]
        write_status(double, ROUTE, {"parents": OTHERS + ours})
        route = dict(gateway_objects()[2], spec={"parentRefs": [{"name": "edge", "sectionName": "http"}], "rules": []})
        double.apply(route)
        wait_until("our entry is of the new parent", lambda: [p["parentRef"] for p in get(double, ROUTE)["status"]["parents"]] ==
                   [{"name": "theirs"}, {"name": "edge", "sectionName": "http"}])
        double.apply(dict(route, spec={"parentRefs": [{"name": "theirs"}], "rules": []}))
        wait_until("only theirs is left", lambda: get(double, ROUTE)["status"]["parents"] == OTHERS)


def test_conditions_of_others_stay_and_listeners_go(make):
    foreign = {"type": "example.net/Audited", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    with following(make, BASE + gateway_objects()) as (rig, double):
        wait_until("the route is told", lambda: is_quiet(rig, double))
        was = {c["type"]: c for c in get(double, GATEWAY)["status"]["conditions"]}
        write_status(double, GATEWAY, {"conditions": [*was.values(), foreign]})
        listeners = [{"name": "web", "port": 80, "protocol": "HTTP"}, {"name": "more", "port": 8080, "protocol": "HTTP"}]
        double.apply(dict(gateway_objects()[1], spec={"gatewayClassName": "weir", "listeners": listeners}))
        wait_until("two listeners", lambda: sorted(n["name"] for n in get(double, GATEWAY)["status"]["listeners"]) == ["more", "web"])
        double.apply(gateway_objects()[1])
        wait_until("one listener", lambda: [n["name"] for n in get(double, GATEWAY)["status"]["listeners"]] == ["http"])
        now = {c["type"]: c for c in get(double, GATEWAY)["status"]["conditions"]}
        expect_eq(now.pop("example.net/Audited"), foreign, "the condition of another")
        expect_eq(now.keys(), was.keys(), "ours")
        for kind, c in now.items():
            expect_eq(c["lastTransitionTime"], was[kind]["lastTransitionTime"], f"time of {kind}, which did not change")
            expect(c["observedGeneration"] > was[kind]["observedGeneration"], f"generation of {kind}")
        expect_eq(rig.metrics()["weir_ctrl_status_taken_total"], 0, "by merge patch")


def test_what_another_manager_left_and_is_ours_to_take_away_goes(make):
    """A Weir of before server-side apply, say: apply would leave it for ever."""
    stale = [{"controllerName": "weir.dev/ingress-controller", "parentRef": {"name": "gone"}, "conditions": []}]
    listener = {"name": "gone", "supportedKinds": [], "attachedRoutes": 0, "conditions": []}
    with following(make, BASE + gateway_objects(), start=False) as (rig, double):
        write_status(double, ROUTE, {"parents": stale + OTHERS})
        write_status(double, GATEWAY, {"listeners": [listener]})
        rig.start_ctrl()
        rig.wait_healthy()
        wait_until("the route is told", lambda: is_quiet(rig, double))
        wait_until("the parent is gone", lambda: [p["parentRef"]["name"] for p in get(double, ROUTE)["status"]["parents"]] == ["theirs", "edge"])
        wait_until("the listener is gone", lambda: [n["name"] for n in get(double, GATEWAY)["status"]["listeners"]] == ["http"], 90)
        expect_eq(rig.metrics()["weir_ctrl_status_taken_total"], 1, "taken away by merge patch")


def test_writes_that_cross_another_controllers_lose_nothing(make):
    """Both write the one list of parents at the same time, again and again."""
    routes = [obj("gateway.networking.k8s.io/v1", "HTTPRoute", f"r{i}", spec={"parentRefs": [{"name": "edge"}], "rules": []}) for i in range(10)]
    with following(make, BASE + gateway_objects() + routes) as (rig, double):
        wait_until("the route is told", lambda: is_quiet(rig, double))
        for n in range(4):
            for i in range(10):  # each time when ours is on its way
                double.fault(f"/r{i}/status?fieldManager=weir-ctrl", parent=dict(OTHERS[0], parentRef={"name": f"theirs{n}"}))
            double.apply(*(dict(r, spec=dict(r["spec"], hostnames=[f"h{n}.example.com"])) for r in routes))
            wait_until("all have been crossed", lambda n=n: rig.metrics()["weir_ctrl_status_conflicts_total"] >= 10 * (n + 1))

        def parents(i):
            found = get(double, f"{DEMO}/httproutes/r{i}")
            return [(p["parentRef"]["name"], p["conditions"][0].get("observedGeneration")) for p in found["status"]["parents"]], found
        for i in range(10):
            wait_until(f"r{i}", lambda: (lambda p, found: p == [("theirs3", None), ("edge", found["metadata"]["generation"])])(*parents(i)))


def broken_route(name="broken"):
    return obj("gateway.networking.k8s.io/v1", "HTTPRoute", name, spec={
        "parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "nobody", "port": 80}]}]})


def events(double, name="broken"):
    return [e for e in get(double, "/api/v1/namespaces/demo/events")["items"] if e["involvedObject"]["name"] == name]


def test_problem_is_told_by_one_event_over_restarts(make):
    with following(make, BASE + gateway_objects() + [broken_route()]) as (rig, double):
        wait_until("an Event", lambda: events(double))
        event = events(double)[0]
        expect_eq((event["type"], event["reason"], event["source"]["component"], event["count"]),
                  ("Warning", "BackendNotFound", "weir-ctrl", 1), "the Event")
        route = get(double, f"{DEMO}/httproutes/broken")
        expect_eq((event["involvedObject"]["uid"], event["involvedObject"]["fieldPath"]),
                  (route["metadata"]["uid"], "spec.rules[0].backendRefs[0].name"), "of what")
        wait_until("the Gateway is told that it is served", lambda: [e["reason"] for e in events(double, "edge")] == ["Programmed"])
        expect_eq(rig.stop("ctrl"), 0, "exit status")
        rig.start_ctrl()
        rig.wait_healthy()
        wait_until("it is found again", lambda: rig.metrics()["weir_ctrl_events_patched_total"] >= 1)
        expect_eq([e["metadata"]["name"] for e in events(double)], [event["metadata"]["name"]], "Events after a restart")
        expect_eq(len(events(double, "edge")), 1, "of the Gateway: it was served all the time")
        double.apply(service_of_route())
        wait_until("that the Service has no endpoints is told instead", lambda: rig.metrics()["weir_ctrl_events_created_total"] == 1)
        double.delete("Service", "nobody")
        wait_until("again", lambda: events(double)[0]["count"] == 2)
        expect_eq(rig.metrics()["weir_ctrl_events_created_total"], 1, "created")


def service_of_route():
    return obj("v1", "Service", "nobody", spec={"ports": [{"name": "http", "port": 80}]})


def test_events_can_be_switched_off(make):
    with following(make, BASE + gateway_objects() + [broken_route()], ctrl_args=("--events=false",)) as (rig, double):
        wait_until("the route is told", lambda: is_quiet(rig, double))
        time.sleep(2)
        expect_eq(get(double, "/api/v1/namespaces/demo/events")["items"], [], "Events")
        expect("weir_ctrl_events_created_total" not in rig.metrics(), "nor counters")


def test_events_that_are_refused_or_late_do_not_delay_status(make):
    many = [broken_route(f"b{i}") for i in range(40)]
    with following(make, BASE + gateway_objects() + many, start=False) as (rig, double):
        double.fault("/events", times=4, hold=True)
        double.fault("/events", times=20, status=403)
        double.fault("/events", times=3, status=503)
        rig.start_ctrl()
        rig.wait_healthy()
        wait_until("all routes are told", lambda: is_quiet(rig, double))
        expect_eq(rig.metrics()["weir_ctrl_events_created_total"], 0, "Events meanwhile")
        double.tell("release")
        wait_until("Events in the end", lambda: rig.metrics()["weir_ctrl_events_created_total"] > 0, 120)
        wait_until("failures are counted", lambda: rig.metrics()["weir_ctrl_events_failed_total"] >= 20, 120)
        expect_eq(rig.metrics()["weir_ctrl_status_failed_total"], 0, "statuses that failed")
