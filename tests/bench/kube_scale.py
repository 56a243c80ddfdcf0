#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A large cluster, and many changes of it: how long until the workers do what the API server says.

    tests/bench/kube_scale.py --build BUILD [--small] [--json FILE]

The double (tests/double) is the API server; weir-ctrl and weir-dataplane are the real ones, over a TAP port. Times are from
just before a write to the API server until the first request that is answered accordingly, so they have the double's own
time in them, and the requests'. Printed: from nothing to everything live; a new HTTPRoute, and an endpoint changed, with
nothing else going on and under --rate changes a second; memory; statuses written.
"""
import argparse
import json
import pathlib
import signal
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "smoke"), str(HERE)]
from rig import Failure, Rig, expect, wait_until  # noqa: E402
from test_kube_source import Double  # noqa: E402


class ScaleRig(Rig):
    """With room for all backends and endpoints."""

    def _write_files(self):
        super()._write_files()
        file = self.dir / "weir.yaml"
        text = file.read_text().replace("backends: 2048, endpoints: 8192", "backends: 16384, endpoints: 131072")
        expect("16384, endpoints" in text, "the rig's pools are not those that were to be replaced")
        file.write_text(text)


def load(rig, *args):
    """A process of kube_load.py."""
    argv = ["ip", "netns", "exec", rig.ns, sys.executable, str(HERE / "kube_load.py"), *map(str, args)]
    env = {"PYTHONPATH": f"{HERE.parent / 'smoke'}:{HERE}", "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)


def result(p, seconds=600):
    out, _ = p.communicate(timeout=seconds)
    expect(p.returncode == 0, f"{p.args} ended with {p.returncode}")
    return json.loads(out)


def status(rig):
    return json.loads(rig.ask("/api/v1/status"))


def is_live(rig, n_matches):
    s = status(rig)
    return s["matches"] == n_matches and s["generation"] and s["live_generation"] == s["generation"] and s["endpoint_sets_waiting"] == 0


def quantile(values, q):
    return sorted(values)[min(int(len(values) * q), len(values) - 1)]


def describe(ms):
    return {"n": len(ms), "p50": statistics.median(ms), "p99": quantile(ms, 0.99), "worst": max(ms)}


def cpu_ms(pid):
    """Of the main thread: what it ran, and what it waited for a processor. In weir-ctrl it is the only one; in the
    dataplane it checks and copies what weir-ctrl sends."""
    ran, waited, _ = map(int, pathlib.Path(f"/proc/{pid}/schedstat").read_text().split())
    return ran / 1e6, waited / 1e6


def each(after, before, n):
    return [round((a - b) / n, 2) for a, b in zip(after, before)]


def fill(rig, scale):
    """From weir-ctrl's start, with everything in the API server, until it is live."""
    result(load(rig, "fill", *scale))
    began = time.monotonic()
    rig.start_ctrl("--write-status", "always")
    wait_until("everything is live", lambda: rig.is_healthy() and is_live(rig, scale[0] + scale[1] + 1), 600)
    return time.monotonic() - began


def settle(rig):
    wait_until("all statuses are written", lambda: rig.metrics()["weir_ctrl_status_waiting"] == 0, 1200)


def n_written(double):
    return double.stats().get("patch-status", 0)


def still(rig, double):
    """Until nothing is written for a second: what was written comes back by the watch, and may give rise to more."""
    def is_still():
        before = n_written(double)
        time.sleep(1)
        return n_written(double) == before
    settle(rig)
    wait_until("nothing is written any more", is_still)


def probe(rig, args, what, name):
    pids = {name: rig.procs[name].pid for name in ("ctrl", "dataplane")}
    before = {name: cpu_ms(pid) for name, pid in pids.items()}
    out = describe(result(load(rig, "probe", what, name, args.probes, args.pause_ms))["ms"])
    return {**out, **{name: each(cpu_ms(pid), before[name], args.probes) for name, pid in pids.items()}}


def alone(rig, args, double):
    out = {"routes": probe(rig, args, "routes", "alone")}
    still(rig, double)
    before = n_written(double)
    out["endpoints"] = probe(rig, args, "endpoints", "alone")
    time.sleep(1)
    expect(n_written(double) == before, f"{n_written(double) - before} statuses were written though only endpoints changed")
    return out


def told(rig):
    """All that weir-ctrl says of routes and backends, but for how often a backend's endpoints have changed."""
    out = {what: json.loads(rig.ask(f"/api/v1/{what}")) for what in ("routes", "backends")}
    for b in out["backends"]:
        del b["version"]
    return out


def compare_with_a_new_one(rig):
    """No change was lost: a weir-ctrl that reads everything anew says the same."""
    before, n_matches = told(rig), status(rig)["matches"]
    expect(rig.stop("ctrl") == 0, "weir-ctrl did not end in order")
    rig.start_ctrl("--write-status", "never")
    wait_until("everything is live again", lambda: rig.is_healthy() and is_live(rig, n_matches), 600)
    after = told(rig)
    for what, value in before.items():
        expect(value == after[what], f"{what} differ from those of a new weir-ctrl")


def under_load(rig, args, scale, double):
    before = rig.metrics(), n_written(double), cpu_ms(rig.procs["ctrl"].pid)[0]
    writer = load(rig, "change", args.rate, *scale)
    time.sleep(2)
    out = {what: probe(rig, args, what, "loaded") for what in ("routes", "endpoints")}
    changed = result(writer)
    still(rig, double)
    after = rig.metrics(), n_written(double), cpu_ms(rig.procs["ctrl"].pid)[0]
    # one of each HTTPRoute that changed; of a new one its own, and its Gateway's, which counts it
    most = changed["http_routes"] + 2 * args.probes
    expect(after[1] - before[1] <= most, f"{after[1] - before[1]} statuses were written for {most} changes at most")
    return {**out, **changed, "rate": changed["changes"] / changed["seconds"],
            "ctrl_cpu": (after[2] - before[2]) / 1e3 / changed["seconds"],
            "statuses": after[1] - before[1],
            "snapshots": after[0]["weir_snapshots_taken_total"] - before[0]["weir_snapshots_taken_total"],
            "sets": after[0]["weir_endpoint_sets_taken_total"] - before[0]["weir_endpoint_sets_taken_total"]}


def measure(args, scale):
    with ScaleRig(args.build, ctrl=False, manifests={}, arena_mb=128) as rig:
        double = Double(rig, objects=[], keeps=False)
        rig.ctrl_source = ["--kubeconfig", double.kubeconfig, "--ingress-without-class"]
        out = {"scale": scale, "full_s": fill(rig, scale)}
        out["ctrl_kb"], out["dataplane_kb"] = rig.rss_kb("ctrl"), rig.rss_kb("dataplane")
        out["snapshot_bytes"] = status(rig)["snapshot_bytes"]
        settle(rig)
        out["first_statuses"] = n_written(double)
        out["alone"] = alone(rig, args, double)
        out["loaded"] = under_load(rig, args, scale, double)
        out["ctrl_kb_after"] = rig.rss_kb("ctrl")
        compare_with_a_new_one(rig)
        rig.stop("double")
        return out


def show(out):
    print(f"{out['scale'][0]:,} Ingresses, {out['scale'][1]:,} HTTPRoutes, {out['scale'][2]:,} Services, {out['scale'][3]:,} endpoints\n"
          f"from weir-ctrl's start until all is live: {out['full_s']:.2f} s; snapshot {out['snapshot_bytes']:,} bytes\n"
          f"resident: weir-ctrl {out['ctrl_kb']:,} kB ({out['ctrl_kb_after']:,} kB at the end), weir-dataplane {out['dataplane_kb']:,} kB")
    for name in ("alone", "loaded"):
        for what in ("routes", "endpoints"):
            d = out[name][what]
            print(f"{name:7} {what:10} p50 {d['p50']:.1f} ms, p99 {d['p99']:.1f} ms, worst {d['worst']:.1f} ms ({d['n']} probes); for each "
                  f"weir-ctrl ran {d['ctrl'][0]} ms and waited {d['ctrl'][1]} ms for a processor, the dataplane's main thread "
                  f"{d['dataplane'][0]} ms and {d['dataplane'][1]} ms")
    l = out["loaded"]
    print(f"load: {l['rate']:.0f} changes/s for {l['seconds']:.0f} s; {l['snapshots']:.0f} snapshots, {l['sets']:.0f} endpoint sets and "
          f"{l['statuses']} statuses for {l['http_routes']} changes of HTTPRoutes and the probes; weir-ctrl used {l['ctrl_cpu'] * 100:.0f} % of a core", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--small", action="store_true", help="a matter of seconds, and of no figure")
    parser.add_argument("--scale", type=int, nargs=4, default=(10_000, 3_000, 5_000, 50_000),
                        metavar=("INGRESSES", "ROUTES", "SERVICES", "ENDPOINTS"))
    parser.add_argument("--rate", type=int, default=500, help="changes a second")
    parser.add_argument("--probes", type=int, default=200, help="of each kind")
    parser.add_argument("--pause-ms", type=int, default=20, help="between two probes")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    if args.small:
        args.scale, args.rate, args.probes = (100, 30, 50, 500), 100, 10
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves the with-block: nothing stays behind
    try:
        out = measure(args, tuple(args.scale))
    except Failure as e:
        print(f"failed: {e}", file=sys.stderr)
        return 1
    show(out)
    if args.json:
        args.json.write_text(json.dumps(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
