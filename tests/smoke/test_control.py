# SPDX-License-Identifier: Apache-2.0
"""Changes and failures around running traffic: no request may be lost."""
import os
import re
import signal
import threading
import time

from rig import (MANIFESTS, NOBODY, PEER4, WEB, WEIR4, WEIR6, WRK, Failure, expect, expect_eq, gateway, ingress, service, slice_,
                 wait_until)


def wrk(rig, seconds, connections=32, path="/load", threads=2):
    """Starts wrk; returns a function that waits and gives (requests, errors) as the clients saw them."""
    import subprocess
    p = rig.spawn([*WRK, "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s", "-H", "Host: shop.example.com",
                   f"http://{WEIR4}{path}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def finish():
        text = p.communicate(timeout=seconds + 60)[0].decode()
        requests = re.search(r"(\d+) requests in", text)
        expect(requests, text)
        errors = 0
        m = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        errors += int(m.group(1)) if m else 0
        m = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        errors += sum(map(int, m.groups())) if m else 0
        return int(requests.group(1)), errors, text
    return finish


def many_routes(n):
    """Manifests of n more routes, in files of 50."""
    files = {}
    for f in range(0, n, 50):
        files[f"routes-{f:05}.yaml"] = "".join(
            ingress(f"r{i}", f"host{i}.example.com", [("/", "Prefix", "web")]) for i in range(f, min(f + 50, n)))
    return files


class Background(threading.Thread):
    """Calls step(i) again and again, with pauses, until stopped; keeps what went wrong."""

    def __init__(self, step, pause):
        super().__init__()
        self.step, self.pause, self.ends, self.n, self.error = step, pause, threading.Event(), 0, None

    def run(self):
        while not self.ends.wait(self.pause):
            try:
                self.step(self.n)
                self.n += 1
            except Exception as e:  # told to the test when it stops us
                self.error = e
                return

    def stop(self):
        self.ends.set()
        self.join()
        if self.error:
            raise Failure(f"background: {self.error}")
        return self.n


def change_routes_and_endpoints(rig):
    def step(i):
        rig.write_manifest("extra.yaml", ingress("extra", f"extra{i % 7}.example.com", [("/", "Prefix", "web"), (f"/p{i}", "Exact", "api")]))
        if i % 2:  # the pods of web come and go, one of them always there
            rig.write_manifest("services.yaml", MANIFESTS["services.yaml"].replace(
                f'[{{addresses: ["{PEER4}"], conditions: {{ready: true}}}}]',
                f'[{{addresses: ["{PEER4}"]}}]', 1) if i % 4 == 1 else MANIFESTS["services.yaml"])
    return Background(step, 0.1)


def run_load(make, with_kills, total=100000):
    with make(workers=2) as rig:
        changes = change_routes_and_endpoints(rig)
        kills = None
        if with_kills:
            def kill(i):
                rig.stop("ctrl", signal.SIGKILL)
                rig.start_ctrl()
            kills = Background(kill, 1.0)
        changes.start()
        if kills:
            kills.start()
        requests = errors = rounds = 0
        # As many rounds as it takes on this machine for all of it to have happened; a slow one makes do with fewer requests.
        while rounds < 8 and (requests < total or changes.n < 40 or (kills and kills.n < 6)):
            rounds += 1
            n, e, text = wrk(rig, 10)()
            requests += n
            errors += e
            if e:
                break
        n_kills = kills.stop() if kills else 0
        n_changes = changes.stop()
        print(f"     {requests} requests, {errors} errors, {n_changes} changes, {n_kills} kills of weir-ctrl")
        expect_eq(errors, 0, f"errors that the clients saw: {text}")
        expect(requests >= total // 10, f"{requests} requests in {rounds} rounds")
        expect(n_changes >= 40, "the manifests did change")
        expect(not with_kills or n_kills >= 6, "weir-ctrl was killed")
        rig.wait_healthy()


def test_load_loses_no_request_while_manifests_change(make):
    run_load(make, False)


def test_load_loses_no_request_while_ctrl_is_killed_every_second(make):
    run_load(make, True)


test_load_loses_no_request_while_manifests_change.not_sanitized = True
test_load_loses_no_request_while_ctrl_is_killed_every_second.not_sanitized = True


def test_h2load_finds_no_error_on_two_workers(make):
    import subprocess
    with make(workers=2) as rig:
        p = rig.run(["h2load", "--h1", "-n", "20000", "-c", "32", f"--connect-to={WEIR4}:80", "http://shop.example.com/h"])
        expect("20000 succeeded, 0 failed, 0 errored, 0 timeout" in p.stdout.decode(), p.stdout.decode()[-800:])


def live_after_change(rig, i):
    """Milliseconds from the rename of a manifest to a live route in all workers, as weir-ctrl and the dataplane report it."""
    text = ingress("probe", f"probe{i}.example.com", [("/", "Prefix", "api")])
    before = rig.live_generation()
    began = time.monotonic()
    rig.write_manifest("probe.yaml", text)
    while rig.live_generation() == before:
        expect(time.monotonic() - began < 60, "live within a minute")
        time.sleep(0.001)
    return (time.monotonic() - began) * 1000


def test_route_change_is_live_at_a_thousand_routes(make):
    manifests = dict(MANIFESTS, **many_routes(1000))
    with make(workers=2, manifests=manifests) as rig:
        times = sorted(live_after_change(rig, i) for i in range(30))
        print("     live in all workers after: " + ", ".join(f"{q} {times[int(q[1:]) * (len(times) - 1) // 100]:.1f} ms"
                                                            for q in ("p0", "p50", "p90", "p100")))
        expect_eq(rig.curl("/", host="probe29.example.com")[0], 200, "the last one answers")
        expect_eq(rig.curl("/", host="probe28.example.com")[0], 404, "the one before is gone")
        expect_eq(rig.curl("/", host="host999.example.com")[0], 200, "and a thousand others")


def test_endpoint_change_takes_the_short_path(make):
    with make() as rig:
        swaps = rig.metric_sum("weir_snapshot_swaps_total")
        rig.write_manifest("services.yaml", MANIFESTS["services.yaml"].replace(
            slice_("empty", None, 1), slice_("empty", PEER4, WEB)))
        wait_until("the new endpoint answers", lambda: rig.curl("/empty")[0] == 200)
        expect_eq(rig.metric_sum("weir_snapshot_swaps_total"), swaps, "snapshot swaps")
        rig.write_manifest("services.yaml", MANIFESTS["services.yaml"])
        wait_until("it is gone again", lambda: rig.curl("/empty")[0] == 503)


def test_dataplane_restart_gets_its_routes_back(make):
    with make() as rig:
        expect_eq(rig.curl("/a")[0], 200, "before")
        rig.stop("dataplane", signal.SIGKILL)
        rig.start_dataplane()
        rig.wait_healthy()
        wait_until("serves again", lambda: rig.curl("/a", check=False)[0] == 200)


def test_namespace_with_too_many_routes_gives_way_and_the_others_do_not(make):
    def long(i, k):
        return f"/{i}-{k}" + "x" * 200

    with make(extra="", arena_mb=1) as rig:
        rig.write_manifest("big.yaml", "".join(
            ingress(f"big{i:03}", f"host{i}.big.example.com", [(long(i, k), "Exact", "web") for k in range(20)], ns="greedy")
            for i in range(300)))
        wait_until("its youngest are refused", lambda: rig.metric_sum("weir_ctrl_routes_refused") > 0)
        wait_until("what fits is served", lambda: rig.curl(long(0, 0), host="host0.big.example.com")[0] == 503)
        expect_eq(rig.curl(long(299, 0), host="host299.big.example.com")[0], 404, "a young one")
        expect_eq(rig.curl("/still")[0], 200, "the old routes")
        rig.write_manifest("small.yaml", ingress("small", "small.example.com", [("/", "Prefix", "web")]))
        wait_until("others may still change", lambda: rig.curl("/", host="small.example.com")[0] == 200)
        log = (rig.dir / "ctrl.log").read_text()
        expect(re.search(r"Ingress greedy/big299 spec: BudgetExceeded: not served: .* namespace greedy", log), log[-1500:])
        expect(not re.search(r"Ingress demo/.* BudgetExceeded", log), log[-1500:])
        expect_eq(rig.metric_sum("weir_ctrl_refused_total"), 0, "snapshots that the dataplane could not take")
        expect_eq(rig.metric_sum("weir_ctrl_routes_guarded_total"), 0, "snapshots that were larger than reckoned")
        (rig.dir / "manifests/big.yaml").unlink()
        wait_until("nobody is refused", lambda: rig.metric_sum("weir_ctrl_routes_refused") == 0)


def test_share_of_a_namespace_can_be_set(make):
    paths = [(f"/{k}" + "x" * 1050, "Exact", "web") for k in range(100)]
    # each stands on port 443, too, as it would if there were a certificate: it is reckoned so
    with make(extra="", ctrl_args=["--namespace-budget", "1"]) as rig:
        rig.write_manifest("big.yaml", "".join(ingress(f"big{i}", f"host{i}.big.example.com", paths, ns="greedy") for i in range(4)))
        wait_until("it is refused", lambda: rig.metric_sum("weir_ctrl_routes_refused", 'budget="namespace"') == 1)
        wait_until("what fits is served", lambda: rig.curl(paths[0][0], host="host2.big.example.com")[0] == 503)
        expect_eq(rig.curl(paths[0][0], host="host3.big.example.com")[0], 404, "the last one by name")


def test_routes_stay_while_ctrl_is_gone(make):
    with make() as rig:
        rig.stop("ctrl", signal.SIGKILL)
        for i in range(20):
            expect_eq(rig.curl(f"/{i}")[0], 200, "without weir-ctrl")
        rig.start_ctrl()
        rig.wait_healthy()


def test_wrong_object_is_named_and_all_else_served(make):
    manifests = dict(MANIFESTS, **{"zz-bad.yaml": ingress("bad", "bad.example.com", [("no-slash", "Prefix", "web")]) +
                                   ingress("good", "good.example.com", [("/", "Prefix", "web")])})
    with make(manifests=manifests) as rig:
        expect_eq(rig.curl("/", host="good.example.com")[0], 200, "the good one beside it")
        expect_eq(rig.curl("/")[0], 200, "all else")
        log = (rig.dir / "ctrl.log").read_text()
        expect(re.search(r"zz-bad.yaml:\d+.*Ingress demo/bad spec\.rules\[0\]\.http\.paths\[0\]\.path", log), log[-1500:])


def of_its_own(name, address):
    """A Gateway on one address, and its route without host names: every path is redirected to a host of that name."""
    return f"""apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: demo}}
spec:
  gatewayClassName: weir
  addresses: [{{value: "{address}"}}]
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: demo}}
spec:
  parentRefs: [{{name: {name}}}]
  rules: [{{filters: [{{type: RequestRedirect, requestRedirect: {{hostname: {name}.test}}}}]}}]
---
"""


def test_gateways_on_one_port_stay_apart_by_address(make):
    texts = {"all.yaml": gateway('{name: http, port: 8080, protocol: HTTP}'),
             "own.yaml": of_its_own("four", WEIR4) + of_its_own("six", WEIR6)}
    with make(manifests=texts) as rig:
        for address, name in ((WEIR4, "four"), (WEIR6, "six")):
            status, headers, _ = rig.curl("/x", addr=address)
            expect_eq((status, headers.get("location")), (302, f"http://{name}.test/x"), address)
        expect("demo/six" in rig.weirctl("explain", "GET", f"http://[{WEIR6}]/x"), "explains by address")
        expect("demo/four" in rig.weirctl("explain", "GET", "http://any.test/x"), "explains the first that takes it")


def test_operator_sees_state_and_explanations(make):
    with make() as rig:
        rig.curl("/api/x")
        rig.curl("/", host="nobody.example.com")
        status = rig.weirctl_json("status")
        expect(status["connected"], "status says connected")
        expect("shop.example.com" in rig.weirctl("routes"), "routes lists the host")
        expect("demo/api:80" in rig.weirctl("backends"), "backends lists the backend")
        expect("req_no_route" in rig.weirctl("drops"), "drops names the reason")
        expect("http_requests" in rig.weirctl("stats"), "stats lists counters")
        expect("worker_control_slice_max_us" in rig.weirctl("stats"), "stats lists gauges")
        text = rig.weirctl("explain", "GET", "http://shop.example.com/api/x")
        expect("demo/shop" in text and "demo/api:80" in text, text)
        expect("no host" in rig.weirctl("explain", "GET", "http://nobody.example.com/", check=False), "explains a miss")
        for command in ("status", "routes", "backends", "stats", "drops"):
            rig.weirctl_json(command)
        expect_eq(rig.run([rig.build / "ctrl/weirctl", "check", rig.dir / "manifests"], check=False).returncode, 0, "check")


def test_how_long_iterations_took_is_told(make):
    """A histogram of each worker's: every busy iteration in one bucket, buckets cumulative."""
    with make(workers=2) as rig:
        for _ in range(5):
            rig.curl("/")
        got = rig.metrics()
        for worker in ("0", "1"):
            own = f'worker="{worker}"'
            buckets = [v for k, v in got.items() if k.startswith("weir_worker_loop_seconds_bucket{" + own)]
            expect_eq(len(buckets), 11, "buckets")
            expect(0 < buckets[-1] and buckets == sorted(buckets), f"{buckets}")
            expect_eq(got[f"weir_worker_loop_seconds_count{{{own}}}"], buckets[-1], "count")
            expect(got[f"weir_worker_loop_seconds_sum{{{own}}}"] > 0, "sum")
        stats = rig.weirctl_json("stats")
        expect(sum(stats[k]["sum"] for k in stats if k.startswith("worker_loops_")) > 0, "weirctl has the buckets")


def test_foreign_user_may_not_connect(make):
    """Another uid is turned away by the dataplane, and weir-ctrl of the right one still works."""
    script = r"""
import os, socket, sys
os.setgid(12345); os.setuid(12345)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    s.connect(sys.argv[1])
except PermissionError:
    print('refused by the file system'); sys.exit(0)
s.settimeout(60)
data, fds, _, _ = socket.recv_fds(s, 4096, 4)
assert not fds, 'got descriptors'
print('refused', int.from_bytes(data[12:16], 'little') if data else 'closed')
"""
    with make() as rig:
        out = rig.run(["python3", "-c", script, rig.dir / "dataplane.sock"]).stdout.decode()
        expect(out.startswith("refused"), out)
        expect_eq(os.stat(f"/proc/{rig.procs['ctrl'].pid}").st_uid, NOBODY, "user of weir-ctrl")
        expect_eq(rig.curl("/")[0], 200, "traffic goes on")
