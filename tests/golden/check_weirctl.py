# SPDX-License-Identifier: Apache-2.0
"""weirctl check on good, wrong and missing manifests: exit status and what it names. check_weirctl.py WEIRCTL ROOT"""
import json
import pathlib
import subprocess
import sys
import tempfile

weirctl, root = sys.argv[1], pathlib.Path(sys.argv[2])


def run(*args):
    return subprocess.run([weirctl, *map(str, args)], capture_output=True, text=True)


def expect(condition, p):
    if not condition:
        sys.exit(f"unexpected: {p.args} gave {p.returncode}\n{p.stdout}{p.stderr}")


p = run("check", root / "scripts/quickstart.d")
expect(p.returncode == 0 and "0 fatal problems" in p.stdout, p)
with tempfile.TemporaryDirectory() as d:
    bad = pathlib.Path(d) / "bad.yaml"
    bad.write_text("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: x, namespace: ns}\nspec:\n  rules:\n"
                   "    - http:\n        paths:\n          - {path: nope, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}\n")
    p = run("check", bad)
    expect(p.returncode == 1 and "bad.yaml:8:" in p.stdout and "Ingress ns/x spec.rules[0].http.paths[0].path" in p.stdout, p)
    p = run("-o", "json", "check", bad)
    expect(p.returncode == 1 and json.loads(p.stdout)[0]["line"] == 8, p)
    bad.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: ns}\nspec: {type: ExternalName, externalName: a.test}\n---\n"
                   "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: x, namespace: ns}\nspec:\n"
                   "  defaultBackend: {service: {name: s, port: {number: 80}}}\n")
    p = run("check", bad)
    expect(p.returncode == 0 and "bad.yaml:4:42: Service ns/s spec.externalName: NameNotLookedUp: a.test is looked up by weir-ctrl "
           "alone, if it is started with --external-names (served all the same)" in p.stdout, p)
    p = run("check", pathlib.Path(d) / "missing.yaml")
    expect(p.returncode == 2 and "missing.yaml" in p.stderr, p)
for args in ((), ("nonsense",), ("-o", "xml", "status"), ("explain", "GET"), ("explain", "http://a.test/"), ("explain", "udp://:53"), ("check",), ("connections", "x"), ("connections", "--worker"),
             ("status", "--worker", "1"), ("status", "-w", "x"), ("connections", "--count", "1"), ("capture", "--sort", "rtt"), ("capture", "-w"), ("capture", "--token"), ("status", "--token", "x"),
             ("capture", "-w", "/dev/null", "--bytes", "0"), ("capture", "-w", "/dev/null", "--bytes", "65536")):
    p = run(*args)
    expect(p.returncode == 2 and "Usage: weirctl" in p.stderr, p)
p = run("capture", "-w", "/dev/null", "tcp", "prot", "80")
expect(p.returncode == 2 and "filter: " in p.stderr, p)
with tempfile.TemporaryDirectory() as d:
    token, out = pathlib.Path(d) / "capture.token", pathlib.Path(d) / "out.pcap"
    p = run("--admin", "127.0.0.1:1", "capture", "-w", out, "--token", token, "tcp", "port", "80")
    expect(p.returncode == 1 and f"{token}: No such file" in p.stderr and not out.exists(), p)
    token.write_text("no secret\n")
    p = run("--admin", "127.0.0.1:1", "capture", "-w", out, "--token", token, "tcp", "port", "80")
    expect(p.returncode == 1 and f"{token} is no capture token" in p.stderr and not out.exists(), p)
    token.write_text("0123456789abcdef" * 4 + "\n")
    p = run("--admin", "127.0.0.1:1", "capture", "-w", out, f"--token={token}", "tcp", "port", "80")
    expect(p.returncode == 1 and "127.0.0.1:1" in p.stderr, p)
p = run("--admin", "127.0.0.1:1", "status")
expect(p.returncode == 1 and "does not answer" in p.stderr, p)
