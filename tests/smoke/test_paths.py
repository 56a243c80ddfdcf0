# SPDX-License-Identifier: Apache-2.0
"""Ways to pods as weir-ctrl finds them in Node objects: weirctl paths and its metrics, and that a dataplane takes them."""
import copy
import json

from rig import PEER4, WEB, expect, expect_eq, wait_until
from test_kube_source import BASE, following, ingress, obj, wait_answer
from test_kube_status import write_status

FLANNEL = "flannel.alpha.coreos.com"


def node(number, beat=0, internal=None, near=False, **annotations):
    """As a kubelet writes it, in a cluster of flannel's VXLAN."""
    name = f"n{number}"
    data = {"VNI": 1, "VtepMAC": f"02:00:00:00:00:0{number}"}
    o = obj("v1", "Node", name, None, spec={"podCIDR": f"10.244.{number}.0/24", "podCIDRs": [f"10.244.{number}.0/24"], "taints": []})
    o["metadata"]["annotations"] = {f"{FLANNEL}/backend-type": "vxlan", f"{FLANNEL}/backend-data": json.dumps(data),
                                    f"{FLANNEL}/public-ip": f"192.0.2.{number}", "volumes.kubernetes.io/x": "true", **annotations}
    if not near:
        o["status"] = {"addresses": [{"type": "InternalIP", "address": internal or f"192.0.2.{number}"}, {"type": "Hostname", "address": name}],
                       "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": f"2026-01-01T00:00:{beat:02}Z"}]}
    return o


def ways(rig):
    return [(p["node"], p["prefix"], p["way"], p["via"]) for p in json.loads(rig.weirctl("paths", "-o", "json", check=False) or "{}").get("paths", [])]


def alone(rig, *args):
    """weir-ctrl without a dataplane."""
    rig.start_ctrl("--write-status", "never", "--socket", rig.dir / "none.sock", *args)


def native(number, internal=None):
    return (f"n{number}", f"10.244.{number}.0/24", "native", internal or f"192.0.2.{number}")


def test_nodes_of_an_api_server_show_their_ways(make):
    with following(make, [*BASE, node(1)], start=False) as (rig, double):
        alone(rig)
        wait_until("a way", lambda: ways(rig) == [native(1)])
        events = rig.metrics()["weir_ctrl_kube_events_total"]
        write_status(double, "/api/v1/nodes/n1", node(1, beat=1)["status"], "kubelet")
        wait_until("the heartbeat was read", lambda: rig.metrics()["weir_ctrl_kube_events_total"] > events)
        expect_eq(ways(rig), [native(1)], "after a heartbeat")
        double.apply(node(2))
        wait_until("another way", lambda: ways(rig) == [native(1), native(2)])
        write_status(double, "/api/v1/nodes/n2", node(2, internal="192.0.2.99")["status"], "kubelet")
        wait_until("it has moved", lambda: ways(rig) == [native(1), native(2, "192.0.2.99")])
        double.delete("Node", "n1", ns=None)
        wait_until("it is gone", lambda: ways(rig) == [native(2, "192.0.2.99")])
        double.apply(node(3, **{f"{FLANNEL}/public-ip": "nowhere"}))
        wait_until("what is wrong is said", lambda: ("n3", "10.244.3.0/24", "none", "") in ways(rig))
        m = rig.metrics()
        expect_eq((m['weir_ctrl_paths{kind="native"}'], m['weir_ctrl_paths{kind="none"}'], m["weir_ctrl_path_errors"]), (1, 1, 1), "metrics")
        text = rig.weirctl("paths")
        expect(f"WRONG: {FLANNEL}/public-ip nowhere is no IPv4 address" in text and "dataplane: not-sent" in text, text)
        log = (rig.dir / "ctrl.log").read_text()
        expect_eq(log.count("Node n3: no way to its pods of 10.244.3.0/24: "), 1, "times that it is logged")


def test_a_node_stands_for_the_near_end_of_tunnels(make):
    near = node(9, near=True)
    near["metadata"]["name"] = "weir-vtep"
    with following(make, [*BASE, node(1)], start=False) as (rig, double):
        alone(rig, "--vtep-node", "weir-vtep", "--vtep", "port=4789")
        wait_until("its absence is said", lambda: "WRONG: there is no Node weir-vtep" in rig.weirctl("paths", check=False))
        expect_eq(ways(rig), [native(1)], "as long as there is none")
        double.apply(near)
        wait_until("tunnels", lambda: ways(rig) == [("n1", "10.244.1.0/24", "vxlan", "192.0.2.1"), ("weir-vtep", "10.244.9.0/24", "ours", "")])
        end = rig.weirctl_json("paths")["near_end"]
        expect_eq(end, [{"family": "IPv4", "source": "10.244.9.0", "mac": "02:00:00:00:00:09", "vni": 1, "any_vni": False, "port": 4789,
                         "public_ip": "192.0.2.9", "node": "weir-vtep"}], "the near end")


def test_nodes_that_may_not_be_read_are_done_without(make):
    with following(make, [*BASE, node(1)], start=False) as (rig, double):
        double.fault("/nodes", times=100000, status=403)
        alone(rig)
        wait_until("all else is known", lambda: "web" in rig.weirctl("backends", check=False))
        expect_eq(ways(rig), [], "ways")
        expect("they may not be read" in rig.weirctl_json("paths")["note"], "a note")
        problems = [(p["kind"], p["reason"]) for p in rig.weirctl_json("status")["problem_list"]]
        expect_eq(problems, [("Node", "Forbidden")], "problems")
        double.tell("forgive")
        wait_until("they may be read now", lambda: ways(rig) == [native(1)], 90.0)


def test_services_are_reached_by_their_node_ports(make):
    by_port = copy.deepcopy([*BASE, ingress("api", "api.example.com", "api")])
    for o in by_port:
        if o["kind"] == "Service" and o["metadata"]["name"] == "web":
            o["spec"].update(type="NodePort", ports=[{**o["spec"]["ports"][0], "nodePort": 30080}])
    with following(make, [*by_port, node(1), node(2)], start=False) as (rig, double):
        rig.start_ctrl("--write-status", "always", "--socket", rig.dir / "none.sock", "--paths", "node-port")

        def endpoints():
            listed = json.loads(rig.weirctl("backends", "-o", "json", check=False) or "[]")
            return {b["name"]: [f"{e['address']}:{e['port']}" for e in b["endpoints"]] for b in listed}
        wait_until("nodes as endpoints", lambda: endpoints() == {"demo/web:80": ["192.0.2.1:30080", "192.0.2.2:30080"]})
        problems = {(p["kind"], p["reason"]) for p in rig.weirctl_json("status")["problem_list"]}
        expect(("Ingress", "NodePortNotFound") in problems, problems)
        expect_eq(ways(rig)[0], ("n1", "10.244.1.0/24", "node-port", "192.0.2.1"), "the way")
        wait_until("an Event says so", lambda: any(
            o["kind"] == "Event" and o["reason"] == "NodePortNotFound" for o in json.loads(rig.run(
                ["curl", "-sSk", f"{double.url}/double/objects"]).stdout)))
        double.delete("Node", "n2", ns=None)
        wait_until("one is gone", lambda: endpoints() == {"demo/web:80": ["192.0.2.1:30080"]})


def state(rig):
    return json.loads(rig.weirctl("paths", "-o", "json", check=False) or "{}").get("state")


def test_the_dataplane_takes_the_ways_and_gets_them_again(make):
    near = node(9, near=True)
    with following(make, [*BASE, near], ctrl_args=("--write-status", "never", "--vtep-node", "n9")) as (rig, double):
        double.apply(node(1), node(2, internal=PEER4, **{f"{FLANNEL}/backend-type": "host-gw"}))
        wait_until("ways are taken", lambda: state(rig) == "taken" and [w[2] for w in ways(rig)] == ["vxlan", "native", "ours"])
        wait_answer(rig, "shop.example.com", "web")
        expect_eq(rig.metrics()["weir_ctrl_paths_refused_total"], 0, "refused sets")
        rig.stop("dataplane")
        rig.start_dataplane()
        wait_until("a new dataplane has them", lambda: rig.metrics().get("weir_path_sets_taken_total") == 1)
        wait_answer(rig, "shop.example.com", "web")
        double.delete("Node", "n1", ns=None)
        wait_until("it has others", lambda: rig.metrics().get("weir_path_sets_taken_total") == 2)


def test_a_node_port_is_answered(make):
    by_port = copy.deepcopy(BASE)
    for o in by_port:
        if o["kind"] == "Service" and o["metadata"]["name"] == "web":
            o["spec"].update(type="NodePort", ports=[{**o["spec"]["ports"][0], "nodePort": WEB}])
        if o["kind"] == "EndpointSlice":
            o["endpoints"][0]["addresses"] = ["10.244.1.5"] if o["addressType"] == "IPv4" else ["fd44::5"]  # which nothing leads to
    with following(make, by_port) as (rig, double):
        rig.stop("ctrl")
        double.apply(node(1, internal=PEER4))
        rig.start_ctrl("--write-status", "never", "--paths", "node-port")
        rig.wait_healthy()  # a request before would wait for what is not there
        wait_answer(rig, "shop.example.com", "web")
        expect_eq(state(rig), "taken", "that there are no ways")


def test_nodes_in_manifests_count_as_well(make):
    text = "\n---\n".join(json.dumps(node(i)) for i in (1, 2))
    with make(ctrl=False) as rig:
        rig.start_ctrl("--socket", rig.dir / "none.sock")
        wait_until("it is up", lambda: "no Node is known" in rig.weirctl("paths", check=False))
        rig.write_manifest("nodes.yaml", text)
        wait_until("ways", lambda: ways(rig) == [native(1), native(2)])
        rig.stop("ctrl")
        rig.start_ctrl("--socket", rig.dir / "none.sock", "--paths", "vxlan")
        wait_until("by VXLAN alone there is none", lambda: [w[2] for w in ways(rig)] == ["none", "none"])
        expect("no near end is known" in rig.weirctl("paths"), "why")
