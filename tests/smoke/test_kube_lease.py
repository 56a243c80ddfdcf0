# SPDX-License-Identifier: Apache-2.0
"""Several Weirs over one API server, of which one writes; and Weir as it runs in a Pod."""
import contextlib
import os
import signal
import time

from rig import expect, expect_eq, takes, wait_until
from test_kube_source import BASE, TOKEN, Double, gateway_objects, obj, wait_answer
from test_kube_status import DEMO, LEASES, get

N_ROUTES = 6


class Node:
    """A Weir: a rig with a dataplane and peers of its own, and a weir-ctrl in the namespace of the double."""

    def __init__(self, rig, double, index):
        self.rig, self.double, self.admin = rig, double, f"127.0.0.1:{9901 + index}"

    def start(self):
        self.rig._spawn("ctrl", [self.rig.build / "ctrl/weir-ctrl", "--kubeconfig", self.double.kubeconfig, "--socket",
                                 self.rig.dir / "dataplane.sock", "--admin", self.admin, "--user", "nobody"], self.double.rig.ns)

    def is_running(self):
        return "ctrl" in self.rig.procs

    def metric(self, name):
        """0 where nobody answers."""
        p = self.double.rig.run(["curl", "-sf", "-m", "60", f"http://{self.admin}/metrics"], check=False)
        found = [line for line in p.stdout.decode().splitlines() if line.startswith(f"weir_ctrl_{name} ")]
        return float(found[0].split()[1]) if found else 0

    def is_writing(self):
        return self.metric("status_writing") == 1

    def answers(self, host):
        status, _, body = self.rig.curl("/", host=host, check=False)
        return status == 200 and body.startswith("api")


@contextlib.contextmanager
def two_weirs(make, objects, node=Node):
    with make(ctrl=False, manifests={}) as a, make(ctrl=False, manifests={}) as b:
        double = Double(a, objects)
        nodes = [node(a, double, 0), node(b, double, 1)]
        for n in nodes:
            n.start()
        yield double, nodes
        for n in nodes:
            if n.is_running():
                expect_eq(n.rig.stop("ctrl"), 0, "weir-ctrl's exit status")


def routes(n):
    return [obj("gateway.networking.k8s.io/v1", "HTTPRoute", f"r{i}", spec={
        "parentRefs": [{"name": "edge"}], "hostnames": ["gw.example.com", f"h{n}.example.com"],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": f"/{i}" if i else "/"}}],
                   "backendRefs": [{"name": "api", "port": 80}]}]}) for i in range(N_ROUTES)]


def is_told(double, token=TOKEN):
    """Each route's status is of its newest generation. token: what we ask with."""
    for i in range(N_ROUTES):
        route = get(double, f"{DEMO}/httproutes/r{i}", token)
        found = {c["observedGeneration"] for p in route.get("status", {}).get("parents", []) for c in p["conditions"]}
        if found != {route["metadata"]["generation"]}:
            return False
    return True


@takes(25)
def test_two_weirs_share_a_lease_and_lose_no_write_when_its_holder_is_killed(make):
    with two_weirs(make, BASE + gateway_objects() + routes(0)) as (double, nodes):
        for n in nodes:
            wait_until("it serves", lambda n=n: n.answers("gw.example.com"))
        wait_until("one writes", lambda: sum(n.is_writing() for n in nodes) == 1)
        holder, other = sorted(nodes, key=lambda n: not n.is_writing())
        wait_until("all is told", lambda: is_told(double))
        expect(holder.metric("status_written_total") > 0, "the holder has written")
        expect_eq((other.metric("status_written_total"), other.metric("events_created_total")), (0, 0), "writes of the other")
        for n in range(1, 4):
            double.apply(*routes(n))
            wait_until("all is told", lambda: is_told(double))
            expect_eq([n.is_writing() for n in (holder, other)], [True, False], "who writes")
        double.fault("fieldManager=weir-ctrl", times=1000, delay=2)  # what it writes is under way when it is killed
        double.apply(*routes(4))
        time.sleep(0.5)
        holder.rig.stop("ctrl", signal.SIGKILL)
        killed = time.monotonic()
        double.apply(*routes(5))
        while not other.is_writing():  # meanwhile both serve, the other the new routes too
            expect(time.monotonic() - killed < 90, "the other one takes over")
            expect(all(n.answers("gw.example.com") for n in nodes), "both serve while nobody writes")
            time.sleep(0.2)
        print(f"      taken over {time.monotonic() - killed:.1f} s after kill -9", flush=True)
        wait_until("what changed after the kill is served", lambda: other.answers("h5.example.com"))
        double.tell("forgive")
        wait_until("all is told", lambda: is_told(double), 120)
        holder.start()
        wait_until("it serves the newest routes", lambda: holder.answers("h5.example.com"))
        double.apply(*routes(6))
        wait_until("all is told", lambda: is_told(double))
        expect_eq([n.is_writing() for n in (holder, other)], [False, True], "who writes")
        expect_eq(holder.metric("status_written_total"), 0, "writes of who came back")
        began = time.monotonic()
        expect_eq(other.rig.stop("ctrl"), 0, "exit status")  # it gives the Lease back
        wait_until("the first one has it again", holder.is_writing, 120)
        print(f"      taken over {time.monotonic() - began:.1f} s after SIGTERM", flush=True)
        double.apply(*routes(7))
        wait_until("all is told", lambda: is_told(double))
        expect(all(n.answers("gw.example.com") for n in nodes), "both serve")
        expect_eq(get(double, LEASES)["spec"]["leaseTransitions"], 1, "the Lease went from a holder to another once; the second time it was free")


def write_files(rig, token, ca):
    """As the kubelet does it: a folder of each version, and a link that is renamed."""
    folder = rig.dir / "account"
    folder.mkdir(exist_ok=True)
    version = folder / f"..{token}"
    version.mkdir()
    for name, text in (("token", token), ("ca.crt", ca), ("namespace", "weir-system")):
        (version / name).write_text(text)
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    (folder / "..tmp").symlink_to(version.name)
    os.rename(folder / "..tmp", folder / "..data")
    return folder


def start_in_pod(rig, folder, port):
    """With the files of its service account where a Pod has them, in a file system of its own, and Kubernetes' environment."""
    script = ("set -e; mount -t tmpfs none /run; d=/run/secrets/kubernetes.io/serviceaccount; mkdir -p $d; "
              "mount --bind $1 $d; shift; export KUBERNETES_SERVICE_HOST=127.0.0.1 KUBERNETES_SERVICE_PORT=$1; shift; exec \"$@\"")
    rig._spawn("ctrl", ["unshare", "-m", "sh", "-c", script, "sh", folder, port, rig.build / "ctrl/weir-ctrl", "--in-cluster",
                        "--socket", rig.dir / "dataplane.sock", "--admin", "127.0.0.1:9901", "--user", "nobody"], rig.ns)


def test_in_a_pod_the_service_account_is_followed_as_its_token_rotates(make):
    with make(ctrl=False, manifests={}) as rig:
        double = Double(rig, BASE + gateway_objects() + routes(0), tls=True)
        ca = (rig.dir / "double.crt").read_text()
        start_in_pod(rig, write_files(rig, TOKEN, ca), double.port)
        rig.wait_healthy()
        wait_answer(rig, "gw.example.com", "api")
        wait_until("all is told", lambda: is_told(double))
        for n in range(1, 4):
            write_files(rig, f"token-{n}", ca)
            double.tell("tokens", [f"token-{n}"])
            double.tell("cut")  # watches go on for as long as they were let in
            double.apply(*routes(n))
            wait_answer(rig, f"h{n}.example.com", "api", 120)
            wait_until("all is told", lambda n=n: is_told(double, f"token-{n}"), 120)
        expect(double.stats().get("unauthorized", 0) >= 1, "an old token was refused, so the new one was read")
        write_files(rig, "token-none", ca)
        double.tell("tokens", ["another"])  # nothing works any more: what is known is served
        double.tell("cut")
        wait_until("it is seen", lambda: rig.metrics()["weir_ctrl_kube_healthy"] == 0, 120)
        wait_answer(rig, "h3.example.com", "api")
        double.tell("tokens", ["token-none"])
        double.apply(*routes(4))
        wait_answer(rig, "h4.example.com", "api", 120)
        expect_eq(rig.stop("ctrl"), 0, "exit status")


def test_outside_of_a_pod_in_cluster_says_what_is_missing(make):
    with make(ctrl=False, manifests={}) as rig:
        p = rig.run([rig.build / "ctrl/weir-ctrl", "--in-cluster", "--socket", rig.dir / "dataplane.sock", "--admin", "127.0.0.1:9901"],
                    check=False)
        expect(p.returncode == 1 and b"KUBERNETES_SERVICE_HOST" in p.stderr, f"{p.returncode} {p.stderr}")
