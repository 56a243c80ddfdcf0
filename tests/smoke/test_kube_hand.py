# SPDX-License-Identifier: Apache-2.0
"""Ingresses and Gateways changed by hand, with kubectl, on a real Kubernetes: how soon requests see it."""
import json
import time

from rig import expect, wait_until
from test_kube import Weir, kube_rig, kube_test, run_echo, wait_alone

LIMIT_S = 90  # a time that is over is a failure; how long it took is only printed


class Hand:
    def __init__(self, rig, ns):
        self.rig, self.ns, self.times, self.asked = rig, ns, [], []

    def status(self, address, host, path="/"):
        """The status that a request gets; 0 without an answer."""
        p = self.rig.run(["curl", "-s", "-o", "/dev/null", "-m", "10", "-w", "%{http_code}", "-H", f"Host: {host}", f"http://{address}{path}"],
                         check=False)
        status = int(p.stdout or 0)
        self.asked.append((round(time.monotonic(), 2), status))
        return status

    def kubectl(self, *args, **kw):
        return self.rig.kubectl(*args, "-n", self.ns, **kw)

    def see(self, what, is_so):
        """Until it is so, from the moment when kubectl had its answer, asked as fast as curl does."""
        began = time.monotonic()
        self.asked.clear()
        while not is_so():
            expect(time.monotonic() - began < LIMIT_S, f"{what}: not within {LIMIT_S} s")
        self.times.append(time.monotonic() - began)
        print(f"      {what}: {self.times[-1] * 1000:.0f} ms after kubectl", flush=True)
        if self.times[-1] > 1:
            self.show_why(began)

    def show_why(self, began):
        """Whether curl, Weir or Kubernetes took the time: when which answer came, and how long the workers needed for the last routes."""
        print(f"        answers after: {[(round(t - began, 2), status) for t, status in self.asked[-20:]]}", flush=True)
        print("        " + self.rig.procs.tail("ctrl", 3).replace("\n", "\n        "), flush=True)


INGRESS = """apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: hand}
spec:
  rules:
  - host: one.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: echo, port: {number: 80}}}}]}
"""
GATEWAY = """apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: weir}
spec: {controllerName: weir.dev/ingress-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: hand}
spec: {gatewayClassName: weir, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: hand}
spec: {parentRefs: [{name: hand}], hostnames: [gw.example.com], rules: [{backendRefs: [{name: echo, port: 80}]}]}
"""


def change(hand, kind, at, value):
    hand.kubectl("patch", kind, "hand", "--type=json", "-p", json.dumps([{"op": "replace", "path": at, "value": value}]))


def by_ingress(hand):
    def status(host, path="/"):
        return hand.status(kube_rig.WEIR4, host, path)
    hand.kubectl("apply", "-f", "-", input=INGRESS)
    hand.see("Ingress applied", lambda: status("one.example.com") == 200)
    change(hand, "ingress", "/spec/rules/0/host", "two.example.com")
    hand.see("its host changed", lambda: status("two.example.com") == 200 and status("one.example.com") == 404)
    change(hand, "ingress", "/spec/rules/0/http/paths/0/path", "/only")
    hand.see("its path changed", lambda: status("two.example.com", "/only/x") == 200 and status("two.example.com") == 404)
    change(hand, "ingress", "/spec/rules/0/http/paths/0/backend/service/name", "nobody")
    hand.see("its Service does not exist", lambda: status("two.example.com", "/only") == 503)
    hand.kubectl("delete", "ingress", "hand")
    hand.see("Ingress deleted: with the last one the port is closed", lambda: status("two.example.com", "/only") == 0)


def by_gateway(hand):
    hand.kubectl("apply", "-f", "-", input=GATEWAY)
    address = []

    def has_address():
        found = hand.rig.get("gateway", "hand", hand.ns).get("status", {}).get("addresses") or []
        address[:] = [a["value"] for a in found if ":" not in a["value"]]
        return address and hand.status(address[0], "gw.example.com") == 200
    hand.see("Gateway and HTTPRoute applied, its address read", has_address)
    change(hand, "httproute", "/spec/hostnames", ["other.example.com"])
    hand.see("hostname of the HTTPRoute changed", lambda: hand.status(address[0], "other.example.com") == 200)
    change(hand, "gateway", "/spec/listeners/0/port", 8080)
    hand.see("port of the listener changed", lambda: hand.status(f"{address[0]}:8080", "other.example.com") == 200)
    hand.see("the old one is closed", lambda: hand.status(address[0], "other.example.com") == 0)
    hand.kubectl("delete", "httproute", "hand")
    hand.see("HTTPRoute deleted", lambda: hand.status(f"{address[0]}:8080", "other.example.com") == 404)
    hand.kubectl("delete", "gateway", "hand")
    hand.see("Gateway deleted", lambda: hand.status(f"{address[0]}:8080", "other.example.com") == 0)


@kube_test
def test_what_is_changed_by_hand_shows_its_effect(make, rig, ns):
    wait_alone(rig)  # another Ingress would keep the port open, or have a host
    run_echo(rig, ns, 1)
    hand = Hand(rig, ns)
    with Weir(rig, make.args[0]) as weir:
        wait_until("weir-ctrl is healthy", weir.is_healthy)
        by_ingress(hand)
        by_gateway(hand)
    print(f"      {len(hand.times)} changes: median {sorted(hand.times)[len(hand.times) // 2] * 1000:.0f} ms, "
          f"at most {max(hand.times) * 1000:.0f} ms, {sum(t > 1 for t in hand.times)} above a second", flush=True)
