# SPDX-License-Identifier: Apache-2.0
"""How endpoints are chosen, from the annotation to the wire: curl with a cookie jar, backends that fail, leave and return."""
import collections
import contextlib
import subprocess
import time

from rig import MANIFESTS, PEER4, WEIR4, WRK, expect, expect_eq, ingress, takes, wait_until

BACKEND = r"""
import http.server, pathlib, sys, threading
folder = pathlib.Path(sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args):
        pass
    def do_GET(self):
        port = self.server.server_port
        down = (folder / f'down-{port}').exists()
        with self.server.lock:
            self.server.count += 1
            (folder / f'count-{port}').write_text(str(self.server.count))
        body = f'{port}\n'.encode()
        self.send_response(503 if down else 200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer.request_queue_size = 128
for port in map(int, sys.argv[2:]):
    server = http.server.ThreadingHTTPServer(('', port), Handler)
    server.count, server.lock = 0, threading.Lock()
    threading.Thread(target=server.serve_forever).start()
"""
PORTS = [8101, 8102, 8103, 8104]


def service(name, annotations):
    lines = "".join(f"\n    weir.dev/{k}: \"{v}\"" for k, v in annotations.items())
    return f"""apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: demo
  annotations:{lines if lines else " {}"}
spec: {{ports: [{{name: http, port: 80}}]}}
---
"""


def slices(name, ports, leaving=()):
    """One slice for each port, since a slice's ports are those of all of its endpoints."""
    text = ""
    for port in ports:
        conditions = "{ready: false, serving: true, terminating: true}" if port in leaving else "{ready: true}"
        text += f"""apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-{port}, namespace: demo, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: ["{PEER4}"], conditions: {conditions}}}]
---
"""
    return text


def manifests(annotations, ports=PORTS):
    return {**MANIFESTS, "lb.yaml": service("lb", annotations) + ingress("lb", "lb.example.com", [("/", "Prefix", "lb")]),
            "lb-slices.yaml": slices("lb", ports)}


@contextlib.contextmanager
def backends(rig):
    process = rig.spawn(["python3", "-c", BACKEND, rig.dir, *PORTS], stderr=subprocess.DEVNULL)
    try:
        for port in PORTS:
            wait_until("a backend", lambda p=port: rig.run(["curl", "-s", "-m", "20", f"http://{PEER4}:{p}/"], check=False).returncode == 0)
        yield
    finally:
        process.kill()
        process.wait()


def ask(rig, *args):
    """The port of the backend that answered."""
    status, headers, body = rig.curl("/", host="lb.example.com", args=args)
    expect_eq(status, 200, "status")
    return int(body), headers


def change_slices(rig, text):
    was = rig.metric_sum("weir_endpoint_swaps_total")
    rig.write_manifest("lb-slices.yaml", text)
    wait_until("the workers have the endpoints", lambda: rig.metric_sum("weir_endpoint_swaps_total") >= was + rig.workers)


def test_affinity_keeps_a_client_with_its_endpoint_while_that_serves(make):
    notes = {"affinity": "cookie", "affinity-cookie-name": "node", "affinity-cookie-max-age": "1h", "affinity-cookie-same-site": "lax"}
    with make(workers=2, manifests=manifests(notes)) as rig, backends(rig):
        expect(len({ask(rig)[0] for _ in range(40)}) > 1, "requests without a cookie go everywhere")
        jar = rig.dir / "jar"
        home, headers = ask(rig, "-c", jar, "-b", jar)
        name, _, rest = headers["set-cookie"].partition("=")
        token, _, attributes = rest.partition("; ")
        expect_eq((name, attributes), ("node", "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"), "the cookie")
        expect_eq((len(token), token.strip("0123456789abcdef")), (32, ""), "the token")
        for _ in range(20):
            port, headers = ask(rig, "-c", jar, "-b", jar)
            expect_eq(port, home, "the backend of the cookie")
            expect("set-cookie" not in headers, "a cookie that is good is not set again")
        forged = token[:-1] + ("0" if token[-1] != "0" else "1")
        _, headers = ask(rig, "-H", f"Cookie: a=b; node={forged}; c=d")
        expect("set-cookie" in headers, "a forged cookie is replaced")
        change_slices(rig, slices("lb", PORTS, leaving=[home]))
        expect(all(ask(rig, "-b", jar)[0] == home for _ in range(10)), "a draining endpoint keeps its sessions")
        expect(all(ask(rig)[0] != home for _ in range(30)), "and gets no new ones")
        change_slices(rig, slices("lb", [p for p in PORTS if p != home]))
        port, headers = ask(rig, "-b", jar, "-c", jar)
        expect(port != home and "set-cookie" in headers, "a client whose endpoint is gone gets another one, and its cookie")
        expect(all(ask(rig, "-b", jar)[0] == port for _ in range(10)), "and stays there")
        expect("cookie node" in rig.weirctl("backends"), "weirctl backends shows it")


def test_affinity_outlives_a_restart_with_a_key_file(make):
    notes = {"affinity": "cookie"}
    with make(manifests=manifests(notes), ctrl=False) as rig, backends(rig):
        (rig.dir / "key").write_text("0123456789abcdef" * 4 + "\n")
        with open(rig.dir / "weir.yaml", "a") as f:
            f.write(f"affinity: {{key_file: {rig.dir}/key}}\n")
        rig.stop("dataplane")
        rig.start_dataplane()
        rig.start_ctrl()
        rig.wait_healthy()
        jar = rig.dir / "jar"
        home, _ = ask(rig, "-c", jar)
        rig.stop("dataplane")
        rig.start_dataplane()
        wait_until("routes", lambda: rig.curl("/", host="lb.example.com", check=False)[0] == 200)
        expect(all(ask(rig, "-b", jar)[0] == home for _ in range(12)), "the cookie still names its endpoint")
        (rig.dir / "key").write_text("too short\n")
        rig.stop("dataplane")
        p = rig._spawn("dataplane", [rig.build / "dataplane/weir-dataplane", "-c", rig.dir / "weir.yaml"], rig.ns_weir)
        expect(p.wait(60) != 0, "a wrong key is an error at the start")
        rig.procs.pop("dataplane")
        expect("64 hex digits" in (rig.dir / "dataplane.log").read_text(), "and says what was expected")


@takes(20)
def test_maglev_and_ring_hash_by_header_stay_over_workers_and_changes(make):
    for algorithm in ("maglev", "ring-hash"):
        notes = {"load-balancing": algorithm, "hash-key": "header:X-User"}
        with make(workers=2, manifests=manifests(notes)) as rig, backends(rig):
            users = [f"user-{i}" for i in range(30)]
            home = {u: ask(rig, "-H", f"X-User: {u}")[0] for u in users}
            expect(len(set(home.values())) == 4, f"{algorithm}: keys go to all")
            for u in users:
                expect_eq({ask(rig, "-H", f"x-user: {u}")[0] for _ in range(3)}, {home[u]}, f"{algorithm}: endpoint of {u}")
            expect_eq(rig.metric_sum("weir_balance_no_key_total"), 0, "requests without a key")
            expect(len({ask(rig)[0] for _ in range(40)}) > 1, f"{algorithm}: without a key, any of them")
            expect(rig.metric_sum("weir_balance_no_key_total") >= 40, "they are counted")
            change_slices(rig, slices("lb", PORTS[1:]))
            moved = [u for u in users if home[u] != PORTS[0] and ask(rig, "-H", f"X-User: {u}")[0] != home[u]]
            expect(len(moved) <= (3 if algorithm == "maglev" else 0), f"{algorithm}: keys of the others moved: {moved}")
            expect(f"{algorithm} header:x-user" in rig.weirctl("backends"), "weirctl backends shows it")


def test_backend_that_answers_503_is_ejected_and_comes_back(make):
    notes = {"outlier-consecutive-failures": "3", "outlier-base-ejection-time": "3s"}
    with make(manifests=manifests(notes)) as rig, backends(rig):
        (rig.dir / f"down-{PORTS[0]}").touch()
        def ejected():
            return rig.metric_sum("weir_upstream_ejected")
        seen = collections.Counter()
        while ejected() == 0:
            expect(sum(seen.values()) < 200, "it is ejected")
            seen[rig.curl("/", host="lb.example.com")[0]] += 1
        expect(seen[503] >= 3, "its failures reach clients until it is ejected")
        (rig.dir / f"down-{PORTS[0]}").unlink()
        expect(rig.metric_sum("weir_ejections_by_failures_total") >= 1, "the ejection is counted")
        wait_until("it is back", lambda: ejected() == 0)
        wait_until("it gets requests", lambda: ask(rig)[0] == PORTS[0])


def test_bound_of_connections_holds_for_both_workers(make):
    notes = {"max-connections": "4", "load-balancing": "least-request"}
    with make(workers=2, manifests=manifests(notes)) as rig, backends(rig):
        load = rig.spawn([*WRK, "-t", "1", "-c", "32", "-d", "3s", "-H", "Host: lb.example.com", f"http://{WEIR4}/"],
                         stdout=subprocess.DEVNULL)
        most = longest = 0
        before = []  # what the last listings had
        while load.poll() is None:
            out = rig.run(["ss", "-Htn", "state", "established", "( " + " or ".join(f"sport = :{p}" for p in PORTS) + " )"]).stdout
            now = {tuple(x.split()[-2:]) for x in out.decode().splitlines() if WEIR4 in x}
            before = (before + [now])[-2:]
            most = max(most, len(now))
            # A listing is no moment: one may end and another begin meanwhile. What two on end have was there between them.
            longest = max(longest, len(set.intersection(*before)) if len(before) == 2 else 0)
            time.sleep(0.01)
        load.wait()
        expect(most >= 1, "there were connections to the backend")
        expect(longest <= 4, f"connections to the backend at one time: {longest}")
        expect(rig.metric_sum("weir_upstream_capped_total") > 0, "what was refused is counted")
        wait_until("it serves", lambda: rig.curl("/", host="lb.example.com")[0] == 200)
