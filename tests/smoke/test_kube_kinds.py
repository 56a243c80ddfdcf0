# SPDX-License-Identifier: Apache-2.0
"""Kinds beside routes, Services and their endpoints, as an API server gives them: the double."""
import json
import time

from rig import PEER4, WEB, expect, expect_eq, takes, wait_until
from test_kube import Weir, kube_test, wait_alone
from test_kube_source import BASE, following, gateway_objects, obj, slice_, wait_answer
from test_kube_status import get

GATEWAY = "gateway.networking.k8s.io"


def problems(rig, kind=""):
    """(kind, reason) of each, of one kind or all."""
    listed = json.loads(rig.weirctl("status", "-o", "json", check=False))["problem_list"]
    return [(p["kind"], p["reason"]) for p in listed if not kind or p["kind"] == kind]


def status(double, version, plural, name):
    return get(double, f"/apis/{GATEWAY}/{version}/namespaces/demo/{plural}/{name}").get("status", {})


def condition(conditions, kind):
    return next(((c["status"], c["reason"]) for c in conditions or [] if c["type"] == kind), None)


@takes(15)
def test_kinds_that_may_not_be_read_do_not_hold_up_the_rest(make):
    with following(make, BASE + gateway_objects(), start=False) as (rig, double):
        for plural in ("tcproutes", "backendtlspolicies", "listenersets", "customresourcedefinitions"):
            double.fault(f"/{plural}", times=5, status=403)
        rig.start_ctrl("--write-status", "always")
        wait_answer(rig, "shop.example.com", "web")
        wait_answer(rig, "gw.example.com", "api")
        wait_until("permission came", lambda: "Forbidden" not in dict(problems(rig)).values(), 90.0)
        double.apply(obj(f"{GATEWAY}/v1alpha2", "TCPRoute", "tcp", spec={
            "parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}))
        wait_until("the TCPRoute is told", lambda: problems(rig, "TCPRoute"))


def test_a_kind_that_stays_forbidden_is_named(make):
    with following(make, BASE, start=False) as (rig, double):
        double.fault("/grpcroutes", times=100000, status=403)
        rig.start_ctrl("--write-status", "never")
        wait_answer(rig, "shop.example.com", "web")
        wait_until("it is named", lambda: problems(rig, "GRPCRoute") == [("GRPCRoute", "Forbidden")])

        def kube():
            k = rig.weirctl_json("status")["kubernetes"]
            return k["kinds"] - k["kinds_healthy"], k["age_ms"]
        wait_until("all others are up to date", lambda: kube() == (1, 0))


def test_policies_that_may_not_be_read_are_waited_for_unless_that_is_not_wanted(make):
    with following(make, BASE, start=False) as (rig, double):
        double.fault("/backendtlspolicies", times=100000, status=403)
        rig.start_ctrl("--write-status", "never")

        def kube():
            out = rig.weirctl("status", "-o", "json", check=False)  # nothing, before weir-ctrl listens
            return json.loads(out)["kubernetes"] if out else {}
        wait_until("it is named", lambda: any(p.startswith("backendtlspolicies: permission to list") for p in kube().get("problems", [])))
        expect(not kube()["synced"], kube())
        rig.stop("ctrl")
        rig.start_ctrl("--write-status", "never", "--allow-unread-policies")
        wait_answer(rig, "shop.example.com", "web")
        wait_until("it is a problem", lambda: problems(rig, "BackendTLSPolicy") == [("BackendTLSPolicy", "Forbidden")])


def test_routes_are_told_in_the_version_that_is_served(make):
    parent = {"parentRefs": [{"name": "edge"}]}
    with following(make, BASE + gateway_objects(), ctrl_args=("--write-status", "always")) as (rig, double):
        double.apply(obj(f"{GATEWAY}/v1", "GRPCRoute", "grpc", spec=dict(parent)),
                     obj(f"{GATEWAY}/v1alpha2", "TCPRoute", "tcp", spec=dict(parent, rules=[
                         {"backendRefs": [{"name": "web", "port": 80}]}])))
        for version, plural, name, reason in (("v1", "grpcroutes", "grpc", "UnsupportedProtocol"),
                                              ("v1alpha2", "tcproutes", "tcp", "NotAllowedByListeners")):
            def told():
                parents = status(double, version, plural, name).get("parents")
                return parents and condition(parents[0]["conditions"], "Accepted") == ("False", reason)
            wait_until(f"{name} is told", told)
        wait_answer(rig, "gw.example.com", "api")


def test_listeners_of_a_listener_set_are_served_while_their_gateway_admits_them(make):
    objects = BASE + gateway_objects()
    edge = next(o for o in objects if o["kind"] == "Gateway")
    open_edge = dict(edge, spec=dict(edge["spec"], allowedListeners={"namespaces": {"from": "Same"}}))
    more = obj(f"{GATEWAY}/v1", "ListenerSet", "more", spec={
        "parentRef": {"name": "edge"}, "listeners": [{"name": "more", "port": 8080, "protocol": "HTTP"}]})
    route = obj(f"{GATEWAY}/v1", "HTTPRoute", "more", spec={
        "parentRefs": [{"kind": "ListenerSet", "name": "more"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]})

    def accepted():
        return condition(status(double, "v1", "listenersets", "more").get("conditions"), "Accepted")

    def is_served():
        got, _, body = rig.curl("/", host="more.test", port=8080, check=False)
        return got == 200 and body.startswith("web")

    with following(make, objects + [more, route], ctrl_args=("--write-status", "always")) as (rig, double):
        wait_until("it is not admitted", lambda: accepted() == ("False", "NotAllowed"))
        expect(not is_served(), "not served")
        double.apply(open_edge)
        wait_until("it is served", is_served)
        wait_until("it is told", lambda: accepted() == ("True", "Accepted"))
        wait_until("its Gateway is told", lambda: status(double, "v1", "gateways", "edge").get("attachedListenerSets") == 1)
        double.delete("ListenerSet", "more")
        wait_until("it is gone", lambda: not is_served())
        wait_until("its Gateway is told again", lambda: status(double, "v1", "gateways", "edge").get("attachedListenerSets") == 0)
        wait_answer(rig, "gw.example.com", "api")


def test_a_service_for_which_tls_is_asked_is_not_spoken_to_without_cas(make):
    policy = obj(f"{GATEWAY}/v1", "BackendTLSPolicy", "api", spec={
        "targetRefs": [{"group": "", "kind": "Service", "name": "api"}],
        "validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "absent"}], "hostname": "api.test"}})
    with following(make, BASE + gateway_objects(), ctrl_args=("--write-status", "always")) as (rig, double):
        wait_answer(rig, "gw.example.com", "api")
        double.apply(policy)
        wait_until("nothing is sent", lambda: rig.curl("/", host="gw.example.com")[0] == 500)
        wait_answer(rig, "shop.example.com", "web")

        def told():
            ancestors = status(double, "v1", "backendtlspolicies", "api").get("ancestors")
            return ancestors and condition(ancestors[0]["conditions"], "Accepted") == ("False", "NoValidCACertificate")
        wait_until("the policy is told", told)
        double.delete("BackendTLSPolicy", "api")
        wait_answer(rig, "gw.example.com", "api")


def test_endpoints_of_the_nodes_zone_are_used(make):
    """Nothing listens where the endpoint of zone z2 is."""
    def node(zone):
        return obj("v1", "Node", "n1", None, {"topology.kubernetes.io/zone": zone})

    def near(name, port, zone):
        s = slice_("near", PEER4, port)
        s["metadata"]["name"] = name
        s["endpoints"][0]["hints"] = {"forZones": [{"name": zone}]}
        return s

    service = obj("v1", "Service", "near", spec={"trafficDistribution": "PreferSameZone", "ports": [{"name": "http", "port": 80}]})
    route = obj(f"{GATEWAY}/v1", "HTTPRoute", "route", spec={
        "parentRefs": [{"name": "edge"}], "hostnames": ["gw.example.com"], "rules": [{"backendRefs": [{"name": "near", "port": 80}]}]})
    other = obj("v1", "Node", "n2", None, {"topology.kubernetes.io/zone": "z2"})
    objects = BASE + gateway_objects() + [service, route, near("near-1", WEB, "z1"), near("near-2", 9, "z2"), node("z1"), other]
    with following(make, objects, ctrl_args=("--node", "n1", "--write-status", "never")) as (rig, double):
        wait_answer(rig, "gw.example.com", "web")
        for _ in range(20):
            expect_eq(rig.curl("/", host="gw.example.com")[0], 200, "answers of its own zone")
        double.apply(node("z2"))
        wait_until("the other zone", lambda: rig.curl("/", host="gw.example.com")[0] == 502)
        double.apply(node("z3"))  # no hint is for this one: all are used
        wait_until("all zones", lambda: {rig.curl("/", host="gw.example.com")[0] for _ in range(10)} >= {200})


def test_the_version_of_the_gateway_api_is_that_of_its_crd(make):
    crd = obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"gatewayclasses.{GATEWAY}", None)
    crd["metadata"]["annotations"] = {f"{GATEWAY}/bundle-version": "v1.6.1"}

    def supported():
        return condition(get(double, f"/apis/{GATEWAY}/v1/gatewayclasses/weir").get("status", {}).get("conditions"), "SupportedVersion")

    with following(make, BASE + gateway_objects(), ctrl_args=("--write-status", "always")) as (rig, double):
        wait_until("it is not known", lambda: supported() == ("Unknown", "Pending"))
        double.apply(crd)
        wait_until("it is known", lambda: supported() == ("True", "SupportedVersion"))
        crd["metadata"]["annotations"][f"{GATEWAY}/bundle-version"] = "v1.7.0"
        double.apply(crd)
        wait_until("it is too new", lambda: supported() == ("False", "UnsupportedVersion"))


ALL_KINDS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: weir}
spec: {controllerName: weir.dev/ingress-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: kinds}
spec:
  gatewayClassName: weir
  allowedListeners: {namespaces: {from: Same}}
  listeners:
  - {name: http, port: 5300, protocol: HTTP}
  - {name: tls, port: 8883, protocol: TLS, tls: {mode: Passthrough}}
  - {name: tcp, port: 9300, protocol: TCP}
  - {name: udp, port: 5300, protocol: UDP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more}
spec:
  parentRef: {name: kinds}
  listeners: [{name: more, port: 5301, protocol: HTTP}, {name: wrong, port: 5300, protocol: HTTP}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: web, port: 80}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: policy}
spec:
  targetRefs: [{group: "", kind: Service, name: web, sectionName: web}]
  validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: absent}], hostname: web.test}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: http}
spec: {parentRefs: [{kind: ListenerSet, name: more}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: grpc}
spec: {parentRefs: [{name: kinds, sectionName: http}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: tls}
spec: {parentRefs: [{name: kinds}], hostnames: [tls.test], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: tcp}
spec: {parentRefs: [{name: kinds, sectionName: tcp}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: udp}
spec: {parentRefs: [{name: kinds, sectionName: udp}], rules: [{backendRefs: [{name: web, port: 53}]}]}
"""


@kube_test
def test_a_real_api_server_takes_what_is_written_for_every_kind(make, rig, ns):
    def written(what, where):
        o = json.loads(rig.kubectl("get", what, "-n", ns, "-o", "json").stdout).get("status", {})
        return condition((o.get(where) or [{}])[0].get("conditions") if where else o.get("conditions"), "Accepted")

    wait_alone(rig)  # statuses are counted
    with Weir(rig, make.args[0], ctrl_args=("--write-status", "always")) as weir:
        rig.kubectl("apply", "-n", ns, "-f", "-", input=ALL_KINDS)
        for what, where, wanted in (("gateway/kinds", "", ("True", "ListenersNotValid")),
                                    ("listenerset/more", "", ("True", "ListenersNotValid")),
                                    ("httproute/http", "parents", ("True", "Accepted")),
                                    ("grpcroute/grpc", "parents", ("False", "UnsupportedProtocol")),
                                    ("tlsroute/tls", "parents", ("True", "Accepted")),
                                    ("tcproute/tcp", "parents", ("True", "Accepted")),
                                    ("udproute/udp", "parents", ("False", "UnsupportedProtocol")),
                                    ("backendtlspolicy/policy", "ancestors", ("False", "NoValidCACertificate"))):
            wait_until(f"{what} is told", lambda: written(what, where) == wanted)
        expect_eq(condition(json.loads(rig.kubectl("get", "gatewayclass/weir", "-o", "json").stdout)["status"]["conditions"],
                            "SupportedVersion"), ("True", "SupportedVersion"), "the CRDs' version")

        def is_quiet():
            before = metric(rig, "weir_ctrl_status_written_total")
            time.sleep(3)
            return metric(rig, "weir_ctrl_status_waiting") == 0 and metric(rig, "weir_ctrl_status_written_total") == before
        wait_until("nothing is written while nothing changes", is_quiet)
        expect_eq(metric(rig, "weir_ctrl_status_refused_total"), 0, "statuses that were refused")
        expect(weir.is_healthy(), "weir-ctrl is healthy")


def metric(rig, name):
    text = rig.run(["curl", "-s", "-m", "60", "http://127.0.0.1:9901/metrics"]).stdout
    return float(next(line for line in text.splitlines() if line.startswith(name)).split()[1])
