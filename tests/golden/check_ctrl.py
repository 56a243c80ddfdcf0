# SPDX-License-Identifier: Apache-2.0
"""Options of weir-ctrl that are wrong, or make no sense together: exit status 2, and what is wrong. check_ctrl.py WEIR_CTRL"""
import subprocess
import sys

ctrl = sys.argv[1]
M, K = ("--manifests", "/nonexistent"), ("--kubeconfig", "/nonexistent")


def run(*args):
    return subprocess.run([ctrl, *args], capture_output=True, text=True, timeout=30)


WRONG = [
    ((), "one of --manifests, --kubeconfig and --in-cluster was expected"),
    ((*M, *K), "one of --manifests, --kubeconfig and --in-cluster was expected"),
    ((*K, "--in-cluster"), "one of --manifests"),
    ((*M, "--lease", "a/b"), "--lease is for --kubeconfig and --in-cluster: with --manifests there is no API server"),
    ((*M, "--write-status=never"), "--write-status is for"),
    ((*M, "--events=false"), "--events is for"),
    ((*M, "--namespace", "a"), "--namespace is for"),
    ((*M, "--selector", "a=b"), "--selector is for"),
    ((*M, "--ingress-without-class"), "--ingress-without-class is for"),
    ((*M, "--status-address", "192.0.2.1"), "--status-address is for"),
    (("--in-cluster", "--kube-context", "c"), "--kube-context is for --kubeconfig"),
    ((*K, "--write-status", "perhaps"), "--write-status perhaps: lease, always or never was expected"),
    ((*K, "--events", "1"), "--events 1: true or false was expected"),
    ((*K, "--lease", "weir-ctrl"), "--lease weir-ctrl: NAMESPACE/NAME was expected"),
    ((*K, "--lease", "/x"), "NAMESPACE/NAME was expected"),
    ((*K, "--lease", "a/X"), "NAMESPACE/NAME was expected"),
    ((*K, "--lease", "a/" + "x" * 300), "NAMESPACE/NAME was expected"),
    ((*K, "--status-address", "edge"), "--status-address edge: an IPv4 or IPv6 address"),
    ((*K, *("--status-address", "192.0.2.1") * 17), "at most 16 of them was expected"),
    ((*K, *("--namespace", "a") * 65), "at most 64 of them was expected"),
    ((*K, "--namespace", "A"), "--namespace A: the name of a namespace"),
    ((*M, "--address-pool", "x"), "--address-pool x: a prefix, a range or an address was expected"),
    ((*M, "--namespace-budget", "-1"), "--namespace-budget -1: a number of MiB from 0 to 1024 was expected"),
    ((*M, "--namespace-budget", "1025"), "a number of MiB from 0 to 1024 was expected"),
    ((*M, "--namespace-budget", ""), "a number of MiB from 0 to 1024 was expected"),
    ((*M, "--access-log-sample", "0"), "--access-log-sample 0: a number from 1 to 1000000 was expected"),
    ((*M, "--access-log-sample", ""), "a number from 1 to 1000000 was expected"),
    ((*M, "--log-level", "loud"), "--log-level loud: error, warn, info or debug was expected"),
    ((*M, "--external-names", "on"), "--external-names on: off, any, ipv4 or ipv6 was expected"),
    ((*M, "--dns-servers", "192.0.2.53"), "--dns-servers is for --external-names"),
    ((*M, "--external-names=off", "--dns-servers", "192.0.2.53"), "--dns-servers is for --external-names"),
    *[((*M, "--external-names=any", "--dns-servers", servers), f"--dns-servers {servers}: a list of addresses") for servers in (
        "", "dns", "192.0.2.53,", ",192.0.2.53", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2.53:x", "192.0.2.53:53x",
        "[2001:db8::53", "[2001:db8::53]:", "[2001:db8::53]x", "[2001:db8::53]:99999999999", "[]", "2001:db8::53]", "192.0.2", "[192.0.2.53",
        "192.0.2.53 192.0.2.54", "192.0.2.53,[2001:db8::53]:53,x")],
    ((*M, "--paths", "bgp"), "--paths bgp: auto, native, vxlan, node-port or none was expected"),
    ((*M, "--vtep-node", "A_b"), "--vtep-node A_b: the name of a Node was expected"),
    ((*M, "--vtep", "mac=1"), "--vtep mac=1: source=ADDRESS, mac=MAC, vni=N or port=N"),
    ((*M, *("--vtep", "port=4789") * 3), "at most twice was expected"),
    ((*M, "--paths=native", "--vtep", "port=4789"), "--vtep-node and --vtep are for --paths auto and --paths vxlan"),
    ((*M, "--paths=none", "--vtep-node", "n1"), "--vtep-node and --vtep are for --paths auto and --paths vxlan"),
    ((*M, "more"), "more: only options were expected"),
    ((*M, "--nonsense"), "nonsense"),
    ((*M, "--socket"), "socket"),
]
for args, why in WRONG:
    p = run(*args)
    if p.returncode != 2 or why not in p.stderr or "--help" not in p.stderr or p.stdout:
        sys.exit(f"unexpected: {args} gave {p.returncode}\n{p.stdout}{p.stderr}")
# Right ones: what is wrong then is that the manifests are not there.
for servers in ("192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]", "[2001:db8::53]:65535,192.0.2.53,::1"):
    p = run(*M, "--external-names", "any", "--dns-servers", servers)
    if p.returncode != 1 or "/nonexistent" not in p.stderr:
        sys.exit(f"unexpected: {servers} gave {p.returncode}\n{p.stdout}{p.stderr}")
p = run("--help")
if p.returncode != 0 or "--events true|false" not in p.stdout or p.stderr:
    sys.exit(f"unexpected: --help gave {p.returncode}\n{p.stderr}")
p = run("--version")
if p.returncode != 0 or not p.stdout.startswith("weir-ctrl "):
    sys.exit(f"unexpected: --version gave {p.returncode}\n{p.stderr}")
print(f"{len(WRONG)} wrong command lines refused")
