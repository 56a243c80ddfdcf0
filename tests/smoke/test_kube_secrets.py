# SPDX-License-Identifier: Apache-2.0
"""Secrets on a real Kubernetes: conditions follow them, and several hundred are watched over a few connections."""
import base64
import json
import re
import time

from rig import expect, wait_until
from test_kube import Weir, kube_test
from test_kube_certificates import pair

N_MANY = 400
LISTENER = "{name: web, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert, namespace: %s}]}}"
OBJECTS = """apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: weir}}
spec: {{controllerName: weir.dev/ingress-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: tls, namespace: {ns}}}
spec: {{gatewayClassName: weir, listeners: [{listener}]}}
"""
GRANT = """apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {{name: certs, namespace: {other}}}
spec: {{from: [{{group: gateway.networking.k8s.io, kind: Gateway, namespace: {ns}}}], to: [{{group: "", kind: Secret, name: cert}}]}}
"""


def secret(name, ns, crt, key):
    data = {"tls.crt": base64.b64encode(crt).decode(), "tls.key": base64.b64encode(key).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": ns}, "type": "kubernetes.io/tls", "data": data}


def resolved(rig, ns):
    listeners = rig.get("gateway", "tls", ns).get("status", {}).get("listeners", [])
    return next(((c["status"], c["reason"]) for one in listeners for c in one["conditions"] if c["type"] == "ResolvedRefs"), None)


def see(rig, ns, what, wanted):
    """From the moment when kubectl had its answer; kubectl, which is asked, takes a good part of it itself."""
    began = time.monotonic()
    wait_until(f"{what}: {wanted}", lambda: resolved(rig, ns) == wanted)
    print(f"      {what}: {(time.monotonic() - began) * 1000:.0f} ms", flush=True)


def metric(rig, name):
    text = rig.run(["curl", "-s", "-m", "60", "http://127.0.0.1:9901/metrics"]).stdout
    return int(re.search(rf"^weir_ctrl_{re.escape(name)} (\d+)$", text, re.M)[1])


@kube_test
def test_conditions_follow_secrets_and_grants(make, rig, ns):
    other = f"{ns}-other"
    crt, key = pair(rig, "one")
    _, other_key = pair(rig, "two")
    rig.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {other}}}}}")
    rig.apply(OBJECTS.format(ns=ns, listener=LISTENER % other))
    try:
        with Weir(rig, make.args[0]) as weir:
            wait_until("weir-ctrl is healthy", weir.is_healthy)
            see(rig, ns, "at first", ("False", "RefNotPermitted"))
            rig.apply(GRANT.format(ns=ns, other=other))
            see(rig, ns, "ReferenceGrant created", ("False", "InvalidCertificateRef"))
            rig.apply(json.dumps(secret("cert", other, crt, key)))
            see(rig, ns, "Secret created", ("True", "ResolvedRefs"))
            rig.apply(json.dumps(secret("cert", other, crt, other_key)))
            see(rig, ns, "its key is another one's", ("False", "InvalidCertificateRef"))
            rig.apply(json.dumps(secret("cert", other, crt, key)))
            see(rig, ns, "it is right again", ("True", "ResolvedRefs"))
            rig.kubectl("delete", "secret", "cert", "-n", other)
            see(rig, ns, "it is deleted", ("False", "InvalidCertificateRef"))
            rig.kubectl("delete", "referencegrant", "certs", "-n", other)
            see(rig, ns, "ReferenceGrant deleted", ("False", "RefNotPermitted"))
            wait_until("nothing is followed without a grant",
                       lambda: metric(rig, 'kube_named{state="absent"}') + metric(rig, 'kube_named{state="present"}') == 0)
    finally:
        rig.kubectl("delete", "namespace", other, "--wait=false")


@kube_test
def test_several_hundred_secrets_are_followed_over_a_few_connections(make, rig, ns):
    crt, key = pair(rig, "one")
    names = [f"cert-{i}" for i in range(N_MANY)]
    ingress = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "many", "namespace": ns}, "spec": {
        "tls": [{"secretName": n} for n in names], "defaultBackend": {"service": {"name": "echo", "port": {"number": 80}}}}}
    rig.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": [ingress, *(secret(n, ns, crt, key) for n in names)]}))
    with Weir(rig, make.args[0]) as weir:
        wait_until("weir-ctrl is healthy", weir.is_healthy)
        present = 'kube_named{state="present"}'
        wait_until("all are there", lambda: metric(rig, present) == N_MANY, 180)
        n, failed = metric(rig, "kube_http_connections_total"), metric(rig, "kube_http_failed_total")
        print(f"      {N_MANY} Secrets followed over {n} connections, {failed} requests failed", flush=True)
        expect(n < N_MANY // 4, f"{n} connections")
        rig.kubectl("delete", "secret", names[7], "-n", ns)
        wait_until("one is gone", lambda: metric(rig, present) == N_MANY - 1)
        rig.kubectl("delete", "ingress", "many", "-n", ns)
        wait_until("nothing is followed", lambda: metric(rig, present) == 0)
