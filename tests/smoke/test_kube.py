# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes of tests (scripts/kube-rig) itself: what it does for Pods is what Weir's tests with it rely on."""
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from rig import Skipped, expect, expect_eq, gateway, ingress, service, slice_, takes, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance/kube"))
import kube_rig  # noqa: E402
from kube_procs import begin_of  # noqa: E402
from kube_suite import parse_results  # noqa: E402
from kube_weir import POOL, Weir  # noqa: E402


def plain_kube(fn):
    """A test of the shared rig that makes its own namespaces: fn(make, rig)."""
    @functools.wraps(fn)
    def test(make):
        try:
            rig = kube_rig.shared()
        except kube_rig.Missing as e:
            raise Skipped(str(e)) from e
        fn(make, rig)
    test.not_sanitized = True  # there is no C in it but what other tests have
    test.group = "kube"  # one rig for all, which some of them disturb
    test.seconds = 8
    return test


def kube_test(fn):
    """A test of the shared rig, in a Kubernetes namespace of its own: fn(make, rig, namespace)."""
    @plain_kube
    @functools.wraps(fn)
    def test(make, rig):
        namespace = fn.__name__.replace("_", "-")[5:60].strip("-")
        rig.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")
        try:
            fn(make, rig, namespace)
        finally:
            rig.kubectl("delete", "namespace", namespace, "--wait=false")
    return test


def wait_alone(rig):
    """Until nothing is left of earlier tests, whose namespaces are deleted without waiting for that."""
    wait_until("what earlier tests had is gone", lambda: not any(
        rig.get(kind, None, None, "-A") for kind in ("ingresses", "gateways", "listenersets", "httproutes")), 180)


def echo(namespace, replicas=3, stop_s=1):
    """A Deployment of echo-basic, which serves while it is terminating, and its Service."""
    return f"""apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: {namespace}}}
spec: {{selector: {{app: echo}}, ports: [{{name: http, port: 80, targetPort: 3000}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: echo, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: echo}}}}
  template:
    metadata: {{labels: {{app: echo}}}}
    spec:
      containers:
      - name: echo
        image: registry.k8s.io/gateway-api/echo-basic:v1.5.1
        env: [{{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}]
        readinessProbe: {{httpGet: {{path: /health, port: 3000}}, periodSeconds: 1, timeoutSeconds: 20}}
        lifecycle: {{preStop: {{sleep: {{seconds: {stop_s}}}}}}}
"""


def run_echo(rig, namespace, replicas=3, **kw):
    """The addresses of its Pods, once all are ready endpoints."""
    rig.apply(echo(namespace, replicas, **kw))
    return wait_ready(rig, namespace, replicas)


def wait_ready(rig, namespace, n):
    def ready():
        found = rig.endpoints("echo", namespace)
        return len(found) == n and all(c.get("ready") for _, _, c in found) and sorted(a for a, _, _ in found)
    return wait_until(f"{n} ready endpoints", ready, 180)


def ask(rig, address, port=3000, *args, scheme="http"):
    """The JSON that echo-basic answers."""
    host = f"[{address}]" if ":" in address else address
    return json.loads(rig.run(["curl", "-sSkgf", "-m", "60", *args, f"{scheme}://{host}:{port}/x"]).stdout)


@kube_test
def test_pods_of_a_deployment_are_ready_endpoints_that_answer(make, rig, ns):
    addresses = run_echo(rig, ns)
    names = {ask(rig, a)["pod"] for a in addresses}
    pods = rig.get("pods", None, ns)
    expect_eq(names, {p["metadata"]["name"] for p in pods}, "who answers")
    for p in pods:
        expect_eq(ask(rig, p["status"]["podIPs"][1]["ip"])["pod"], p["metadata"]["name"], "over IPv6")
    expect(len({p["spec"]["nodeName"] for p in pods}) == 2, "they are spread over the nodes")


@kube_test
def test_pods_are_reached_from_the_dataplanes_side(make, rig, ns):
    address = run_echo(rig, ns, 1)[0]
    inside = ["ip", "netns", "exec", rig.ns_weir]
    kube_rig.ip("-n", rig.ns_weir, "addr", "add", "10.90.0.250/24", "dev", "port0")
    try:
        kube_rig.ip("-n", rig.ns_weir, "route", "add", "10.91.0.0/16", "via", kube_rig.TEST4)
        out = subprocess.run([*inside, "curl", "-sSf", "-m", "60", f"http://{address}:3000/"], capture_output=True, timeout=120)
        expect_eq(out.returncode, 0, out.stderr.decode())
    finally:
        kube_rig.ip("-n", rig.ns_weir, "addr", "flush", "dev", "port0")


@kube_test
def test_requests_to_any_address_of_the_pool_reach_pods_through_weir(make, rig, ns):
    pods = run_echo(rig, ns, 2)
    slices = "".join(slice_(f"echo{i}", a, 3000) for i, a in enumerate(pods))
    routes = "".join(service(f"echo{i}") + ingress(f"echo{i}", f"echo{i}.example.com", [("/", "Prefix", f"echo{i}")])
                     for i in range(len(pods)))
    with Weir(rig, make.args[0], manifests={"all.yaml": gateway() + slices + routes}) as weir:
        wait_until("weir-ctrl is healthy", weir.is_healthy)
        for address in (POOL[0], POOL[-1], kube_rig.WEIR6):
            names = [ask(rig, address, 80, "-H", f"Host: echo{i}.example.com")["pod"] for i in range(len(pods))]
            expect_eq(len(set(names)), 2, f"both Pods by {address}")


@kube_test
def test_deleted_pods_serve_while_they_are_terminating(make, rig, ns):
    pods = run_echo(rig, ns, 3, stop_s=25)
    rig.kubectl("scale", "deployment/echo", "-n", ns, "--replicas=0")

    def terminating():
        found = rig.endpoints("echo", ns)
        return len(found) == 3 and all(c["terminating"] and c["serving"] and not c["ready"] for _, _, c in found)
    wait_until("all endpoints are terminating", terminating)
    for a in pods:
        ask(rig, a)
    rig.kubectl("delete", "pods", "--all", "-n", ns, "--force", "--wait=false")  # that was all they stayed for
    wait_until("no endpoints", lambda: not rig.endpoints("echo", ns), 60)
    wait_until("no Pods", lambda: not rig.get("pods", None, ns))
    for a in pods:
        expect(rig.run(["curl", "-s", "-m", "2", f"http://{a}:3000/"], check=False).returncode != 0, f"{a} is gone")


@kube_test
def test_rolling_restart_replaces_every_pod(make, rig, ns):
    before = run_echo(rig, ns)
    rig.kubectl("rollout", "restart", "deployment/echo", "-n", ns)
    rig.kubectl("rollout", "status", "deployment/echo", "-n", ns, "--timeout=300s", timeout=360)
    after = wait_ready(rig, ns, 3)
    expect_eq(set(before) & set(after), set(), "addresses used again")
    for a in after:
        ask(rig, a)


@kube_test
def test_secrets_and_configmaps_are_mounted(make, rig, ns):
    cert, key = rig.dir / "pki/server.crt", rig.dir / "pki/server.key"
    rig.kubectl("create", "secret", "tls", "tls", "-n", ns, f"--cert={cert}", f"--key={key}")
    rig.kubectl("create", "configmap", "words", "-n", ns, "--from-literal=word=sesame")
    rig.apply(f"""apiVersion: v1
kind: Pod
metadata: {{name: tls, namespace: {ns}}}
spec:
  containers:
  - name: echo
    image: registry.k8s.io/gateway-api/echo-basic:v1.5.1
    volumeMounts: [{{name: secret-volume, mountPath: /etc/secret-volume}}]
    env:
    - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
    - {{name: TLS_SERVER_CERT, value: /etc/secret-volume/crt}}
    - {{name: TLS_SERVER_PRIVKEY, value: /etc/secret-volume/key}}
  - name: words
    image: weir.test/host
    command: [/bin/sh, -c, 'cat /etc/words/word; echo; id -u; ls /etc/passwd; exec sleep 1000']
    volumeMounts: [{{name: words, mountPath: /etc/words}}]
  volumes:
  - {{name: secret-volume, secret: {{secretName: tls, items: [{{key: tls.crt, path: crt}}, {{key: tls.key, path: key}}]}}}}
  - {{name: words, configMap: {{name: words}}}}
""")
    rig.kubectl("wait", "pod/tls", "-n", ns, "--for=condition=Ready", "--timeout=180s", timeout=240)
    address = rig.get("pod", "tls", ns)["status"]["podIP"]
    wait_until("HTTPS", lambda: rig.run(["curl", "-sk", "-m", "20", f"https://{address}:8443/"], check=False).returncode == 0)
    expect_eq(ask(rig, address, 8443, scheme="https")["tls"]["version"], "TLSv1.3", "TLS of the Pod")
    logs = wait_until("its log", lambda: rig.kubectl("logs", "tls", "-c", "words", "-n", ns).stdout)
    expect_eq(logs.split(), ["sesame", "0", "/etc/passwd"], "what a container sees")
    expect(not os.path.exists("/etc/words") and not os.path.exists("/etc/secret-volume"), "the host's own files are as before")


@kube_test
def test_logs_are_read_since_a_time(make, rig, ns):
    address = run_echo(rig, ns, 1)[0]
    ask(rig, address)
    pod = rig.get("pods", None, ns)[0]["metadata"]["name"]
    wait_until("the request is in the log", lambda: "made to /x" in rig.kubectl("logs", pod, "-n", ns).stdout)
    time.sleep(1.1)  # it has the time of its reading, and a time that is asked for has no parts of a second
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    logs = rig.kubectl("logs", pod, "-n", ns, f"--since-time={since}").stdout
    expect("made to /x" not in logs, f"older than asked for: {logs}")


@kube_test
def test_unknown_image_is_said_in_the_status(make, rig, ns):
    rig.apply(f"""apiVersion: v1
kind: Pod
metadata: {{name: odd, namespace: {ns}}}
spec: {{containers: [{{name: odd, image: example.com/odd:1}}]}}
""")

    def message():
        statuses = rig.get("pod", "odd", ns)["status"].get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting", {}).get("message", "")
    wait_until("the reason in its status", lambda: "no program for the image" in message())


ASK_DNS = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect((sys.argv[1], 53))
s.send(bytes.fromhex("12340100000100000000000003666f6f036261720000010001"))  # foo.bar. IN A
a = s.recv(512)
print(a[:2].hex(), a[3] & 15, a[7])
"""


@kube_test
def test_dns_stand_in_answers_over_udp(make, rig, ns):
    rig.apply(f"""apiVersion: v1
kind: Pod
metadata: {{name: dns, namespace: {ns}}}
spec: {{containers: [{{name: dns, image: "registry.k8s.io/coredns/coredns:v1.12.2", args: [-conf, /root/Corefile]}}]}}
""")
    rig.kubectl("wait", "pod/dns", "-n", ns, "--for=condition=Ready", "--timeout=180s", timeout=240)
    address = rig.get("pod", "dns", ns)["status"]["podIP"]
    answer = wait_until("an answer", lambda: rig.run([sys.executable, "-c", ASK_DNS, address], check=False).stdout.split())
    expect_eq(answer, ["1234", "0", "1"], "id, rcode, answers")


def processes_of(rig):
    """{process: when it began} of the rig's programs, and of those that they started, such as the Pods'."""
    parents = {}
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parents[int(p.name)] = int((p / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            pass
    found = {rig.procs.pid(name) for name in rig.procs.names()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: begin_of(pid) for pid in found if pid}


def still_running(processes):
    return [pid for pid, begin in processes.items() if begin is not None and begin_of(pid) == begin]


@kube_test
def test_programs_of_pods_do_not_outlive_the_kubelet(make, rig, ns):
    run_echo(rig, ns, 2)
    of_pods = {pid: begin for pid, begin in processes_of(rig).items() if is_program(pid, "/echo-basic")}
    expect(len(of_pods) >= 2, f"{len(of_pods)} processes")
    rig.procs.end("kubelet", 20, signal.SIGKILL)
    try:
        wait_until("the Pods' processes are gone", lambda: not still_running(of_pods))
    finally:
        rig.start_kubelet()  # other tests need it
    wait_ready(rig, ns, 2)


def is_program(pid, name):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] == name.encode()
    except OSError:
        return False


@kube_test
def test_objects_outlive_a_killed_api_server(make, rig, ns):
    before = run_echo(rig, ns, 2)
    rig.procs.end("apiserver", 20, signal.SIGKILL)
    ask(rig, before[0])
    rig.start_apiserver()
    expect_eq(wait_ready(rig, ns, 2), before, "endpoints")
    rig.kubectl("scale", "deployment/echo", "-n", ns, "--replicas=3")
    wait_ready(rig, ns, 3)


@kube_test
def test_watch_from_before_a_compaction_is_gone(make, rig, ns):
    before = rig.get("namespace", ns)["metadata"]["resourceVersion"]
    run_echo(rig, ns, 1)
    rig.procs.end("apiserver", 20)
    rig.compact()
    rig.start_apiserver()
    watch = rig.kubectl("get", "--raw", f"/api/v1/pods?watch=1&resourceVersion={before}&timeoutSeconds=5").stdout
    event = json.loads(watch.splitlines()[0])
    expect_eq((event["type"], event["object"]["code"]), ("ERROR", 410), "what the watch gives")


def answer(rig, host):
    """Status with which Weir answers; 0 if it does not."""
    argv = ["curl", "-s", "-o", "/dev/null", "-m", "30", "-w", "%{http_code}", "-H", f"Host: {host}", f"http://{kube_rig.WEIR4}/"]
    return int(rig.run(argv, check=False).stdout)


def apply_route(rig, ns, host):
    rig.apply(f"""apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: echo, namespace: {ns}}}
spec:
  rules:
  - host: {host}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: echo, port: {{number: 80}}}}}}}}]}}
""")
    wait_until(f"{host} is served", lambda: answer(rig, host) == 200)


@kube_test
def test_weir_follows_an_api_server_that_is_killed_and_compacted(make, rig, ns):
    run_echo(rig, ns, 2)
    with Weir(rig, make.args[0]) as weir:
        wait_until("weir-ctrl is healthy", weir.is_healthy)
        apply_route(rig, ns, "one.example.com")
        rig.kubectl("scale", "deployment/echo", "-n", ns, "--replicas=1")
        wait_until("one endpoint", lambda: [len(b["endpoints"]) for b in weir.weirctl_json("backends") if b["name"].startswith(f"{ns}/")] == [1])
        for host in ("two.example.com", "three.example.com"):
            rig.procs.end("apiserver", 20, signal.SIGKILL)
            expect_eq(answer(rig, "one.example.com" if host[1] == "w" else "two.example.com"), 200, "without an API server")
            expect(weir.is_healthy(), "weir-ctrl is healthy without an API server")
            rig.compact()  # what weir-ctrl watches from is forgotten
            rig.start_apiserver()
            apply_route(rig, ns, host)
        kube = weir.weirctl_json("status")["kubernetes"]
        expect_eq((kube["synced"], kube["server"]), (True, kube_rig.API), "status")
        wait_until("all kinds are followed again", lambda: weir.weirctl_json("status")["kubernetes"]["kinds_healthy"] == kube["kinds"])
        metrics = rig.run(["curl", "-s", "-m", "60", "http://127.0.0.1:9901/metrics"]).stdout
        expired = next(line for line in metrics.splitlines() if line.startswith("weir_ctrl_kube_expired_total"))
        expect(float(expired.split()[1]) > 0, "a watch was answered 410")


@takes(15)
def test_down_leaves_nothing(make):
    try:
        rig = kube_rig.KubeRig(f"d{os.getpid()}", say=lambda text: None)
        rig.up()
    except kube_rig.Missing as e:
        raise Skipped(str(e)) from e
    try:
        run_echo(rig, "default", 2)
        rig.up()  # again: nothing to do
        processes = processes_of(rig)
        expect(len(processes) >= 6, f"etcd, API server, manager, kubelet and two Pods: {processes}")
    finally:
        rig.down()
    wait_until("its processes are gone", lambda: not still_running(processes))  # those of Pods are killed by the kernel, behind the kubelet
    names = subprocess.run(["ip", "netns"], capture_output=True, text=True, timeout=30).stdout
    expect(rig.ns not in names, names)
    expect(str(rig.dir) not in pathlib.Path("/proc/mounts").read_text(), "mounts")
    expect(not rig.dir.exists(), "its folder")


test_down_leaves_nothing.not_sanitized = True


def test_failed_start_names_the_piece_and_leaves_only_its_logs(make):
    began = {}

    class Broken(kube_rig.KubeRig):
        def start_apiserver(self):
            began.update(processes_of(self))
            self._spawn("apiserver", ["sh", "-c", "echo no luck; exit 3"])
            self.wait_for("apiserver", 10, lambda: False)
    rig = Broken(f"f{os.getpid()}", say=lambda text: None)
    try:
        rig.up()
        expect(False, "it is up")
    except kube_rig.Missing as e:
        raise Skipped(str(e)) from e
    except kube_rig.RigError as e:
        expect("apiserver" in str(e) and "no luck" in str(e), str(e))
        expect(began, "etcd ran")
        wait_until("its processes are gone", lambda: not still_running(began))
        expect(rig.ns not in subprocess.run(["ip", "netns"], capture_output=True, text=True, timeout=30).stdout, "namespaces")
    finally:
        rig.down()


test_failed_start_names_the_piece_and_leaves_only_its_logs.not_sanitized = True


def test_rig_is_started_once_however_many_want_it_at_the_same_time(make):
    started, inside, overlaps = [], [], []

    class Quick(kube_rig.KubeRig):
        """One that only takes its time."""

        def is_up(self):
            return (self.dir / "ready").exists()

        def _up(self):
            inside.append(1)
            overlaps.append(len(inside))
            started.append(self)
            self.dir.mkdir(parents=True)
            time.sleep(0.3)
            (self.dir / "ready").touch()
            inside.pop()

    rigs = [Quick(f"l{os.getpid()}", say=lambda text: None) for _ in range(4)]
    errors = []

    def up(rig):
        try:
            rig.up()
        except Exception as e:  # told below, in the thread of the test
            errors.append(e)
    try:
        threads = [threading.Thread(target=up, args=(r,)) for r in rigs]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if errors and isinstance(errors[0], kube_rig.Missing):
            raise Skipped(str(errors[0]))
        expect_eq((errors, len(started), overlaps), ([], 1, [1]), "errors, starts, how many at once")
    finally:
        rigs[0].down()
    expect(not rigs[0].dir.exists(), "its folder")
    expect(not list(rigs[0].dir.parent.glob(f".{rigs[0].id}*")), "its lock")


test_rig_is_started_once_however_many_want_it_at_the_same_time.not_sanitized = True


def test_results_of_the_suite_are_read_from_its_output(make):
    text = """\x16=== RUN   TestConformance/A
\x16=== RUN   TestConformance/A/inner
\x16--- FAIL: TestConformance/A/inner (1.50s)
\x16--- PASS: TestConformance/A (1.50s)
\x16=== RUN   TestConformance/B
    conformance.go:56: Skipping B: suite does not support GatewayPort8080
\x16--- SKIP: TestConformance/B (0.00s)
    conformance.go:67: Skipping W: test explicitly skipped
--- SKIP: TestConformance/W (0.00s)
    conformance.go:67: Skipping X: test explicitly skipped
    --- SKIP: TestConformance/X (0.00s)
    --- SKIP: TestConformance/Y (0.00s)
=== RUN   TestConformance/P
=== PAUSE TestConformance/P
=== RUN   TestConformance/Q
=== PAUSE TestConformance/Q
=== RUN   TestConformance/Z
=== CONT  TestConformance/Q
\x16--- FAIL: TestConformance/C (2.00s)
\x16--- FAIL: TestConformance (9.1s)
"""
    expect_eq([(r.name, r.outcome, r.reason) for r in parse_results(text, {"W": "TLS"})],
              [("A", "PASS", ""), ("B", "UNCLAIMED", "no GatewayPort8080"), ("W", "WAITS", "TLS"), ("X", "UNASKED", ""),
               ("Y", "SKIP", ""), ("C", "FAIL", ""), ("Q", "UNFINISHED", "did not end"), ("Z", "UNFINISHED", "did not end")], "results")


test_results_of_the_suite_are_read_from_its_output.not_sanitized = True
