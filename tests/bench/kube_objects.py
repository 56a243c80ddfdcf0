# SPDX-License-Identifier: Apache-2.0
"""Objects of a cluster of any size, as kube_scale.py and kube_load.py fill the double with them."""
GATEWAY = "gateway.networking.k8s.io/v1"
N_NAMESPACES, N_GATEWAYS, N_LISTENERS = 100, 20, 5


def obj(api, kind, name, ns=None, labels=None, **rest):
    meta = {"name": name}
    if ns:
        meta["namespace"] = ns
    if labels:
        meta["labels"] = labels
    return {"apiVersion": api, "kind": kind, "metadata": meta, **rest}


def ns_of(service):
    return f"ns{service % N_NAMESPACES}"


def service(i, name=None):
    return obj("v1", "Service", name or f"svc{i}", ns_of(i), spec={"ports": [{"name": "http", "port": 80}]})


def slice_of(i, endpoints, name=None, port=8080):
    """endpoints: addresses."""
    name = name or f"svc{i}"
    return obj("discovery.k8s.io/v1", "EndpointSlice", f"{name}-1", ns_of(i), {"kubernetes.io/service-name": name},
               addressType="IPv4", ports=[{"name": "http", "port": port}],
               endpoints=[{"addresses": [a], "conditions": {"ready": True, "serving": True, "terminating": False},
                           "nodeName": f"node-{k}", "targetRef": {"kind": "Pod", "name": f"{name}-{k}", "namespace": ns_of(i)}}
                          for k, a in enumerate(endpoints)])


def addresses(i, n, salt=0):
    return [f"10.{1 + i // 250}.{1 + i % 250}.{1 + (k + salt) % 250}" for k in range(n)]


def ingress(i, n_services, path="/"):
    backend = {"service": {"name": f"svc{i % n_services}", "port": {"number": 80}}}
    return obj("networking.k8s.io/v1", "Ingress", f"ing{i}", ns_of(i % n_services), spec={"rules": [
        {"host": f"i{i}.example.org", "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}]})


def parent(i):
    return {"namespace": "infra", "name": f"gw{i % N_GATEWAYS}"}


def route(i, n_services, path="/"):
    return obj(GATEWAY, "HTTPRoute", f"route{i}", ns_of(i % n_services), spec={
        "parentRefs": [parent(i)], "hostnames": [f"r{i}.l{i % N_LISTENERS}.example.com"],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": path}}],
                   "backendRefs": [{"name": f"svc{i % n_services}", "port": 80}]}]})


def redirect(name, host, path):
    """A route that answers by itself: a client sees which one it is."""
    return obj(GATEWAY, "HTTPRoute", name, ns_of(0), spec={
        "parentRefs": [parent(0)], "hostnames": [host],
        "rules": [{"filters": [{"type": "RequestRedirect", "requestRedirect": {
            "statusCode": 302, "path": {"type": "ReplaceFullPath", "replaceFullPath": path}}}]}]})


def gateway(i):
    """All are on one address: each has a port of its own, and a listener for each of some domains."""
    return obj(GATEWAY, "Gateway", f"gw{i}", "infra", spec={"gatewayClassName": "weir", "listeners": [
        {"name": f"l{k}", "protocol": "HTTP", "port": 8000 + i, "hostname": f"*.l{k}.example.com",
         "allowedRoutes": {"namespaces": {"from": "All"}}} for k in range(N_LISTENERS)]})


def cluster(n_ingresses, n_routes, n_services, n_endpoints):
    each = n_endpoints // n_services
    yield obj(GATEWAY, "GatewayClass", "weir", spec={"controllerName": "weir.dev/ingress-controller"})
    yield from (obj("v1", "Namespace", f"ns{i}") for i in range(N_NAMESPACES))
    yield from (gateway(i) for i in range(N_GATEWAYS))
    yield from (service(i) for i in range(n_services))
    yield from (slice_of(i, addresses(i, each)) for i in range(n_services))
    yield from (ingress(i, n_services) for i in range(n_ingresses))
    yield from (route(i, n_services) for i in range(n_routes))
