#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random changes of the objects of tests/double, and random faults of it, in one process: kube_chaos.py URL SEED CHANGES.

Every kind that Weir reads is created, changed, made wrong and deleted; on the way watches are cut, also within an object,
history is forgotten, pages expire, and answers are errors, garbage, of another kind, cut short, slow, or large. It ends
with its last line: {"changes": N, "faults": {what: N}}."""
import http.client
import json
import random
import ssl
import sys
import time
import urllib.parse

ADDRESSES = ["10.99.0.1", "10.99.0.77", "10.99.0.78"]
GATEWAY = "gateway.networking.k8s.io/v1"
PLURALS = ["services", "endpointslices", "ingresses", "gateways", "httproutes", "referencegrants", "gatewayclasses",
           "ingressclasses", "namespaces"]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


class Chaos:
    def __init__(self, url, seed):
        at = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPSConnection(at.hostname, at.port, timeout=60, context=context)
        self.rng = random.Random(seed)
        self.have, self.faults = {}, {}

    def tell(self, what, body=None, method="POST"):
        self.connection.request(method, f"/double/{what}", json.dumps(body if body is not None else {}))
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{what}: {answer.status} {text[:200]}")
        return json.loads(text)

    # -- objects

    def obj(self, api, kind, name, ns="demo", labels=None, annotations=None, **rest):
        meta = {"name": name}
        if ns:
            meta["namespace"] = ns
        if labels:
            meta["labels"] = labels
        if annotations:
            meta["annotations"] = annotations
        return {"apiVersion": api, "kind": kind, "metadata": meta, **rest}

    def service(self):
        n = self.rng.randrange(8)
        ports = [{"name": "http", "port": 80}] + ([{"name": "more", "port": 81}] if self.rng.random() < 0.2 else [])
        return self.obj("v1", "Service", f"s{n}", spec={"ports": ports if self.rng.random() > 0.05 else 7})

    def slice(self):
        n = self.rng.randrange(8)
        endpoints = [{"addresses": [self.rng.choice(ADDRESSES)], "conditions": {"ready": self.rng.random() < 0.8}}
                     for _ in range(self.rng.randrange(4))]
        if self.rng.random() < 0.05:
            endpoints = [{"addresses": "none"}]
        return self.obj("discovery.k8s.io/v1", "EndpointSlice", f"s{n}-{self.rng.randrange(2)}", "demo",
                        {"kubernetes.io/service-name": f"s{n}"}, addressType="IPv4",
                        ports=[{"name": "http", "port": self.rng.choice([8081, 8082])}], endpoints=endpoints)

    def ingress(self):
        def path():
            backend = {"service": {"name": f"s{self.rng.randrange(9)}", "port": {"number": 80}}}
            return {"path": self.rng.choice(["/", "/a", "/a/b", "/c"]), "pathType": self.rng.choice(["Prefix", "Exact"]),
                    "backend": backend}
        rules = [{"host": f"h{self.rng.randrange(12)}.example.com", "http": {"paths": [path() for _ in range(self.rng.randrange(1, 4))]}}]
        annotations = {"padding": "x" * self.rng.choice([10, 1000, 1 << 20])} if self.rng.random() < 0.02 else None
        return self.obj("networking.k8s.io/v1", "Ingress", f"i{self.rng.randrange(30)}", annotations=annotations,
                        spec={"rules": rules if self.rng.random() > 0.05 else "none"})

    def route(self):
        rules = [{"matches": [{"path": {"type": "PathPrefix", "value": self.rng.choice(["/", "/r", "/r/s"])}}],
                  "backendRefs": [{"name": f"s{self.rng.randrange(9)}", "port": 80, "weight": self.rng.randrange(3)}
                                  for _ in range(self.rng.randrange(1, 3))]}]
        return self.obj(GATEWAY, "HTTPRoute", f"r{self.rng.randrange(20)}", self.rng.choice(["demo", "other"]), spec={
            "parentRefs": [{"name": f"g{self.rng.randrange(3)}", "namespace": "demo"}],
            "hostnames": [f"g{self.rng.randrange(8)}.example.com"], "rules": rules if self.rng.random() > 0.05 else {"a": 1}})

    def gateway(self):
        listeners = [{"name": "http", "port": self.rng.choice([80, 8080]), "protocol": "HTTP",
                      "allowedRoutes": {"namespaces": {"from": self.rng.choice(["All", "Same"])}}}]
        return self.obj(GATEWAY, "Gateway", f"g{self.rng.randrange(3)}", spec={
            "gatewayClassName": self.rng.choice(["weir", "weir", "other"]), "listeners": listeners})

    def grant(self):
        return self.obj("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", f"t{self.rng.randrange(3)}", spec={
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "other"}],
            "to": [{"group": "", "kind": "Service"}]})

    def gateway_class(self):
        controller = self.rng.choice(["weir.dev/ingress-controller"] * 3 + ["example.com/other"])
        return self.obj(GATEWAY, "GatewayClass", "weir", None, spec={"controllerName": controller})

    def namespace(self):
        return self.obj("v1", "Namespace", self.rng.choice(["demo", "other"]), None, {"a": self.rng.choice("xyz")})

    def change(self):
        make = self.rng.choices([self.service, self.slice, self.ingress, self.route, self.gateway, self.grant, self.gateway_class,
                                 self.namespace], [8, 20, 30, 20, 4, 3, 1, 1])[0]
        o = make()
        key = (o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])
        if key in self.have and self.rng.random() < 0.35:
            self.tell("delete", {"kind": key[0], "namespace": key[1], "name": key[2]})
            del self.have[key]
        else:
            self.tell("apply", [o], "PUT")
            self.have[key] = True

    # -- what goes wrong

    def fault(self):
        rng = self.rng
        match = rng.choice(["/" + rng.choice(PLURALS), "limit=", "watch=1", "continue=", "/apis/", "sendInitialEvents"])
        huge = json.dumps({"type": "ADDED", "object": {"kind": "Ingress", "metadata": {"name": "x" * (4 << 20)}}}) + "\n"
        what, body = rng.choice([
            ("status", {"status": rng.choice([500, 503, 502, 404, 410, 401, 403])}),
            ("wait", {"status": rng.choice([429, 503]), "retry_after": 1}),
            ("html", {"body": "<html>no Kubernetes</html>", "content_type": "text/html"}),
            ("json", {"body": rng.choice(['{"kind":"IngressList","items":[', "[]", "7", '{"kind":7}', '{"items":{"a":[]}}', "null",
                                          '{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}'])}),
            ("truncate", {"truncate": rng.randrange(3000)}),
            ("slow", {"slow": rng.randrange(2000)}),
            ("type", {"content_type": rng.choice(["text/plain", "application/vnd.kubernetes.protobuf", ""])}),
            ("delay", {"delay": rng.random()}),
            ("event", {"event": rng.choice(["{", "garbage\n", "[]\n", '{"type":7}\n', "\0\1\2", '{"type":"MODIFIED","object":{}}\n',
                                            '{"type":"ADDED","object":"none"}\n', '{"type":"OTHER","object":{"metadata":{}}}\n',
                                            '{"type":"ERROR","object":{"kind":"Status","code":500}}\n',
                                            '{"type":"ERROR","object":{"kind":"Status","code":410}}\n', huge])}),
            ("cut", None), ("cut", None), ("compact", None), ("bookmark", None), ("streams", None)])
        self.faults[what] = self.faults.get(what, 0) + 1
        if what == "cut":
            self.tell("cut", {"mid_object": rng.random() < 0.5})
        elif what == "streams":
            self.tell("streams", {"mode": rng.choice(["serve", "serve", "refuse"])})
        elif body is None:
            self.tell(what)
        else:
            self.tell("faults", dict(body, match=match, times=rng.randrange(1, 4)))
            if what != "event" and rng.random() < 0.5:
                self.tell("cut")  # so that there is a request that it meets


def main():
    url, seed, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chaos = Chaos(url, seed)
    for o in chaos.tell("objects", method="GET"):
        chaos.have[(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])] = True
    for i in range(n):
        chaos.change()
        if chaos.rng.random() < 0.04:
            chaos.fault()
        if i % 10 == 0:
            time.sleep(chaos.rng.random() * 0.1)
    print(json.dumps({"changes": n, "faults": chaos.faults}))


if __name__ == "__main__":
    main()
