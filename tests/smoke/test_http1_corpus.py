# SPDX-License-Identifier: Apache-2.0
"""The cases of tests/conformance/http1 through a whole Weir: what a backend and a client see of each."""
import json
import pathlib
import sys

from rig import PEER4, WEIR4, expect, expect_eq, ip, service, slice_

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE.parent / "conformance" / "http1"
sys.path.insert(0, str(CORPUS))
import corpus  # noqa: E402

BACKEND = 8090
CLIENTS = [f"10.99.0.{i}" for i in range(21, 37)]
FLOOR = 540  # raised as the corpus grows: cases that vanish are noticed

# Any host, so that the host itself can be tested.
ROUTES = """apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: all, namespace: demo}
spec:
  rules:
    - http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: raw, port: {number: 80}}}}
---
"""
MANIFESTS = {"all.yaml": service("raw") + slice_("raw", PEER4, BACKEND) + ROUTES}

# Each says something wrong of a message, and must be found out.
WRONG = r"""
== wrong_forwarded | -
> G@T / HTTP/1.1\r\nHost: a\r\n\r\n
= forwarded G@T /
== wrong_refused | -
> GET / HTTP/1.1\r\nHost: a\r\n\r\n
= refused 400 bad_host
== wrong_name | -
> GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n
= refused 400 bad_host
== wrong_target | -
> GET /a HTTP/1.1\r\nHost: a\r\n\r\n
= forwarded GET /b
== wrong_body | -
> POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab
= forwarded POST /
  body ac
== wrong_trailer | -
> POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n
= forwarded POST /
  trailer x: z
== wrong_no_trailer | -
> POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: z\r\n\r\n
= forwarded POST /
== wrong_present | -
> GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n
= forwarded GET /
  + x: 2
== wrong_absent | -
> GET / HTTP/1.1\r\nHost: a\r\nX: 3\r\n\r\n
= forwarded GET /
  - x
== wrong_count | -
> GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n
= forwarded GET /
== wrong_kept | -
> GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n
= forwarded GET /
= kept
== wrong_closed | -
> GET /closed HTTP/1.1\r\nHost: a\r\n\r\n
= forwarded GET /closed
= closed
== wrong_nothing | -
> GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n
= nothing
== wrong_status | -
> GET /status HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n
= answered 200
"""


def run_corpus(rig, folder, **more):
    spec = {"corpus": str(folder), "clients": CLIENTS, "backend": [PEER4, BACKEND], "weir": [WEIR4, 80], **more}
    out = rig.run(["python3", HERE / "http1_peers.py", json.dumps(spec)], timeout=900)
    return json.loads(out.stdout)


def add_clients(rig):
    for address in CLIENTS:
        ip("-n", rig.ns, "addr", "add", address + "/24", "dev", "weir0")


def test_http1_corpus_behind_a_trusted_proxy(make):
    with make(manifests=MANIFESTS, extra="forwarding: {trusted_hops: 1, forwarded: true, via: gate}") as rig:
        add_clients(rig)
        got = run_corpus(rig, CORPUS / "trusted")
    expect_eq(got["failures"], {}, "cases that failed")
    expect(got["cases"] >= 12, "all cases were run")


def test_http1_corpus(make):
    pending = corpus.read_pending()
    with make(manifests=MANIFESTS) as rig:
        add_clients(rig)
        got = run_corpus(rig, CORPUS)
        wrong = rig.dir / "wrong"
        wrong.mkdir()
        (wrong / "wrong.txt").write_text(WRONG)
        found = run_corpus(rig, wrong, wait=5.0)  # what is wrongly expected does not come
    print(f"     {got['cases']} cases, {got['runs']} runs, {len(pending)} pending")
    for name, problems in got["failures"].items():
        print(f"     {'pending' if name in pending else 'FAILED'} {name}: {'; '.join(problems[:2])}")
    expect_eq(set(found["names"]) - set(found["failures"]), set(), "wrong expectations that were not noticed")
    expect_eq(got["strays"] + found["strays"], [], "requests of nobody")
    expect_eq(set(got["failures"]) - set(pending), set(), "cases that failed")
    expect_eq(set(pending) - set(got["failures"]), set(), "pending cases that pass, or are not there")
    expect(got["cases"] >= FLOOR, f"{got['cases']} cases of at least {FLOOR}")
