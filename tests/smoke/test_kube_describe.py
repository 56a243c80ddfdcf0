# SPDX-License-Identifier: Apache-2.0
"""What `kubectl describe` says of objects that are wrong, on a real Kubernetes.

Each tests/conformance/describe/NAME.yaml has one mistake; NAME.expect is what its objects are told: status and Events, as
kubectl prints them. All are there at once, each in a namespace of its own. WEIR_UPDATE_GOLDEN=1 writes the .expect files.
"""
import difflib
import json
import os
import pathlib
import re
import time

import yaml

from rig import expect, wait_until
from test_kube import Weir, plain_kube

CASES = pathlib.Path(__file__).resolve().parents[1] / "conformance/describe"
CLUSTERED = ("GatewayClass", "IngressClass", "Namespace")
KINDS = "gatewayclasses,gateways,httproutes,ingresses,services,endpointslices,referencegrants"
CLASS = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "weir"},
         "spec": {"controllerName": "weir.dev/ingress-controller"}}


def cases():
    """{name: its objects}, each in the namespace of that name unless it says another."""
    out = {}
    for path in sorted(CASES.glob("*.yaml")):
        out[path.stem] = objects = [o for o in yaml.safe_load_all(path.read_text()) if o]
        for o in objects:
            if o["kind"] not in CLUSTERED:
                o["metadata"].setdefault("namespace", path.stem)
    return out


def namespaces_of(objects):
    return {o["metadata"]["namespace"] for o in objects if "namespace" in o["metadata"]}


def sections(text):
    """{(namespace, name, kind): lines} of what kubectl describes, one object after the other."""
    out = {}
    for part in re.split(r"\n\n\n(?=Name: )", text.strip()):
        head = dict(re.findall(r"^(Name|Namespace|Kind): +(\S+)$", part, re.M))
        kind = head.get("Kind") or next((k for k, mark in (
            ("EndpointSlice", "AddressType:"), ("Ingress", "Ingress Class:"), ("Service", "IP Families:")) if f"\n{mark}" in part), "?")
        out[head.get("Namespace", ""), head["Name"], kind] = part.splitlines()
    return out


def block(lines, title):
    """The indented lines below a title of the first column, with what stands beside it."""
    at = next((i for i, line in enumerate(lines) if line.startswith(f"{title}:")), None)
    if at is None:
        return []
    end = next((i for i in range(at + 1, len(lines)) if not lines[i].startswith(" ")), len(lines))
    return lines[at:end]


def told(lines, named):
    """Status and Events, without what differs from run to run. named: addresses that the case itself names."""
    out = []
    for line in block(lines, "Status"):
        line = re.sub(r"(Last Transition Time: +).*", r"\1<time>", line)
        out.append(re.sub(r"10\.90\.0\.\d+", lambda m: m[0] if m[0] in named else "<address>", line))
    events = []
    for line in block(lines, "Events")[3:]:
        kind, reason, age, who, message = re.split(r"\s{2,}", line.strip(), maxsplit=4)
        if who != "weir-ctrl":
            continue
        message = re.sub(r"10\.90\.0\.\d+", lambda m: m[0] if m[0] in named else "<address>", message)
        events.append(f"{kind} {reason}{' again' if '(x' in age else ''} from {who}: {message}")
    return out + sorted(events)


def describe(rig, all_cases):
    """{case: text} as in the .expect files: of objects that a Warning is about."""
    found = sections(rig.kubectl("describe", KINDS, "-A", "--show-events=true").stdout)
    out = {}
    for name, objects in all_cases.items():
        parts = []
        named = set(re.findall(r"10\.90\.0\.\d+", json.dumps(objects)))
        for o in objects:
            key = o["metadata"].get("namespace", ""), o["metadata"]["name"], o["kind"]
            lines = told(found.get(key, []), named)
            if any(line.startswith("Warning ") for line in lines):
                parts.append("\n".join([f"# {key[2]} {key[1]}", *lines]))
        out[name] = "\n\n".join(parts) + "\n"
    return out


def diff(name, want, got):
    return "\n".join(difflib.unified_diff(want.splitlines(), got.splitlines(), f"{name}.expect", "kubectl describe", lineterm=""))


def n_waiting(rig):
    text = rig.run(["curl", "-s", "-m", "60", "http://127.0.0.1:9901/metrics"]).stdout
    found = dict(re.findall(r"^weir_ctrl_(\w+) (\d+)", text, re.M))
    return int(found["status_waiting"]) + int(found["events_waiting"]) + (found["status_writing"] != "1") + (found["events_created_total"] == "0")


@plain_kube
def test_mistakes_are_told_in_words_that_say_what_would_mend_them(make, rig):
    all_cases = cases()
    expect(len(all_cases) >= 30, f"{len(all_cases)} cases")
    namespaces = sorted(set().union(*map(namespaces_of, all_cases.values())))
    objects = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in namespaces]
    objects += [CLASS, *(o for found in all_cases.values() for o in found)]
    began = time.monotonic()
    wait_until("no namespace of an earlier try is left", lambda: not rig.kubectl(
        "get", "namespaces", *namespaces, "--ignore-not-found", "-o", "name").stdout.strip(), 180)
    try:
        rig.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        print(f"      {len(all_cases)} mistakes, {len(objects)} objects applied ({time.monotonic() - began:.1f} s)", flush=True)
        with Weir(rig, make.args[0]) as weir:
            wait_until("weir-ctrl is healthy", weir.is_healthy)
            time.sleep(2)  # what is gone within a second is not told
            wait_until("all is told", lambda: n_waiting(rig) == 0, 180)
            got = describe(rig, all_cases)
            if os.environ.get("WEIR_UPDATE_GOLDEN"):
                for name, text in got.items():
                    (CASES / f"{name}.expect").write_text(text)
            want = {name: (CASES / f"{name}.expect").read_text() for name in all_cases}
            end = time.monotonic() + 60
            while got != want and time.monotonic() < end:  # what Weir has yet to see of its own statuses does not count as waiting
                time.sleep(1)
                got = describe(rig, all_cases)
            bad = [diff(name, want[name], got[name]) for name in all_cases if got[name] != want[name]]
            expect(not bad, f"{len(bad)} of {len(all_cases)} differ:\n" + "\n".join(bad))
            silent = [name for name, text in got.items() if "\nWarning " not in text]
            expect(not silent, f"nobody is warned of {silent}")
            without = [line for text in got.values() for line in text.splitlines() if line.startswith("Warning ") and line[-1] != "."]
            expect(not without, f"no sentence says what would mend it: {without}")
            metrics = rig.run(["curl", "-s", "-m", "60", "http://127.0.0.1:9901/metrics"]).stdout
            for counter in ("status_taken", "status_refused", "events_failed", "events_dropped"):
                expect(f"weir_ctrl_{counter}_total 0\n" in metrics, f"{counter}: none")
    finally:
        rig.kubectl("delete", "--wait=false", "namespaces", *namespaces, check=False)
        rig.kubectl("delete", "--wait=false", "gatewayclasses", "class-with-parameters", check=False)
    print(f"      in all {time.monotonic() - began:.1f} s", flush=True)
