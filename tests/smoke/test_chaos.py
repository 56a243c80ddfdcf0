# SPDX-License-Identifier: Apache-2.0
"""An origin over the kernel's TCP that fails in every way: no wrong byte, and each outcome is explained. See chaos_peers.py."""
import json
import pathlib
import subprocess

from rig import PEER4, WEIR4, alone, expect, expect_eq, ingress, service, wait_until

SCRIPT = pathlib.Path(__file__).resolve().parent / "chaos_peers.py"
FIRST, N = 8101, 4  # ports of the origin; behind them one where nobody listens
FAILURES = ("req_upstream_refused", "req_upstream_closed", "req_upstream_bad", "req_upstream_truncated")
EXPLAINED = FAILURES + ("req_client_gone",)


def slices():
    """An EndpointSlice for each port."""
    return "".join(f"""apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: chaos-{i}, namespace: demo, labels: {{kubernetes.io/service-name: chaos}}}}
addressType: IPv4
ports: [{{name: http, port: {FIRST + i}}}]
endpoints: [{{addresses: ["{PEER4}"], conditions: {{ready: true}}}}]
---
""" for i in range(N + 1))


def run(make, requests, **kw):
    manifests = {"chaos.yaml": service("chaos") + slices() + ingress("chaos", "chaos.example.com", [("/", "Prefix", "chaos")])}
    with make(manifests=manifests, **kw) as rig:
        p = rig.spawn(["python3", SCRIPT, WEIR4, PEER4, str(FIRST), str(N), str(requests), "7"], stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE, text=True)
        try:
            expect_eq(p.stdout.readline(), "ready\n", "the peers")
            out = p.communicate("go\n", timeout=900)[0]
        finally:
            p.kill()
            p.wait()
        r = json.loads(out)
        print(f"  {r}", flush=True)
        expect_eq(r["n_errors"], 0, f"outcomes that nothing explains: {r['errors']}")
        failed = r["status_502"] + r["cuts"]
        expect_eq(r["answers"] + failed, requests, "outcomes")
        wait_until("no request is in hand", lambda: rig.weirctl_json("stats")["http_requests_active"]["sum"] == 0)
        stats = {k: v["sum"] for k, v in rig.weirctl_json("stats").items()}
        drops = {d["reason"]: d["count"] for d in rig.weirctl_json("drops")}
        expect_eq(stats["http_requests"], requests, "requests that Weir counted")
        expect_eq(sum(drops.get(k, 0) for k in FAILURES), failed, "failures that Weir counted")
        expect_eq([k for k, v in drops.items() if v and k.startswith("req_") and k not in EXPLAINED], [], "other reasons")
        expect(stats["upstream_retries"] >= r["seen_again"], f"{stats['upstream_retries']} retries, {r['seen_again']} requests that came again")


@alone  # no try of a request may meet an end of its connection each time, as it does where the peers wait for a core
def test_faulty_kernel_origin_costs_no_wrong_byte_over_tap(make):
    run(make, 3000)


@alone  # no try of a request may meet an end of its connection each time, as it does where the peers wait for a core
def test_faulty_kernel_origin_costs_no_wrong_byte_over_af_packet(make):
    run(make, 3000, port="af_packet", workers=2)
