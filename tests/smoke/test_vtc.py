# SPDX-License-Identifier: Apache-2.0
"""The scripts of tests/conformance/vtc, run by Debian's varnishtest against one Weir. Their README says how they are written."""
import concurrent.futures
import pathlib
import re

from rig import PEER4, WEIR4, expect, expect_eq, service, slice_
from test_filters import EDGE

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent / "conformance" / "vtc"
FLOOR = 130
PARALLEL = 4
SERVERS = ("s1", "s2", "s3")
FIRST_PORT = 24000
GENTLE_S = 60  # a script that takes longer hangs
# Limits that scripts wait for. Long enough for what is not to run into them on a loaded machine.
LIMITS = "drain_ms: 3000, header_ms: 2500, body_ms: 2500, idle_ms: 4000, response_ms: 20000"


class Script:
    """A file, the names and ports of its servers, and its route."""

    def __init__(self, path, number):
        self.path, self.name = path, path.stem
        self.host = path.stem.replace("_", "-") + ".test"
        self.ports = {s: FIRST_PORT + 10 * number + i for i, s in enumerate(SERVERS)}
        self.prefix = f"v{number}-"
        self.rules = "".join(f"  {m}\n" for m in re.findall(r"^#@ (.*)$", path.read_text(), re.M)) or \
            "  - backendRefs: [{name: s1, port: 80}]\n"

    def manifest(self):
        """Services s1, s2, s3; both: the endpoints of s1 and s2; none: without an endpoint."""
        out = "".join(service(self.prefix + s) + slice_(self.prefix + s, PEER4, p) for s, p in self.ports.items())
        both = self.prefix + "both"
        out += service(both) + service(self.prefix + "none")
        for s in ("s1", "s2"):
            out += slice_(both, PEER4, self.ports[s]).replace(f"{both}-1", f"{both}-{s}")
        rules = re.sub(r"\bname: (s[123]|both|none)\b", rf"name: {self.prefix}\1", self.rules)
        return out + f"""apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {self.prefix}route, namespace: demo}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{self.host}, "*.{self.host}"]
  rules:
{rules}---
"""

    def macros(self):
        out = {"weir": f"{WEIR4}:80", "host": self.host, "client_ip": PEER4}
        out.update({s: f"{PEER4}:{p}" for s, p in self.ports.items()})
        return [x for k, v in out.items() for x in ("-D", f"{k}={v}")]

    def run(self, rig):
        """None, or what varnishtest said."""
        p = rig.run(["varnishtest", "-b", "16M", "-t", str(GENTLE_S), *self.macros(), self.path], check=False, timeout=2 * GENTLE_S)
        return None if p.returncode == 0 else (p.stdout + p.stderr).decode(errors="replace")


def run_scripts(make, scripts):
    """{name: output} of those that failed."""
    manifests = {"edge.yaml": EDGE, **{f"{s.name}.yaml": s.manifest() for s in scripts}}
    with make(manifests=manifests, timeouts=LIMITS) as rig:
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            results = dict(zip([s.name for s in scripts], pool.map(lambda s: s.run(rig), scripts)))
        expect_eq(rig.curl("/", host="nobody.test")[0], 404, "Weir is well afterwards")
    return {name: text for name, text in results.items() if text}


def test_varnishtest_scripts(make):
    scripts = [Script(p, i) for i, p in enumerate(sorted(SCRIPTS.glob("*.vtc")))]
    failed = run_scripts(make, scripts)
    for name, text in failed.items():
        print(f"--- {name}\n{text[-3000:]}")
    print(f"     {len(scripts)} scripts")
    expect_eq(sorted(failed), [], "scripts that failed")
    expect(len(scripts) >= FLOOR, f"{len(scripts)} scripts of at least {FLOOR}")
