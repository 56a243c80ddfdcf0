# SPDX-License-Identifier: Apache-2.0
"""Statuses that Weir applies beside what others write into them, on a real Kubernetes."""
import json

from rig import expect, expect_eq, wait_until
from test_kube import Weir, kube_rig, kube_test, wait_alone
from test_kube_hand import GATEWAY, INGRESS, change

OTHER = "example.net/other"
TIME = "2026-01-01T00:00:00Z"


def condition(kind, **more):
    return dict({"type": kind, "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": TIME}, **more)


OTHER_CLASSES = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: NS-other}
spec: {controller: example.net/other}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: NS-other}
spec: {controllerName: example.net/other}
"""


class Applied:
    def __init__(self, rig, ns):
        self.rig, self.ns = rig, ns

    def kubectl(self, *args, **kw):
        return self.rig.kubectl(*args, "-n", self.ns, **kw)

    def get(self, kind, name="hand"):
        return self.rig.get(kind, name, self.ns, "--show-managed-fields")

    def status(self, kind):
        return self.get(kind).get("status", {})

    def write(self, kind, status):
        """As another controller does it."""
        self.kubectl("patch", kind, "hand", "--subresource=status", "--type=merge", "--field-manager=another", "-p",
                     json.dumps({"status": status}))

    def managers(self, kind):
        return {(m["manager"], m["operation"]) for m in self.get(kind)["metadata"]["managedFields"] if m.get("subresource") == "status"}

    def parents(self):
        return [(p["controllerName"], p["parentRef"]["name"]) for p in self.status("httproute").get("parents", [])]

    def listeners(self):
        return [n["name"] for n in self.status("gateway").get("listeners", [])]


OURS = "weir.dev/ingress-controller"


def routes_are_shared(a):
    wait_until("the route is told", lambda: a.parents() == [(OURS, "hand")])
    expect_eq(a.managers("httproute"), {("weir-ctrl", "Apply")}, "who wrote it")
    ours = a.status("httproute")["parents"]
    theirs = [{"controllerName": OTHER, "parentRef": {"name": "theirs"}, "conditions": [condition("Accepted")]}]
    a.write("httproute", {"parents": theirs + ours})
    change(a, "httproute", "/spec/parentRefs", [{"name": "hand"}, {"name": "theirs"}])
    wait_until("ours is of the new generation", lambda: a.status("httproute")["parents"][1]["conditions"][0]["observedGeneration"] == 2)
    expect_eq(a.status("httproute")["parents"][0], theirs[0] | {"parentRef": a.status("httproute")["parents"][0]["parentRef"]}, "theirs")
    change(a, "httproute", "/spec/parentRefs", [{"name": "theirs"}])
    wait_until("ours is gone, theirs is there", lambda: a.parents() == [(OTHER, "theirs")])


def gateways_are_merged(a):
    was = {c["type"]: c for c in a.status("gateway")["conditions"]}
    a.write("gateway", {"conditions": [*was.values(), condition("example.net/Audited")]})
    change(a, "gateway", "/spec/listeners", [{"name": n, "port": p, "protocol": "HTTP"} for n, p in (("z", 81), ("http", 80), ("a", 82))])
    wait_until("three listeners", lambda: a.listeners() == ["z", "http", "a"])
    change(a, "gateway", "/spec/listeners", [{"name": n, "port": p, "protocol": "HTTP"} for n, p in (("a", 82), ("z", 81))])
    wait_until("two listeners", lambda: a.listeners() == ["a", "z"])
    now = {c["type"]: c for c in a.status("gateway")["conditions"]}
    expect_eq(now.keys(), was.keys() | {"example.net/Audited"}, "conditions")
    for kind, c in was.items():
        expect_eq(now[kind]["lastTransitionTime"], c["lastTransitionTime"], f"time of {kind}")
        expect_eq(now[kind]["observedGeneration"], 3, f"generation of {kind}")


def stale_parts_go(a, weir):
    """What a controller before us, or a Weir that did not apply, has left."""
    gone = {"name": "gone", "supportedKinds": [], "attachedRoutes": 0, "conditions": []}
    weir.rig.procs.end("ctrl", 40)
    a.write("gateway", {"listeners": [*a.status("gateway")["listeners"], gone]})
    a.write("httproute", {"parents": [{"controllerName": OURS, "parentRef": {"name": "gone"}, "conditions": [condition("Accepted")]}]})
    a.write("ingress", {"loadBalancer": {"ingress": [{"ip": "192.0.2.99"}, {"ip": "192.0.2.98"}]}})
    weir.start_ctrl()
    wait_until("the listener is gone", lambda: a.listeners() == ["a", "z"])
    wait_until("so is the parent", lambda: a.parents() == [])
    wait_until("and the address", lambda: addresses(a) == [kube_rig.WEIR4, kube_rig.WEIR6])


def what_is_not_ours_any_more_is_given_up(a):
    classes = OTHER_CLASSES.replace("NS", a.ns)
    a.kubectl("apply", "-f", "-", input=classes)
    wait_until("the Ingress has its addresses", lambda: addresses(a) == [kube_rig.WEIR4, kube_rig.WEIR6])
    change(a, "ingress", "/spec/ingressClassName", f"{a.ns}-other")
    wait_until("another's Ingress has none of ours", lambda: addresses(a) == [])
    a.write("ingress", {"loadBalancer": {"ingress": [{"ip": kube_rig.WEIR4}]}})
    change(a, "gateway", "/spec/gatewayClassName", f"{a.ns}-other")
    wait_until("another's Gateway has no listener of ours", lambda: a.listeners() == [])
    expect_eq([c["type"] for c in a.status("gateway")["conditions"]], ["example.net/Audited"], "its conditions")
    expect_eq(addresses(a), [kube_rig.WEIR4], "what another wrote, be it the same")
    for kind in ("ingress", "gateway"):
        expect_eq(a.managers(kind), {("another", "Update")}, f"who wrote what the {kind} has")
    change(a, "gateway", "/spec/gatewayClassName", "weir")
    wait_until("ours again: told again", lambda: a.listeners() == ["a", "z"])
    a.kubectl("delete", "-f", "-", input=classes)


def addresses(a):
    return [i["ip"] for i in a.status("ingress").get("loadBalancer", {}).get("ingress", [])]


def metric(rig, name):
    text = rig.run(["curl", "-s", "-m", "60", "http://127.0.0.1:9901/metrics"]).stdout
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"weir_ctrl_{name} ")))


@kube_test
def test_what_is_applied_stands_beside_what_others_wrote(make, rig, ns):
    wait_alone(rig)  # statuses are counted
    a = Applied(rig, ns)
    with Weir(rig, make.args[0], ctrl_args=("--status-address", kube_rig.WEIR4, "--status-address", kube_rig.WEIR6)) as weir:
        wait_until("weir-ctrl is healthy", weir.is_healthy)
        a.kubectl("apply", "-f", "-", input=GATEWAY + "---\n" + INGRESS)
        wait_until("the Ingress has its addresses", lambda: addresses(a) == [kube_rig.WEIR4, kube_rig.WEIR6])
        expect(kube_rig.WEIR4 in a.kubectl("get", "ingress").stdout, "kubectl get shows them")
        routes_are_shared(a)
        gateways_are_merged(a)
        expect_eq(metric(rig, "status_taken_total"), 0, "written by merge patch")
        stale_parts_go(a, weir)
        expect(metric(rig, "status_taken_total") >= 1, "now some were")
        what_is_not_ours_any_more_is_given_up(a)
        expect_eq(metric(rig, "status_given_up_total"), 2, "given up")
        n = metric(rig, "status_written_total")
        wait_until("all is quiet", lambda: metric(rig, "status_waiting") == 0)
        expect_eq(metric(rig, "status_refused_total"), 0, "refused")
        print(f"      {n:.0f} statuses written since weir-ctrl was started again", flush=True)
