#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What kube_scale.py runs in the peers' namespace, each in a process of its own. Prints JSON.

    kube_load.py fill INGRESSES ROUTES SERVICES ENDPOINTS
    kube_load.py change RATE INGRESSES ROUTES SERVICES ENDPOINTS   endpoints, and routes for one change in ten, until stdin ends
    kube_load.py probe routes|endpoints NAME COUNT PAUSE_MS        from a write to the first request that sees it; NAME is in no other run's
"""
import http.client
import json
import random
import select
import sys
import time

import kube_objects as k
from rig import API, PEER4, WEB, WEIR4

BATCH = 5  # changes in a write
PROBE_HOST = "probe.l0.example.com"


class Double:
    def __init__(self):
        self.c = http.client.HTTPConnection("127.0.0.1", 6443, timeout=60)

    def tell(self, what, body, method="PUT"):
        self.c.request(method, f"/double/{what}", json.dumps(body))
        return json.loads(self.c.getresponse().read())

    def apply(self, *objects):
        self.tell("apply", objects)


def fill(*scale):
    double = Double()
    batch = []
    for o in k.cluster(*scale):
        batch.append(o)
        if len(batch) == 500:
            double.apply(*batch)
            batch = []
    double.apply(*batch)
    # what the probes of endpoints use: an Ingress whose Service has one endpoint, of the rig's nginx
    backend = {"service": {"name": "probe", "port": {"number": 80}}}
    double.apply(k.service(0, "probe"), k.slice_of(0, [PEER4], "probe", WEB),
                 k.obj("networking.k8s.io/v1", "Ingress", "probe", k.ns_of(0), spec={"rules": [{"host": PROBE_HOST, "http": {"paths": [
                     {"path": "/", "pathType": "Prefix", "backend": backend}]}}]}))
    return {"objects": sum(1 for _ in k.cluster(*scale)) + 3}


def a_change(r, n, n_ingresses, n_routes, n_services, n_endpoints):
    if n % 10:
        i = r.randrange(n_services)
        return k.slice_of(i, k.addresses(i, n_endpoints // n_services, 1 + n % 200))
    i = r.randrange(n_ingresses + n_routes)
    path = f"/p{n}"
    return k.ingress(i, n_services, path) if i < n_ingresses else k.route(i - n_ingresses, n_services, path)


def change(rate, *scale):
    """At its rate by the clock; what is late is caught up."""
    double, r = Double(), random.Random(1)
    began = time.monotonic()
    n = n_routes = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        objects = [a_change(r, n + i, *scale) for i in range(BATCH)]
        double.apply(*objects)
        n += BATCH
        n_routes += sum(o["kind"] == "HTTPRoute" for o in objects)
        time.sleep(max(began + n / rate - time.monotonic(), 0))
    return {"changes": n, "http_routes": n_routes, "seconds": time.monotonic() - began}


class Client:
    """One connection to Weir."""

    def __init__(self, port):
        self.port, self.c = port, None

    def get(self, host):
        """What tells one answer from another: Location, or the first word of the body."""
        for _ in range(3):
            try:
                if not self.c:
                    self.c = http.client.HTTPConnection(WEIR4, self.port, timeout=60)
                self.c.request("GET", "/", headers={"Host": host})
                a = self.c.getresponse()
                body = a.read()
                return a.getheader("Location") or f"{a.status} {body.split(b' ')[0].decode()}"
            except (http.client.HTTPException, OSError):
                self.c = None
        raise RuntimeError("no answer")


def wait_for(client, host, wanted, since):
    n = 0
    while True:
        got = client.get(host)
        n += 1
        if wanted in got:
            return (time.monotonic() - since) * 1e3
        if time.monotonic() - since > 120:
            raise RuntimeError(f"{host}: {wanted} was wanted, last answer {got}, of {n}")
        time.sleep(0.0005)


def probe(what, name, count, pause_ms):
    double = Double()
    client = Client(8000 if what == "routes" else 80)
    ms = []
    for i in range(count):
        host = f"{name}{i}.l0.example.com" if what == "routes" else PROBE_HOST
        if what == "routes":
            objects = [k.redirect(f"{name}-{i}", host, f"/v{i}")]
            wanted = f"/v{i}"
        else:
            objects = [k.slice_of(0, [PEER4], "probe", API if i % 2 == 0 else WEB)]
            wanted = "api" if i % 2 == 0 else "web"
        if wanted in client.get(host):
            raise RuntimeError(f"{host}: {wanted} is answered before it is written")
        since = time.monotonic()
        double.apply(*objects)
        ms.append(wait_for(client, host, wanted, since))
        time.sleep(pause_ms / 1e3)
    return {"ms": ms}


def main():
    numbers = [int(a) for a in sys.argv[2:] if a.isdigit()]
    if sys.argv[1] == "fill":
        out = fill(*numbers)
    elif sys.argv[1] == "change":
        out = change(*numbers)
    else:
        out = probe(sys.argv[2], sys.argv[3], *numbers)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
