#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A double of the Kubernetes API server, for tests: list and watch as it does them, and the ways in which it fails.

    tests/double/apiserver.py [--port PORT] [--cert FILE --key FILE] [--token TOKEN] [--state FILE]

Serves the kinds of KINDS (discovery, paged lists, watches with bookmarks, GET, PUT, PATCH (merge patch; server-side apply of
status: fields.py), POST, DELETE of an object). --state: objects and versions are read from this file at start and written to it after each
change, so that it can be killed and started again. It prints "ready PORT" when it listens.

What a test tells it goes through paths below /double/:

    PUT  /double/apply      a list of objects: each is created or replaced
    POST /double/delete     {"kind", "namespace", "name"}
    POST /double/compact    versions until now are forgotten: watches and pages from them are answered 410
    POST /double/bookmark   a bookmark for every watch, now
    POST /double/cut        every watch ends now, as in the middle of a byte stream ({"mid_object": true}: of an event)
    POST /double/faults     {"match": part of a path, "times": N, and one of
                             "status": CODE (with "retry_after": SECONDS), "body": TEXT (in place of what was asked for),
                             "truncate": BYTES (of the body; then the connection ends), "delay": SECONDS, "hold": true (until released),
                             "slow": BYTES (so many of the body come one by one), "content_type": TEXT,
                             "event": TEXT (into each watch that matches, at once, as it is),
                             "parent": ENTRY (another controller writes this into status.parents just before)}
    POST /double/tokens     [tokens]: only these are known from now on
    POST /double/release    what is held is answered, and nothing is held any more
    POST /double/forgive    no faults any more
    POST /double/crds       {"served": bool}: whether the Gateway API's kinds are there
    POST /double/streams    {"mode": "serve", "refuse" (at first) or "ignore"}: what a watch with sendInitialEvents gets
    POST /double/pages      {"most": N}: a page has no more, whatever was asked for
    GET  /double/objects    all objects
    GET  /double/stats      numbers of requests: {"list": N, "watch": N, ...}
    GET  /double/asked      the paths, with queries, of all requests for Secrets and ConfigMaps, in their order
"""
import argparse
import bisect
import copy
import json
import pathlib
import re
import select
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fields

GATEWAY = "gateway.networking.k8s.io"
# (group, version, plural, kind, namespaced)
KINDS = [
    ("", "v1", "services", "Service", True),
    ("", "v1", "namespaces", "Namespace", False),
    ("", "v1", "nodes", "Node", False),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False),
    ("", "v1", "secrets", "Secret", True),
    ("", "v1", "configmaps", "ConfigMap", True),
    ("", "v1", "events", "Event", True),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True),
    ("networking.k8s.io", "v1", "ingresses", "Ingress", True),
    ("networking.k8s.io", "v1", "ingressclasses", "IngressClass", False),
    ("coordination.k8s.io", "v1", "leases", "Lease", True),
    (GATEWAY, "v1", "gatewayclasses", "GatewayClass", False),
    (GATEWAY, "v1", "gateways", "Gateway", True),
    (GATEWAY, "v1", "httproutes", "HTTPRoute", True),
    (GATEWAY, "v1beta1", "referencegrants", "ReferenceGrant", True),
    (GATEWAY, "v1", "listenersets", "ListenerSet", True),
    (GATEWAY, "v1", "grpcroutes", "GRPCRoute", True),
    (GATEWAY, "v1alpha3", "tlsroutes", "TLSRoute", True),
    (GATEWAY, "v1alpha2", "tcproutes", "TCPRoute", True),
    (GATEWAY, "v1", "backendtlspolicies", "BackendTLSPolicy", True),
]
BY_KIND = {k[3]: k for k in KINDS}


class Answer(Exception):
    """An answer that is a Status."""

    def __init__(self, code, reason, message, headers=()):
        super().__init__(message)
        self.code, self.headers = code, headers
        self.body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                     "reason": reason, "code": code}


class Cluster:
    """The objects, and every change of them since the last compaction. All under one lock."""

    def __init__(self, state):
        self.lock = threading.Condition()
        self.version = 1
        self.compacted = 0
        self.objects = {}   # (plural, ns, name): object
        self.changes = []   # (version, type, plural, object)
        self.pages = {}     # token: (version, objects that remain)
        self.faults = []
        self.releases = 0
        self.crds = True
        self.streams = "refuse"
        self.page = 1 << 30
        self.cuts = 0       # how often all watches were cut
        self.mid_object = False
        self.bookmarks = 0
        self.stats = {}
        self.asked = []
        self.state = state
        if state and state.exists():
            saved = json.loads(state.read_text())
            self.version = self.compacted = saved["version"]
            for obj in saved["objects"]:
                self.objects[self.key(obj)] = obj

    def key(self, obj):
        kind = BY_KIND[obj["kind"]]
        meta = obj["metadata"]
        return kind[2], meta.get("namespace", "default") if kind[4] else "", meta["name"]

    def save(self):
        if self.state:
            tmp = self.state.with_suffix(".tmp")
            tmp.write_text(json.dumps({"version": self.version, "objects": list(self.objects.values())}))
            tmp.rename(self.state)

    def change(self, kind, key, obj):
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.changes.append((self.version, kind, key[0], copy.deepcopy(obj)))
        self.lock.notify_all()

    def put(self, obj, is_status=False, manager="double"):
        """As the API server keeps it: with uid, generation, managedFields. What changes nothing makes no version."""
        obj = copy.deepcopy(obj)
        key = self.key(obj)
        old = self.objects.get(key)
        meta = obj["metadata"]
        if key[1]:
            meta["namespace"] = key[1]
        if old:
            meta.update({k: old["metadata"][k] for k in ("uid", "creationTimestamp", "generation")})
            if is_status:
                managed = meta.get("managedFields", [])  # of an apply
                obj = dict(old, status=obj.get("status"), metadata=dict(old["metadata"]))
                meta = obj["metadata"]
                if not manager:
                    meta["managedFields"] = managed
            elif "status" in old:
                obj["status"] = old["status"]
            if obj.get("spec") != old.get("spec"):
                meta["generation"] += 1
        else:
            meta.update(uid=f"uid-{self.version + 1}", generation=1)
            meta.setdefault("creationTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        if not old:
            meta["managedFields"] = [{"manager": "double", "operation": "Update", "fieldsV1": {"f:spec": {}}}]
        elif not is_status:
            meta["managedFields"] = old["metadata"]["managedFields"]
        if is_status and manager:
            fields.update(obj, old, manager)
        if old and is_status and obj == old:
            return old
        self.objects[key] = obj
        self.change("MODIFIED" if old else "ADDED", key, obj)
        return obj

    def delete(self, key):
        obj = self.objects.pop(key, None)
        if obj is None:
            raise Answer(404, "NotFound", f"{key[0]} {key[2]!r} not found")
        self.change("DELETED", key, obj)
        return obj

    def compact(self):
        self.compacted = self.version
        self.changes = []
        self.pages = {}
        self.lock.notify_all()

    def has_fault(self, path, *names):
        return next((f for f in self.faults if f["match"] in path and f["times"] > 0 and any(n in f for n in names)), None)

    def take_fault(self, path, *names):
        fault = self.has_fault(path, *names)
        if fault:
            fault["times"] -= 1
        return fault


def label_selector(text):
    """Of labels: 'a=b,c!=d,e'."""
    terms = [t for t in (text or "").split(",") if t]

    def matches(labels):
        for t in terms:
            m = re.fullmatch(r"([^=!]+)(?:(==?|!=)(.*))?", t)
            has = labels.get(m[1])
            if (m[2] is None and has is None) or (m[2] in ("=", "==") and has != m[3]) or (m[2] == "!=" and has == m[3]):
                return False
        return True
    return lambda obj: matches(obj["metadata"].get("labels", {}))


def merge(old, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    out = dict(old) if isinstance(old, dict) else {}
    for k, v in patch.items():
        if v is None:
            out.pop(k, None)
        else:
            out[k] = merge(out.get(k), v)
    return out


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    disable_nagle_algorithm = True  # as the real one: heads and bodies are written apart, and events wait for nothing

    def log_message(self, *args):
        pass

    # -- answers

    def reply(self, code, body, headers=(), fault=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", (fault or {}).get("content_type", "application/json"))
        self.send_header("Content-Length", str(len(data)))
        for k, v in headers:
            self.send_header(k, str(v))
        self.end_headers()
        if fault and "truncate" in fault:
            self.wfile.write(data[:fault["truncate"]])
            self.close_connection = True
        elif self.command != "HEAD":
            self.write_slowly(data, fault)

    def write_slowly(self, data, fault):
        n = (fault or {}).get("slow", 0)
        for i in range(min(n, len(data))):
            self.wfile.write(data[i:i + 1])
            self.wfile.flush()
        self.wfile.write(data[n:])

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def body(self):
        return json.loads(self.data) if self.data else {}

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query))
        # always, whatever is answered: or the next request of the connection would begin with it
        self.data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if url.path.startswith("/double/"):
                self.double(url.path[8:])
            else:
                self.kubernetes(url.path)
        except Answer as a:
            self.reply(a.code, a.body, a.headers)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError, TimeoutError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

    # -- what tests say

    def double(self, what):
        c = self.server.cluster
        body = self.body()
        with c.lock:
            if what == "apply":
                for obj in body:
                    c.put(obj)
            elif what == "delete":
                c.delete(c.key({"kind": body["kind"], "metadata": body}))
            elif what == "compact":
                c.compact()
            elif what == "bookmark":
                c.bookmarks += 1
            elif what == "cut":
                c.cuts += 1
                c.mid_object = bool(body.get("mid_object"))
            elif what == "forgive":
                c.faults = []
            elif what == "release":
                c.releases += 1
                c.faults = [f for f in c.faults if "hold" not in f]
            elif what == "tokens":
                self.server.tokens = body
            elif what == "faults":
                c.faults.append(dict({"match": "", "times": 1}, **body))
            elif what == "crds":
                c.crds = body["served"]
            elif what == "pages":
                c.page = body["most"]
            elif what == "streams":
                c.streams = body["mode"]
            elif what not in ("stats", "objects", "asked"):
                raise Answer(404, "NotFound", f"no such command: {what}")
            if self.command != "GET":
                c.save()
            c.lock.notify_all()
            answer = {"stats": c.stats, "asked": c.asked, "objects": list(c.objects.values())}.get(what, {"version": c.version})
        self.reply(200, answer)

    # -- what Kubernetes does

    def count(self, what):
        with self.server.cluster.lock:
            self.server.cluster.stats[what] = self.server.cluster.stats.get(what, 0) + 1

    def kubernetes(self, path):
        c = self.server.cluster
        if self.server.tokens and self.headers.get("Authorization") not in [f"Bearer {t}" for t in self.server.tokens]:
            self.count("unauthorized")
            raise Answer(401, "Unauthorized", "Unauthorized")
        with c.lock:
            if re.search(r"/(secrets|configmaps)(/|$)", path):
                c.asked.append(self.path)
            fault = c.take_fault(self.path, "status", "body", "truncate", "delay", "hold", "slow", "content_type")
            releases = c.releases
        if fault:
            self.count("fault")
            if "delay" in fault:
                time.sleep(fault["delay"])
            if "hold" in fault:
                with c.lock:
                    c.lock.wait_for(lambda: c.releases != releases)
            if "status" in fault:
                retry = fault.get("retry_after")
                raise Answer(fault["status"], "Fault", "told to fail", [("Retry-After", retry)] if retry else ())
            if "body" in fault:
                self.reply(200, fault["body"].encode(), fault=fault)
                return
        m = re.fullmatch(r"/(?:api|apis/([^/]+))/([^/]+)(?:/(.*))?", path)
        if not m:
            raise Answer(404, "NotFound", "no such path")
        group, version, rest = m[1] or "", m[2], m[3]
        kinds = [k for k in KINDS if k[:2] == (group, version) and (c.crds or k[0] != GATEWAY)]
        if not kinds:
            raise Answer(404, "NotFound", "the server could not find the requested resource")
        if not rest:
            self.count("discovery")
            self.reply(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}".strip("/"),
                             "resources": [{"name": k[2], "kind": k[3], "namespaced": k[4], "verbs": ["get", "list", "watch"]}
                                           for k in kinds]}, fault=fault)
            return
        m = re.fullmatch(r"(?:namespaces/([^/]+)/)?([^/]+)(?:/([^/]+))?(?:/(status))?", rest)
        kind = next((k for k in kinds if m and k[2] == m[2]), None)
        if not kind:
            raise Answer(404, "NotFound", "the server could not find the requested resource")
        if m[3] or self.command == "POST":
            self.one_object(kind, m[1] if kind[4] else "", m[3], m[4] == "status")
        elif self.query.get("watch") in ("1", "true"):
            self.watch(kind, m[1], fault)
        else:
            self.list(kind, m[1], fault)

    def one_object(self, kind, ns, name, is_status):
        c = self.server.cluster
        body = self.body()
        self.count(f"{self.command.lower()}{'-status' if is_status else ''}")
        with c.lock:
            key = (kind[2], ns, name or body.get("metadata", {}).get("name"))
            old = c.objects.get(key)
            if self.command != "POST" and not old and "apply" not in (self.headers.get("Content-Type") or ""):
                raise Answer(404, "NotFound", f"{key[0]} {key[2]!r} not found")
            if self.command == "POST" and old:
                raise Answer(409, "AlreadyExists", f"{key[0]} {key[2]!r} already exists")
            if self.command == "GET":
                self.reply(200, old)
                return
            if self.command == "DELETE":
                gone = c.delete(key)
                c.save()
                self.reply(200, gone)
                return
            fault = c.take_fault(self.path, "parent")
            if fault and old:
                old = c.put(self.beside(old, fault["parent"]), True, "another")
            version = body.get("metadata", {}).get("resourceVersion")
            if old and version and version != old["metadata"]["resourceVersion"]:
                raise Answer(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
            manager = self.query.get("fieldManager", "unknown")
            if is_status and "apply" in (self.headers.get("Content-Type") or ""):
                self.apply_status(kind, key, old, body, manager)
                return
            obj = merge(old or {}, body) if self.command == "PATCH" else body
            obj.setdefault("kind", kind[3])
            obj.setdefault("apiVersion", f"{kind[0]}/{kind[1]}".strip("/"))
            obj.setdefault("metadata", {}).setdefault("name", key[2])
            if ns:
                obj["metadata"]["namespace"] = ns
            obj = c.put(obj, is_status, manager)
            c.save()
            self.reply(201 if self.command == "POST" else 200, obj)

    def beside(self, obj, entry):
        """The object with another controller's entry in place of the one that it had."""
        rest = [p for p in obj.get("status", {}).get("parents", []) if p["controllerName"] != entry["controllerName"]]
        return dict(obj, status=dict(obj.get("status", {}), parents=[entry, *rest]))

    def apply_status(self, kind, key, old, body, manager):
        """Server-side apply; under the lock."""
        c = self.server.cluster
        meta = body.get("metadata", {})
        if body.get("apiVersion") != f"{kind[0]}/{kind[1]}".strip("/") or body.get("kind") != kind[3]:
            raise Answer(400, "BadRequest", f"{body.get('apiVersion')} {body.get('kind')} is not what the path names")
        if (meta.get("name"), meta.get("namespace", "")) != (key[2], key[1]) or "managedFields" in meta:
            raise Answer(400, "BadRequest", "metadata is not that of the path")
        if self.query.get("force") != "true" or "fieldManager" not in self.query:
            raise Answer(400, "BadRequest", "the double knows only forced applies, and needs a fieldManager")
        if not old:
            raise Answer(404, "NotFound", f"{key[0]} {key[2]!r} not found")
        obj = copy.deepcopy(old)
        fields.apply(obj, body.get("status", {}), manager)
        obj = c.put(obj, True, None)
        c.save()
        self.reply(200, obj)

    def wanted(self, kind, ns):
        matches = label_selector(self.query.get("labelSelector"))
        field, _, name = (self.query.get("fieldSelector") or "").partition("=")
        if field not in ("", "metadata.name"):
            raise Answer(400, "BadRequest", f"field label not supported: {field}")
        return lambda plural, obj: (plural == kind[2] and (not ns or obj["metadata"].get("namespace") == ns) and
                                    (not field or obj["metadata"]["name"] == name) and matches(obj))

    def list(self, kind, ns, fault):
        c = self.server.cluster
        limit = min(int(self.query.get("limit") or 1 << 30), self.server.cluster.page)
        token = self.query.get("continue")
        self.count("page" if token else "list")
        with c.lock:
            if token:
                if token not in c.pages:
                    raise Answer(410, "Expired", "the provided continue parameter is too old")
                version, rest = c.pages.pop(token)
            else:
                wanted = self.wanted(kind, ns)
                version = c.version
                rest = [copy.deepcopy(o) for k, o in sorted(c.objects.items()) if wanted(k[0], o)]
            meta = {"resourceVersion": str(version)}
            items = rest[:limit]
            if len(rest) > limit:
                meta["continue"] = f"{kind[2]}/{version}+{len(rest)}="
                meta["remainingItemCount"] = len(rest) - limit
                c.pages[meta["continue"]] = (version, rest[limit:])
        if kind[0] != GATEWAY:  # items of custom resources have their kind, others have not
            for o in items:
                o.pop("kind", None)
                o.pop("apiVersion", None)
        self.reply(200, {"kind": kind[3] + "List", "apiVersion": f"{kind[0]}/{kind[1]}".strip("/"), "metadata": meta,
                         "items": items}, fault=fault)

    def has_left(self):
        """The client of a watch: it sends nothing, so what can be read is the end."""
        return bool(select.select([self.connection], [], [], 0)[0])

    @staticmethod
    def line(kind, obj):
        return json.dumps({"type": kind, "object": obj}).encode() + b"\n"

    def event(self, kind, obj):
        self.chunk(self.line(kind, obj))

    def bookmark(self, kind, version, annotations=None):
        meta = {"resourceVersion": str(version), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        return {"kind": kind[3], "apiVersion": f"{kind[0]}/{kind[1]}".strip("/"), "metadata": meta}

    def stream_begin(self, kind, wanted):
        """(version, all there is as events) of a watch that is to begin so."""
        c = self.server.cluster
        with c.lock:
            if c.streams == "refuse":
                raise Answer(422, "Invalid", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless "
                                             "the WatchList feature gate is enabled")
            lines = [self.line("ADDED", o) for k, o in sorted(c.objects.items()) if wanted(k[0], o)]
            if c.streams == "serve":
                lines.append(self.line("BOOKMARK", self.bookmark(kind, c.version, {"k8s.io/initial-events-end": "true"})))
            return c.version, b"".join(lines)

    def watch(self, kind, ns, given=None):
        """Changes after resourceVersion, until timeoutSeconds, a cut, or a compaction that overtakes us."""
        c = self.server.cluster
        at, first = int(self.query.get("resourceVersion") or 0), b""
        end = time.monotonic() + float(self.query.get("timeoutSeconds") or 1800)
        wanted = self.wanted(kind, ns)
        if self.query.get("sendInitialEvents") == "true":
            at, first = self.stream_begin(kind, wanted)
            self.count("stream")
        self.count("watch")
        with c.lock:
            cuts, bookmarks = c.cuts, c.bookmarks
            if at < c.compacted:
                raise Answer(410, "Expired", f"too old resource version: {at} ({c.compacted})")
        self.send_response(200)
        self.send_header("Content-Type", (given or {}).get("content_type", "application/json"))
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        if given and "truncate" in given:
            self.wfile.write(b"fffff\r\n" + first[:given["truncate"]])
            self.close_connection = True
            return
        if first:
            self.wfile.write(b"%x\r\n" % len(first))
            self.write_slowly(first, given)
            self.wfile.write(b"\r\n")
            self.wfile.flush()
        while True:
            with c.lock:
                c.lock.wait_for(lambda: c.version > at or c.cuts != cuts or c.bookmarks != bookmarks or
                                c.has_fault(self.path, "event"), max(end - time.monotonic(), 0))
                if self.has_left():
                    self.close_connection = True
                    return
                expired = c.compacted > at  # what happened until then is forgotten
                todo = c.changes[bisect.bisect_right(c.changes, at, key=lambda ch: ch[0]):]
                fault = c.take_fault(self.path, "event")
                is_cut, is_mid, marks, version = c.cuts != cuts, c.mid_object, c.bookmarks, c.version
            if fault:
                self.chunk(fault["event"].encode())
            if is_cut:
                if is_mid:
                    self.wfile.write(b'40\r\n{"type":"MODIFIED","object":{"meta')
                    self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if expired:
                self.event("ERROR", Answer(410, "Expired", "too old resource version").body)
                break
            for _, what, plural, obj in todo:
                if wanted(plural, obj):
                    self.event(what, obj)
                elif what == "MODIFIED" and plural == kind[2] and self.query.get("labelSelector"):
                    self.event("DELETED", obj)  # to this watch, if it was there: for it, it is not any more
            at = max(at, version)
            if marks != bookmarks:
                bookmarks = marks
                self.event("BOOKMARK", self.bookmark(kind, at))
            if time.monotonic() >= end:
                break
        self.chunk(b"")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, ssl.SSLError)):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--token")
    parser.add_argument("--state", type=pathlib.Path)
    args = parser.parse_args()
    server = Server((args.address, args.port), Handler)
    server.cluster = Cluster(args.state)
    server.tokens = [args.token] if args.token else []
    if args.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.cert, args.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(f"ready {server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
