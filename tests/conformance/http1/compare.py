#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Weir and five other proxies pass to the same backend for the same bytes: the cases of this folder.

    tests/conformance/http1/compare.py --build BUILD [--write] [--only PART_OF_A_NAME]

Weir must never forward what any two of them, itself among them, understand differently: not the same requests by
number, method, target, host and body. A proxy that passes on nothing has no say. Exceptions are listed in explained.txt
with the reason why they are no hazard; one that is not listed fails, and so does one that is
listed and does not differ. --write writes compared.tsv. As root, in a network namespace of its own.
"""
import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "smoke")]
import corpus  # noqa: E402
import proxies  # noqa: E402
import rig as rig_module  # noqa: E402
from rig import PEER4, WEIR4, service, slice_  # noqa: E402

TABLE = HERE / "compared.tsv"
FIRST_PORT = 20000
WEIR_PORT = 22000
QUIET_S, LONG_QUIETS_S = 1.0, (5.0, 15.0, 30.0)  # a case in which neither the probe nor an end comes has ended; longer for what looks wrong
N_TRIES = 20  # for a difference that does not show each time
NAMES = ["weir", *(p.name for p in proxies.ALL)]


def manifests():
    """A listener, a route of any host and a backend for each lane."""
    lanes = proxies.make_lanes(WEIR_PORT)
    listeners = ", ".join(f"{{name: l{i}, port: {front}, protocol: HTTP}}" for i, (front, _) in enumerate(lanes))
    text = f"""apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: weir}}
spec: {{controllerName: weir.dev/ingress-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: demo}}
spec: {{gatewayClassName: weir, listeners: [{listeners}]}}
---
"""
    for i, (_, back) in enumerate(lanes):
        text += service(f"b{i}") + slice_(f"b{i}", PEER4, back) + f"""apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r{i}, namespace: demo}}
spec:
  parentRefs: [{{name: edge, sectionName: l{i}}}]
  rules: [{{backendRefs: [{{name: b{i}, port: 80}}]}}]
---
"""
    return {"lanes.yaml": text}


def read_explained():
    return corpus.read_reasons(HERE / corpus.EXPLAINED)


def distinct(cases):
    """One case for each stream of the client: what backends answer is not part of this."""
    seen = {}
    for case in cases:
        seen.setdefault(tuple(case.client), case)
    return list(seen.values())


def understood(result):
    return tuple(tuple(r) for r in result["seen"])


def differs(results, name):
    """Whether two of those who passed anything on understood it differently."""
    return len({understood(results[p][name]) for p in NAMES if results[p][name]["seen"]}) > 1


class Comparison:
    """Runs cases within a rig that has manifests()."""

    def __init__(self, rig):
        self.rig = rig
        self.proxies = proxies.make_all(rig.dir, PEER4, FIRST_PORT)
        self.keeper = proxies.Keeper(self.proxies, lambda argv, log: rig.spawn(list(map(str, argv)), stdout=log, stderr=log))

    def run(self, names, quiet_s):
        """{proxy: {case: result}}"""
        ends = {"weir": (WEIR4, proxies.make_lanes(WEIR_PORT)), **{p.name: (p.address, p.lanes) for p in self.proxies}}
        spec = {"names": names, "quiet_s": quiet_s, "backend": PEER4, "proxies": {
            name: {"address": address, "fronts": [f for f, _ in lanes], "backs": [b for _, b in lanes]}
            for name, (address, lanes) in ends.items()}}
        return json.loads(self.rig.run(["python3", HERE / "lanes.py", json.dumps(spec)], timeout=600).stdout)

    def run_all(self, cases, explained, n_rounds=1):
        """As run(), but what does not fit explained.txt is looked at again, with more patience."""
        names = [c.name for c in cases]
        with self.keeper:
            results = self.run(names, QUIET_S)
            for _ in range(n_rounds - 1):
                take_fuller(results, self.run(names, QUIET_S))
            for quiet_s in LONG_QUIETS_S:
                unlisted = [n for n in names if is_hazard(results, n) and n not in explained]
                if not unlisted:
                    break
                again = self.run(unlisted, quiet_s)
                for p in NAMES:
                    results[p].update(again[p])
            for _ in range(N_TRIES):
                stale = [n for n in names if n in explained and not is_hazard(results, n)]
                if not stale:
                    break
                take_fuller(results, self.run(stale, QUIET_S))
        return results


def take_fuller(results, others):
    """Some do not always do the same: Varnish may or may not have sent a request on before it finds its body bad."""
    for p, cases in others.items():
        for name, result in cases.items():
            if len(result["seen"]) > len(results[p][name]["seen"]):
                results[p][name] = result


def is_hazard(results, name):
    return bool(results["weir"][name]["seen"]) and differs(results, name)


def versions():
    return ", ".join(f"{p.name} {p.version()}" for p in proxies.ALL)


def has_versions_of_table():
    return TABLE.exists() and f"# {versions()}\n" in TABLE.read_text()


def judge(results, names, explained):
    """Texts of what is wrong. That a difference has gone counts only with the versions that the list was made with."""
    out = []
    for name in names:
        if is_hazard(results, name) and name not in explained:
            readings = "; ".join(f"{p}: {cell(results[p][name])}" for p in NAMES)
            out.append(f"{name} is forwarded, though it is not understood alike: {readings}")
    for name in explained:
        if name in names and not is_hazard(results, name) and has_versions_of_table():
            out.append(f"{name} is explained, but all understand it alike, or Weir does not forward it")
        elif name not in names:
            out.append(f"{name} is explained, but there is no such case")
    return out


def show(text):
    text = "".join(c if " " < c <= "~" or c == " " else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= 60 else f"{text[:40]}...({len(text)})"


def cell(result):
    """What one of them made of a case, for people."""
    if not result["seen"]:
        return result["status"] or "closed" if not result["quiet"] else "waits"
    return ", ".join(f"{show(m)} {show(t)} [{show(h)}]" + (f" {{{show(b)}}}" if b else "") for m, t, h, b in result["seen"])


def verdict(results, name):
    if not results["weir"][name]["seen"]:
        return "not forwarded, differs" if differs(results, name) else "not forwarded"
    return "explained" if differs(results, name) else "alike"


def table(results, cases):
    lines = ["# Written by compare.py --write: METHOD TARGET [HOST] {BODY} of each request that a backend got, = what Weir passed on, "
             "else what the client was answered.",
             "# " + versions(), "\t".join(["case", "verdict", *NAMES])]
    for case in sorted(cases, key=lambda c: (c.theme, c.name)):
        row = [cell(results[p][case.name]) for p in NAMES]
        weir = results["weir"][case.name]
        for i, p in enumerate(NAMES[1:], 1):
            if weir["seen"] and understood(results[p][case.name]) == understood(weir):
                row[i] = "="
        lines.append("\t".join([f"{case.theme}/{case.name}", verdict(results, case.name), *row]))
    return "\n".join(lines) + "\n"


def summary(results, cases):
    names = [c.name for c in cases]
    n_differ = sum(differs(results, n) for n in names)
    n_hazards = sum(is_hazard(results, n) for n in names)
    return f"{len(names)} cases, {n_differ} understood differently, {n_hazards} of these forwarded by Weir"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    if proxies.missing():
        raise SystemExit(f"not installed: {', '.join(proxies.missing())}")
    cases = [c for c in distinct(corpus.read_all()) if args.only in c.name]
    explained = {n: r for n, r in read_explained().items() if args.only in n}
    with rig_module.Rig(args.build, manifests=manifests()) as rig:
        comparison = Comparison(rig)
        results = comparison.run_all(cases, explained, 3 if args.write else 1)
    if args.write and not args.only:
        TABLE.write_text(table(results, cases))
    problems = judge(results, {c.name for c in cases}, explained)
    print("\n".join(problems))
    print(summary(results, cases))
    print("started again:", comparison.keeper.n_restarts or "none")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
