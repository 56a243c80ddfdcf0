# SPDX-License-Identifier: Apache-2.0
"""weir-ctrl follows an API server: the double of tests/double, which fails in the ways a real one does."""
import contextlib
import copy
import json
import pathlib
import random
import signal
import sys

from rig import API, PEER4, PEER6, WEB, expect, expect_eq, takes, wait_until

DOUBLE = pathlib.Path(__file__).resolve().parents[1] / "double/apiserver.py"
TOKEN = "a-token"


def obj(api, kind, name, ns="demo", labels=None, **rest):
    meta = {"name": name}
    if ns:
        meta["namespace"] = ns
    if labels:
        meta["labels"] = labels
    return {"apiVersion": api, "kind": kind, "metadata": meta, **rest}


def service(name, ns="demo"):
    return obj("v1", "Service", name, ns, spec={"ports": [{"name": "http", "port": 80}]})


def slice_(name, addr, port, ns="demo"):
    return obj("discovery.k8s.io/v1", "EndpointSlice", f"{name}-1", ns, {"kubernetes.io/service-name": name},
               addressType="IPv6" if ":" in addr else "IPv4", ports=[{"name": "http", "port": port}],
               endpoints=[{"addresses": [addr], "conditions": {"ready": True}}])


def ingress(name, host, svc, ns="demo", path="/"):
    backend = {"service": {"name": svc, "port": {"number": 80}}}
    return obj("networking.k8s.io/v1", "Ingress", name, ns, spec={"rules": [
        {"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}]})


def gateway_objects():
    return [obj("gateway.networking.k8s.io/v1", "GatewayClass", "weir", None, spec={"controllerName": "weir.dev/ingress-controller"}),
            obj("gateway.networking.k8s.io/v1", "Gateway", "edge", spec={
                "gatewayClassName": "weir", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}),
            obj("gateway.networking.k8s.io/v1", "HTTPRoute", "route", spec={
                "parentRefs": [{"name": "edge"}], "hostnames": ["gw.example.com"],
                "rules": [{"backendRefs": [{"name": "api", "port": 80}]}]})]


BASE = [obj("v1", "Namespace", "demo", None), service("web"), slice_("web", PEER4, WEB), service("api"), slice_("api", PEER6, API),
        ingress("shop", "shop.example.com", "web")]


class Double:
    """The double, in the rig's namespace, with its kubeconfig."""

    def __init__(self, rig, objects=BASE, tls=False, keeps=True):
        """keeps: the objects survive kill() and start(), at the cost of writing them all after each change."""
        self.rig, self.port, self.tls, self.keeps = rig, 6443, tls, keeps
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        cluster = {"server": self.url}
        if tls:
            self.make_certificate("double")
            cluster["certificate-authority"] = str(rig.dir / "double.crt")
        self.state = rig.dir / "apiserver.json"
        self.kubeconfig = rig.dir / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "double",
            "contexts": [{"name": "double", "context": {"cluster": "double", "user": "weir"}}],
            "clusters": [{"name": "double", "cluster": cluster}],
            "users": [{"name": "weir", "user": {"token": TOKEN}}]}))
        self.kubeconfig.chmod(0o644)
        self.start()
        self.apply(*objects)

    def make_certificate(self, name):
        self.rig.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-keyout", self.rig.dir / f"{name}.key", "-out", self.rig.dir / f"{name}.crt", "-subj", "/CN=double",
                      "-addext", "subjectAltName=IP:127.0.0.1"])

    def start(self, certificate="double"):
        cert = ["--cert", self.rig.dir / f"{certificate}.crt", "--key", self.rig.dir / f"{certificate}.key"] if self.tls else []
        state = ["--state", self.state] if self.keeps else []
        self.rig._spawn("double", [sys.executable, DOUBLE, "--port", self.port, "--token", TOKEN, *state, *cert],
                        self.rig.ns)
        wait_until("the double", lambda: self.rig.run(
            ["curl", "-sk", "-m", "20", f"{self.url}/double/stats"], check=False).returncode == 0)

    def kill(self):
        self.rig.stop("double", signal.SIGKILL)

    def tell(self, what, body=None, method="POST"):
        p = self.rig.run(["curl", "-sSk", "-m", "60", "-X", method, "--data-binary", "@-",
                          f"{self.url}/double/{what}"], input=json.dumps(body).encode() if body is not None else b"")
        return json.loads(p.stdout)

    def apply(self, *objects):
        self.tell("apply", objects, "PUT")

    def delete(self, kind, name, ns="demo"):
        self.tell("delete", {"kind": kind, "name": name, "namespace": ns})

    def fault(self, match, times=1, **what):
        self.tell("faults", dict(what, match=match, times=times))

    def stats(self):
        return json.loads(self.rig.run(["curl", "-sSk", "-m", "60", f"{self.url}/double/stats"]).stdout)


@contextlib.contextmanager
def following(make, objects=BASE, start=True, ctrl_args=(), tls=False):
    with make(ctrl=False, manifests={}) as rig:
        double = Double(rig, objects, tls)
        rig.ctrl_source = ["--kubeconfig", double.kubeconfig, "--ingress-without-class"]
        if start:
            rig.start_ctrl(*ctrl_args)
            rig.wait_healthy()
        yield rig, double
        if "ctrl" in rig.procs:
            expect_eq(rig.stop("ctrl"), 0, "weir-ctrl's exit status")


def answers(rig, host, text, path="/"):
    status, _, body = rig.curl(path, host=host, check=False)
    return (status == 200 and body.startswith(text)) if text else status == 404


def wait_answer(rig, host, text, seconds=60.0, path="/"):
    """Until the host is answered by the backend whose answers begin so (None: by nobody)."""
    wait_until(f"{host} is answered by {text}", lambda: answers(rig, host, text, path), seconds)


def total(rig, name):
    return rig.metrics()[f"weir_ctrl_kube_{name}_total"]


def test_ingress_without_a_class_is_nobodys_where_no_class_is_the_default(make):
    ours = obj("networking.k8s.io/v1", "IngressClass", "weir", "", spec={"controller": "weir.dev/ingress-controller"})
    default = copy.deepcopy(ours)
    default["metadata"]["annotations"] = {"ingressclass.kubernetes.io/is-default-class": "true"}
    named = ingress("named", "named.example.com", "web")
    named["spec"]["ingressClassName"] = "weir"
    with following(make, [*BASE, ours, named], start=False) as (rig, double):
        rig.ctrl_source = ["--kubeconfig", double.kubeconfig]
        rig.start_ctrl()
        rig.wait_healthy()
        wait_answer(rig, "named.example.com", "web")
        expect(answers(rig, "shop.example.com", None), "an Ingress without a class is served")
        double.apply(default)
        wait_answer(rig, "shop.example.com", "web")
        double.apply(ours)
        wait_answer(rig, "shop.example.com", None)


def test_routes_and_endpoints_follow_the_api_server(make):
    with following(make) as (rig, double):
        wait_answer(rig, "shop.example.com", "web")
        double.apply(ingress("shop", "shop.example.com", "api"))
        wait_answer(rig, "shop.example.com", "api")
        double.apply(slice_("api", PEER4, WEB))
        wait_answer(rig, "shop.example.com", "web")
        double.apply(ingress("other", "other.example.com", "web"), *gateway_objects())
        wait_answer(rig, "other.example.com", "web")
        double.apply(slice_("api", PEER6, API))
        wait_answer(rig, "gw.example.com", "api")
        double.delete("Ingress", "other")
        wait_answer(rig, "other.example.com", None)
        double.delete("HTTPRoute", "route")
        wait_answer(rig, "gw.example.com", None)
        expect_eq(total(rig, "failed") + total(rig, "malformed"), 0, "requests that failed")
        status = rig.weirctl_json("status")["kubernetes"]
        expect_eq((status["synced"], status["kinds_healthy"], status["problem"]), (True, status["kinds"], ""), "status")
        expect("kinds up to date" in rig.weirctl("status"), "weirctl status tells of Kubernetes")


def test_tls_and_a_certificate_that_is_not_trusted(make):
    with following(make, tls=True) as (rig, double):
        wait_answer(rig, "shop.example.com", "web")
        double.kill()
        double.start()
        double.apply(ingress("shop", "shop.example.com", "api"))
        wait_answer(rig, "shop.example.com", "api")
        double.kill()
        double.make_certificate("other")
        double.start("other")  # which weir-ctrl's configuration knows not
        expect_eq(rig.stop("ctrl"), 0, "exit status")
        rig.start_ctrl()
        wait_until("it is refused", lambda: total(rig, "failed") > 3)
        expect(not rig.weirctl_json("status")["kubernetes"]["synced"], "nothing is believed of it")
        expect(answers(rig, "shop.example.com", "api"), "the routes of before are served")


def test_long_lists_come_in_pages(make):
    many = [ingress(f"r{i}", f"host{i}.example.com", "web") for i in range(1203)]
    with following(make, BASE + many) as (rig, double):
        for i in (0, 499, 500, 1202):
            wait_answer(rig, f"host{i}.example.com", "web")
        expect_eq(double.stats()["page"], 2, "further pages that were asked for")


def test_nothing_is_published_before_everything_is_listed(make):
    with following(make, start=False) as (rig, double):
        double.fault("/endpointslices", 10000, status=500)
        rig.start_ctrl()
        wait_until("all other kinds are listed", lambda: total(rig, "lists_complete") >= 8)
        for url in ("healthz", "readyz"):
            p = rig.run(["curl", "-s", "-w", "%{http_code}", f"http://127.0.0.1:9901/{url}"])
            expect(b"not all of Kubernetes is listed" in p.stdout and p.stdout.endswith(b"503"), f"{url}: {p.stdout}")
        expect_eq(rig.weirctl_json("status")["generation"], 0, "generation")
        double.tell("faults", {"match": "nothing"})
        double.kill()
        double.start()  # without faults
        rig.wait_healthy()
        wait_answer(rig, "shop.example.com", "web")


def test_server_that_is_killed_leaves_the_routes_and_is_followed_again(make):
    with following(make) as (rig, double):
        wait_answer(rig, "shop.example.com", "web")
        double.kill()
        wait_until("weir-ctrl sees it", lambda: rig.metrics()["weir_ctrl_kube_healthy"] < rig.metrics()["weir_ctrl_kube_kinds"])
        expect(answers(rig, "shop.example.com", "web"), "the routes are served without an API server")
        expect(rig.is_healthy(), "and weir-ctrl is well")
        expect(rig.weirctl_json("status")["kubernetes"]["problem"], "the status says what is wrong")
        double.start()
        double.apply(ingress("shop", "shop.example.com", "api"))
        wait_answer(rig, "shop.example.com", "api")
        wait_until("all kinds are healthy", lambda: rig.metrics()["weir_ctrl_kube_healthy"] == rig.metrics()["weir_ctrl_kube_kinds"])


def test_place_that_is_forgotten_is_listed_again(make):
    with following(make) as (rig, double):
        wait_answer(rig, "shop.example.com", "web")
        with_ctrl_stopped(rig, lambda: (double.tell("cut"), double.tell("compact"), double.apply(
            ingress("shop", "shop.example.com", "api"), ingress("new", "new.example.com", "web")), double.tell("compact")))
        wait_answer(rig, "shop.example.com", "api")
        wait_answer(rig, "new.example.com", "web")
        wait_until("410 was seen", lambda: total(rig, "expired") > 0)
        with_ctrl_stopped(rig, lambda: (double.tell("cut"), double.delete("Ingress", "new"), double.tell("compact")))
        wait_answer(rig, "new.example.com", None)  # a deletion that no event told


def with_ctrl_stopped(rig, what):
    """While weir-ctrl stands still, so that it sees all of it at once."""
    rig.procs["ctrl"].send_signal(signal.SIGSTOP)
    try:
        what()
    finally:
        rig.procs["ctrl"].send_signal(signal.SIGCONT)


def test_cut_connections_lose_no_change(make):
    with following(make) as (rig, double):
        for i in range(6):
            double.tell("cut", {"mid_object": i % 2 == 1})
            double.apply(ingress("shop", "shop.example.com", "api" if i % 2 == 0 else "web"))
            wait_answer(rig, "shop.example.com", "api" if i % 2 == 0 else "web")
        expect(total(rig, "failed") > 0, "cuts were seen")


@takes(25)
def test_garbage_keeps_the_last_state_then_converges(make):
    status = '{"type":"ADDED","object":{"kind":"Ingress","metadata":{"name":[1],"resourceVersion":"9999999"}}}\n'
    with following(make) as (rig, double):
        for i, garbage in enumerate(["<html>garbage", '{"type":7}\n', "\x00\x01", '{"type":"MODIFIED","object":{"metadata":{}}}\n']):
            double.fault("/ingresses?limit", 1, body="<html>not Kubernetes")
            double.fault("/ingresses?limit", 1, body='{"kind":"IngressList","metadata":{"resourceVersion":"1"},"items":[')
            double.fault("/ingresses?limit", 1, truncate=150)
            double.fault("/ingresses?watch", 1, event=garbage)
            wait_until("the garbage was read", lambda: total(rig, "malformed") >= 3 * i + 1)
            expect(answers(rig, "shop.example.com", "web" if i % 2 == 0 else "api"), "what is known is served")
            double.apply(ingress("shop", "shop.example.com", "api" if i % 2 == 0 else "web"))
            wait_answer(rig, "shop.example.com", "api" if i % 2 == 0 else "web")
        double.fault("/ingresses?watch", 1, event=status)  # an object that is wrong, within a stream that is right
        wait_until("a problem", lambda: any(p["kind"] == "Ingress" for p in rig.weirctl_json("status")["problem_list"]))
        expect(answers(rig, "shop.example.com", "web"), "all else is served")


def test_server_that_asks_to_wait_is_obeyed(make):
    with following(make) as (rig, double):
        double.fault("/ingresses?watch", 1, status=429, retry_after=2)
        double.tell("cut")
        wait_until("429 was seen", lambda: total(rig, "throttled") == 1)
        double.apply(ingress("shop", "shop.example.com", "api"))
        wait_answer(rig, "shop.example.com", "api")


def test_kinds_that_appear_later_are_noticed(make):
    with following(make, start=False) as (rig, double):
        double.tell("crds", {"served": False})
        rig.start_ctrl()
        rig.wait_healthy()
        wait_answer(rig, "shop.example.com", "web")
        double.tell("crds", {"served": True})
        double.apply(*gateway_objects())
        wait_answer(rig, "gw.example.com", "api", 120)


def test_only_the_namespaces_that_are_named_are_followed(make):
    objects = BASE + [service("web", "two"), slice_("web", PEER4, WEB, "two"), ingress("two", "two.example.com", "web", "two"),
                      service("web", "three"), slice_("web", PEER4, WEB, "three"), ingress("three", "three.example.com", "web", "three")]
    with following(make, objects, ctrl_args=("--namespace", "demo", "--namespace", "two")) as (rig, double):
        wait_answer(rig, "shop.example.com", "web")
        wait_answer(rig, "two.example.com", "web")
        expect(answers(rig, "three.example.com", None), "the third namespace is not read")


def test_only_routes_with_the_labels_are_followed(make):
    mine, other = ingress("mine", "mine.example.com", "web"), ingress("other", "other.example.com", "web")
    mine["metadata"]["labels"], other["metadata"]["labels"] = {"edge": "a"}, {"edge": "b"}
    with following(make, BASE + [mine, other], ctrl_args=("--selector", "edge=a")) as (rig, double):
        wait_answer(rig, "mine.example.com", "web")
        expect(answers(rig, "other.example.com", None), "a route with another label is not read")
        other["metadata"]["labels"] = {"edge": "a"}
        double.apply(other)
        wait_answer(rig, "other.example.com", "web")
        mine["metadata"]["labels"] = {"edge": "b"}
        double.apply(mine)
        wait_answer(rig, "mine.example.com", None)


def test_random_failures_lose_no_change(make):
    """Whatever happens on the way, in the end the routes are those of a weir-ctrl that has just started."""
    rng = random.Random(5)
    hosts = [f"h{i}.example.com" for i in range(12)]
    have = {}
    with following(make) as (rig, double):
        for _ in range(60):
            i = rng.randrange(len(hosts))
            if i in have and rng.random() < 0.4:
                double.delete("Ingress", f"h{i}")
                del have[i]
            else:
                have[i] = rng.choice(["web", "api"])
                double.apply(ingress(f"h{i}", hosts[i], have[i]))
            x = rng.random()
            if x < 0.1:
                double.tell("cut", {"mid_object": rng.random() < 0.5})
            elif x < 0.2:
                double.tell("compact")
            elif x < 0.3:
                double.fault(rng.choice(["limit", "watch", "/ingresses"]), 1, status=rng.choice([500, 503, 429, 410, 404]))
                double.tell("cut")
            elif x < 0.4:
                double.fault("watch", 1, event=rng.choice(["{", "garbage", "[]"]))
            elif x < 0.45:
                double.kill()
                double.start()
        for i, host in enumerate(hosts):
            wait_answer(rig, host, have.get(i), 120)
        routes = rig.weirctl_json("routes")
        wait_until("all kinds are healthy", lambda: rig.metrics()["weir_ctrl_kube_healthy"] == rig.metrics()["weir_ctrl_kube_kinds"], 120)
        expect_eq(rig.stop("ctrl"), 0, "exit status")
        rig.start_ctrl()
        rig.wait_healthy()
        expect_eq(rig.weirctl_json("routes"), routes, "the routes of a weir-ctrl that has just started")
