# SPDX-License-Identifier: Apache-2.0
"""Services of type ExternalName: their names are followed, and what fails on the way there costs no request."""
import contextlib
import json
import pathlib
import socket
import sys

from rig import PEER4, expect, expect_eq, ingress, ip, takes, wait_until
from test_control import wrk
from test_kube_saved import restart
from test_kube_source import Double, obj
from test_kube_source import ingress as ingress_object

OTHER4 = "10.99.0.3"  # a second address of the peers
ORIGIN, DNS = 8083, 5353
OPTIONS = ("--external-names", "ipv4", "--dns-servers", f"127.0.0.1:{DNS}")
NGINX = f'server {{ listen {ORIGIN}; location / {{ return 200 "origin $server_addr\\n"; }} }}'


def external(name, port=ORIGIN):
    return f"""apiVersion: v1
kind: Service
metadata: {{name: origin, namespace: demo}}
spec: {{type: ExternalName, externalName: {name}, ports: [{{port: 80, targetPort: {port}}}]}}
---
"""


MANIFESTS = {"origin.yaml": external("origin.test") + ingress("origin", "shop.example.com", [("/", "Prefix", "origin")])}


class Names:
    """The name server, in the rig's namespace, where the second address is added, too."""

    def __init__(self, rig):
        self.rig, self.process = rig, None
        self.file, self.log = rig.dir / "names.json", rig.dir / "dns.log"
        self.add_address()

    def add_address(self):
        ip("-n", self.rig.ns, "addr", "replace", OTHER4 + "/24", "dev", "weir0")

    def set(self, *addresses):
        tmp = self.file.with_suffix(".tmp")
        tmp.write_text(json.dumps({"origin.test": addresses} if addresses else {}))
        tmp.rename(self.file)

    def start(self):
        with open(self.log, "ab") as log:
            peer = pathlib.Path(__file__).with_name("dns_peer.py")
            self.process = self.rig.spawn([sys.executable, peer, str(DNS), str(self.file)], stdout=log, stderr=log)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None


@contextlib.contextmanager
def naming(rig, *addresses):
    names = Names(rig)
    names.set(*addresses)
    try:
        yield names
    finally:
        names.stop()


def body(rig):
    status, _, text = rig.curl("/", check=False)  # the port may not be open yet
    return text.strip() if status == 200 else status


def wait_origin(rig, address):
    wait_until(f"requests go to {address}", lambda: body(rig) == f"origin {address}")


def backend(rig):
    """(state of the name, addresses)"""
    b = next(b for b in rig.weirctl_json("backends") if b["name"] == "demo/origin:80")
    return b["external_state"], [e["address"] for e in b["endpoints"]]


def wait_backend(rig, state, *addresses):
    wait_until(f"{state} {addresses}", lambda: backend(rig) == (state, list(addresses)))


def reasons(rig):
    return {p["reason"] for p in rig.weirctl_json("status")["problem_list"]}


def wait_reasons(rig, *wanted):
    wait_until(f"the problems are {wanted}", lambda: reasons(rig) == set(wanted))


def steady(rig, seconds):
    """Traffic for so long; a function that waits for its end, and expects that no request failed."""
    finish = wrk(rig, seconds, connections=8, path="/")

    def end():
        n, errors, text = finish()
        expect(n > 0 and errors == 0, text)
    return end


@takes(25)
def test_requests_follow_the_addresses_of_a_name(make):
    with make(manifests=MANIFESTS, ctrl_args=OPTIONS, nginx=NGINX) as rig, naming(rig, PEER4) as names:
        wait_until("it is said that nobody answers", lambda: "NameServersFail" in reasons(rig))
        expect_eq(body(rig), 503, "before anything is known")
        names.start()
        wait_origin(rig, PEER4)
        wait_reasons(rig)
        end = steady(rig, 12)
        names.set(OTHER4)
        wait_origin(rig, OTHER4)
        wait_backend(rig, "answered", OTHER4)
        end()
        names.set("127.0.0.1", PEER4, OTHER4, "169.254.169.254")
        wait_backend(rig, "answered", PEER4, OTHER4)
        wait_reasons(rig, "AddressRefused")
        expect("of origin.test (answered)" in rig.weirctl("backends"), rig.weirctl("backends"))
        names.set()
        wait_backend(rig, "not-found")
        wait_reasons(rig, "NameNotFound")
        wait_until("nothing is served without a name", lambda: body(rig) == 503)
        expect(rig.metric_sum("weir_ctrl_lookup_answers_total", 'outcome="not_found"') > 0, "it is counted")
        # another name, in another form of the Service; and at last none
        names.set(PEER4)
        rig.write_manifest("origin.yaml", MANIFESTS["origin.yaml"].replace("origin.test", "origin.test."))
        wait_origin(rig, PEER4)
        expect_eq(rig.metric_sum("weir_ctrl_names"), 1, "names")
        rig.write_manifest("origin.yaml", external("origin.test"))
        wait_until("the name is forgotten", lambda: rig.metric_sum("weir_ctrl_names") == 0)


@takes(20)
def test_name_servers_that_go_away_cost_no_request(make):
    with make(manifests=MANIFESTS, ctrl_args=OPTIONS, nginx=NGINX) as rig, naming(rig, PEER4) as names:
        names.start()
        wait_origin(rig, PEER4)
        names.stop()
        end = steady(rig, 20)
        wait_backend(rig, "kept", PEER4)
        wait_reasons(rig, "NameServersFail")
        expect_eq(rig.metric_sum("weir_ctrl_names_kept"), 1, "names kept")
        expect(rig.metric_sum("weir_ctrl_names_kept_seconds") > 0, "the age of what is kept")
        # a weir-ctrl that knows nothing leaves the dataplane what it has
        rig.stop("ctrl")
        rig.start_ctrl(*OPTIONS)
        rig.wait_healthy()
        wait_until("it is said that nobody answers", lambda: "NameServersFail" in reasons(rig))
        wait_backend(rig, "pending")
        expect_eq(body(rig), f"origin {PEER4}", "with a new weir-ctrl")
        names.set(OTHER4)
        names.start()
        wait_origin(rig, OTHER4)
        end()
        wait_reasons(rig)


def external_object(name):
    return obj("v1", "Service", "origin", spec={"type": "ExternalName", "externalName": name,
                                                "ports": [{"port": 80, "targetPort": ORIGIN}]})


def test_addresses_are_kept_on_disk_and_follow_an_api_server(make):
    objects = [obj("v1", "Namespace", "demo", None), external_object("origin.test"),
               ingress_object("shop", "shop.example.com", "origin")]
    with make(ctrl=False, manifests={}, nginx=NGINX) as rig, naming(rig, PEER4) as names:
        double = Double(rig, objects)
        (rig.dir / "state").mkdir()
        (rig.dir / "state").chmod(0o777)
        rig.ctrl_source = ["--kubeconfig", double.kubeconfig, "--ingress-without-class", "--state-dir", rig.dir / "state", *OPTIONS]

        def is_on_disk(address):
            return b"\xff\xff" + socket.inet_aton(address) in (rig.dir / "state/routes.saved").read_bytes()

        names.start()
        rig.start_ctrl()
        rig.wait_healthy()
        wait_origin(rig, PEER4)
        double.apply(external_object("absent.test"))
        wait_backend(rig, "not-found")
        wait_until("that it has no address is written", lambda: not is_on_disk(PEER4))
        double.apply(external_object("origin.test"))
        wait_backend(rig, "answered", PEER4)
        wait_until("it is written", lambda: is_on_disk(PEER4))
        # the node starts again, without a name server
        names.stop()
        restart(rig)
        names.add_address()  # the device is another one
        wait_origin(rig, PEER4)
        wait_until("it is said that nobody answers", lambda: "NameServersFail" in reasons(rig))
        wait_backend(rig, "pending", PEER4)
        expect_eq(body(rig), f"origin {PEER4}", "while all but the name is known")
        names.set(OTHER4)
        names.start()
        wait_origin(rig, OTHER4)
