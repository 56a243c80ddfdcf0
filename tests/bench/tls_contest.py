#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TLS beside nginx and HAProxy, and beside libssl alone: handshakes, requests, and bulk, on one core.

    tests/bench/tls_contest.py --build BUILD [--rounds N] [--seconds S] [--only WORK[,WORK]] [--small] [--json FILE]

Clients and origin are weir-tlsload (tests/bench/tls), on core 0, over the kernel's sockets; the proxy has core 1. Weir is met at a
memif (where no driver needs system calls, as with a NIC) and at veth by af_xdp; nginx and HAProxy at veth, as in compare.py.

What counts is the time of the proxy's core for each handshake, request or byte, as a client's handshake costs more
than a server's. For Weir at a memif those are the cycles of loops that found work; at veth, for all alike, the core's time that was not idle, without polls that
found nothing. libssl alone is the server's side over buffers in memory (bench_tls_memory), on the same core, by turns with Weir at
a memif, whose process is stopped meanwhile.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys

from bench import GATEWAY, HOST, ORIGIN_PORT, Failure, arguments, endpoint_slice, expect, gateway, main_of, print_table, service, wait_until, write_json
from contest import AF_XDP, CLIENT_SIDE, HAPROXY, LOAD_CORE, MEMIF, NGINX, PROXY_CORE, SYSCTLS, VETH_ORIGIN, Contestant, CoreUse, VethPeer, VethWeir, in_namespace, ip, raise_limits

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "smoke"))
import tls_peers  # noqa: E402

ORDER = (MEMIF, AF_XDP, NGINX, HAPROXY)


class Work:
    """unit: what is counted. same: rows of bench_tls_memory to compare with: (words, group and variant)."""

    def __init__(self, name, words, line, unit, same=()):
        self.name, self.words, self.line, self.unit, self.same = name, words, line, unit, same


HANDSHAKES, REQUESTS, BYTES = "handshakes", "requests", "bytes"
SAME = "tickets/1, sealed by a callback"
FULL = "connections=48 requests=0"
WORKS = (
    Work("ec", "TLS 1.3, P-256, X25519", FULL, HANDSHAKES, ("kinds/TLS 1.3, P-256, X25519", SAME)),
    Work("rsa", "TLS 1.3, RSA-2048, X25519", FULL + " port=8443", HANDSHAKES, ("kinds/TLS 1.3, RSA-2048, X25519",)),
    Work("ec12", "TLS 1.2, P-256, X25519", FULL + " version=12", HANDSHAKES, ("kinds/TLS 1.2, P-256, X25519",)),
    Work("resumed", "TLS 1.3, resumed", FULL + " resume=1", HANDSHAKES, ("kinds/TLS 1.3, resumed, X25519",)),
    Work("resumed12", "TLS 1.2, resumed", FULL + " resume=1 version=12", HANDSHAKES, ("kinds/TLS 1.2, resumed",)),
    Work("keep", "requests, keep-alive, 128 bytes", "connections=64 keep=1 size=128", REQUESTS),
    Work("bulk", "1 MiB bodies, AES-128-GCM", "connections=16 keep=1 size=1048576", BYTES, ("speed",)),
)


def certificates(folder):
    """ec.crt, ec.key, rsa.crt ...: of one level each, as bench_tls_memory has them, and both in one file for HAProxy."""
    for key, kind in (("ec", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]), ("rsa", ["rsa:2048"])):
        subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "30", "-subj", f"/CN={HOST}", "-addext",
                        f"subjectAltName=DNS:{HOST}", "-keyout", folder / f"{key}.key", "-out", folder / f"{key}.crt"],
                       check=True, capture_output=True, timeout=60)
        (folder / f"{key}.pem").write_text((folder / f"{key}.crt").read_text() + (folder / f"{key}.key").read_text())


class Tls:
    """What weir-tlsload does in the place of weir-blast. Beside a class of contest.py."""

    origin = VETH_ORIGIN

    def _manifests(self):
        ports = ["{name: http, port: 80, protocol: HTTP}", tls_peers.listener("ec", "ec"), tls_peers.listener("rsa", "rsa", port=8443)]
        pairs = {n: tls_peers.Pair(self.dir / f"{n}.crt", self.dir / f"{n}.key") for n in ("ec", "rsa")}
        return gateway(", ".join(ports)) + "".join(tls_peers.secret(n, p) for n, p in pairs.items()) + service("origin") + \
            endpoint_slice("origin", [self.origin], ORIGIN_PORT) + f"""apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: all, namespace: demo}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{backendRefs: [{{name: origin, port: 80}}]}}]
"""

    def _write_files(self):
        certificates(self.dir)
        super()._write_files()
        if (self.dir / "manifests").exists():
            (self.dir / "manifests/all.yaml").write_text(self._manifests())

    def _bridge(self):
        return []

    def _start_blast(self):
        self._spawn("blast", ["taskset", "-c", LOAD_CORE, self.build / "tests/bench/tls/weir-tlsload", "--target", CLIENT_SIDE, "--host", HOST, "--origin",
                              f"{self.origin}:{ORIGIN_PORT}", "--window", 262144, *self._bridge()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    preexec_fn=raise_limits)

    def _line(self):
        text = self.procs["blast"].stdout.readline()
        if not text:
            raise Failure(f"weir-tlsload ended with {self.procs['blast'].wait(10)}: {self.log('blast')}")
        return json.loads(text)

    def _wait_for_connection(self):
        expect(self._line()["ready"], "weir-tlsload")
        wait_until(f"{self.label} answers", lambda: self.has_ended(self.proxy) or self._phase("seconds=0.2 connections=1 keep=1")["responses"] > 0, 60)
        expect(not self.has_ended(self.proxy), f"{self.proxy} ended at the start")

    def _phase(self, line):
        p = self.procs["blast"]
        p.stdin.write(line.encode() + b"\n")
        p.stdin.flush()
        expect(self._line()["begun"], line)
        return self._line()

    def _quiet_blast(self):
        """It ends with its input, and closes its end of the memif while nobody sends."""
        self.is_blast_alone = False
        self.procs["blast"].stdin.close()
        self.procs["blast"].wait(10)

    def _of_weir(self):
        return self.proxy == "dataplane"

    def cost(self, line):
        """A phase, and what it cost the proxy's core."""
        p = self.procs["blast"]
        p.stdin.write(line.encode() + b"\n")
        p.stdin.flush()
        expect(self._line()["begun"], line)

        def report():
            return {"tsc_hz": 1, **self._line()}
        with CoreUse(PROXY_CORE) as use, CoreUse(LOAD_CORE) as load:
            r = self.measure_around(report) if self._of_weir() else report()
        expect(not r["errors"], f"{self.label}, {line}: {r['errors']} errors, the first: {r['error']}")
        r["busy_share"] = min(r["cpu_seconds"] / r["seconds"], 1)
        self._add_cost(r, use, load)
        return r


class TlsVethWeir(Tls, VethWeir):
    def _start_blast(self):
        Tls._start_blast(self)


class TlsVethPeer(Tls, VethPeer):
    def _write_files(self):
        Tls._write_files(self)
        for name, to in (("tls-nginx.conf", "nginx.conf"), ("tls-nginx-proxy.conf", "proxy.conf"), ("tls-haproxy.cfg", "haproxy.cfg")):
            shutil.copy(HERE / "peers" / name, self.dir / to)

    def _start_proxy(self):
        argv = {NGINX: ["nginx", "-p", self.dir, "-c", self.dir / "nginx.conf", "-e", "stderr"],
                HAPROXY: ["haproxy", "-db", "-C", self.dir, "-f", self.dir / "haproxy.cfg"]}[self.label]
        self._spawn("peer", argv, preexec_fn=raise_limits)
        wait_until(f"{self.label} listens", lambda: self.has_ended("peer") or self._listens())
        expect(not self.has_ended("peer"), f"{self.label} does not start")

    def _listens(self):
        return b":8443" in in_namespace(self.spaces["proxy"], "ss", "-Hltn", "sport = :8443").stdout


class TlsMemif(Tls, Contestant):
    """All in one namespace: the TAP device is there, and the memif's socket has an abstract name, which is a namespace's."""

    origin = GATEWAY

    def __enter__(self):
        self.space = f"weir-bench{os.getpid()}-t"
        ip("netns", "add", self.space)
        ip("-n", self.space, "link", "set", "lo", "up")
        return super().__enter__()

    def _clean(self):
        super()._clean()
        subprocess.run(["ip", "netns", "del", self.space], capture_output=True, timeout=30)

    def _place(self, name):
        return ["ip", "netns", "exec", self.space, *super()._place(name)]

    def _bridge(self):
        return ["--tap", "edge0", "--memif", f"net_memif0,{self._memif(is_server=False)}"]

    def _start_blast(self):
        Tls._start_blast(self)
        wait_until("TAP device", lambda: self.has_ended("blast") or in_namespace(self.space, "ip", "link", "show", "edge0", check=False).returncode == 0)
        in_namespace(self.space, "sysctl", "-qw", *(f"{k}={v}" for k, v in SYSCTLS.items()))
        ip("-n", self.space, "link", "set", "edge0", "txqueuelen", 10000, "up")
        ip("-n", self.space, "addr", "add", GATEWAY + "/24", "dev", "edge0")

    @contextlib.contextmanager
    def stopped(self):
        """The core is free for others."""
        p = self.procs["dataplane"]
        p.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            p.send_signal(signal.SIGCONT)

    def _add_cost(self, r, use, load):
        """Exactly: of the same readings of Weir's counters."""
        super()._add_cost(r, use, load)
        moved = r["weir"]["counters"]
        r["cost"]["used_seconds"] = r["weir"]["busy_cycles"][0]
        r["own"] = {HANDSHAKES: moved.get("tls_handshakes", 0), REQUESTS: moved.get("http_requests", 0), BYTES: moved.get("http_body_bytes_down", 0)}


def contestant(build, label):
    if label == MEMIF:
        return TlsMemif(build)
    return TlsVethWeir(build, label) if label == AF_XDP else TlsVethPeer(build, label)


def count_of(work, r):
    own = r.get("own") or {HANDSHAKES: r["handshakes"], REQUESTS: r["responses"], BYTES: r["body_bytes"]}
    return own[work.unit]


def alone_us(args, key):
    """
    Of a row of bench_tls_memory, for a handshake; key "speed": of AES-128-GCM, for a byte. On the proxy's core. The mean, as what Weir took is
    one: each 32nd operation of an RSA key makes new blinding factors, for about as long as a signature, which no quantile shows.
    """
    core = ["taskset", "-c", str(PROXY_CORE)]
    if key == "speed":
        text = subprocess.run([*core, "openssl", "speed", "-seconds", "1", "-bytes", "16384", "-evp", "aes-128-gcm"], check=True, capture_output=True,
                              text=True, timeout=60).stdout
        return 1e6 / (float(re.search(r"(?mi)^aes-128-gcm\s+([\d.]+)k", text)[1]) * 1000)
    group, name = key.split("/")
    text = subprocess.run([*core, pathlib.Path(args.build) / "tests/bench/bench_tls_memory", "--only", name, "--rounds", "3" if args.small else "60"],
                          check=True, capture_output=True, text=True, timeout=120).stdout
    return next(float(c[5]) for c in ([f.strip() for f in line.strip("|").split(" | ")] for line in text.splitlines()) if c[:2] == [group, name])


def beside_alone(args, c, w):
    """Weir and libssl by turns, since the machine's own speed moves by more than they differ: what Weir took, {row: what that took, by Weir's}."""
    rows, alone = [], {k: [] for k in w.same}
    for _ in range(1 if args.small else 3):
        rows.append(row_of(c, w, c.cost(f"seconds={args.seconds / 2} warmup={args.warmup} {w.line}")))
        with c.stopped():
            for k in w.same:
                us = alone_us(args, k)
                alone[k].append((us, us / rows[-1]["us"]))
    rows.sort(key=lambda r: r["us"])
    return {**rows[len(rows) // 2], "alone": {k: sorted(v)[len(v) // 2][0] for k, v in alone.items()},
            "ratios": {k: statistics.median(r for _, r in v) for k, v in alone.items()}}


def row_of(c, w, r):
    n = count_of(w, r)
    expect(n > 0, f"{c.label}, {w.words}: none")
    if "resume=1" in w.line:
        expect(r["resumed"] >= r["handshakes"] - 1, f"{c.label}: {r['resumed']} of {r['handshakes']} resumed")
    elif w.unit == HANDSHAKES:
        expect(r["resumed"] == 0, "full handshakes")
    return {"us": r["cost"]["used_seconds"] * 1e6 / n, "rate": {HANDSHAKES: r["handshakes"], REQUESTS: r["responses"], BYTES: r["body_bytes"]}[w.unit] / r["seconds"],
            "share": r["cost"]["share"], "generator": r["busy_share"]}


def a_round(args, works, results):
    for label in ORDER:
        with contestant(args.build, label) as c:
            for w in works:
                row = beside_alone(args, c, w) if label == MEMIF else row_of(c, w, c.cost(f"seconds={args.seconds} warmup={args.warmup} {w.line}"))
                results.setdefault((label, w.name), []).append(row)
                print(f"  {label}, {w.words}: {row['us']:.4g} us", file=sys.stderr, flush=True)


def middle(rows, of):
    v = sorted(of(r) for r in rows)
    return statistics.median(v), v[0], v[-1]


def show(v, form="{:,.1f}"):
    return f"{form} ({form} - {form})".format(*v)


def print_all(works, results):
    rows = []
    for w in works:
        form, scale, per = ("{:,.3f}", 1000, "us/KB") if w.unit == BYTES else ("{:,.1f}", 1, "us")
        base = results[(AF_XDP, w.name)]
        for label in ORDER:
            got = results[(label, w.name)]
            times = "1" if label == AF_XDP else show(middle([{"x": b["us"] and g["us"] / b["us"]} for g, b in zip(got, base)], lambda r: r["x"]), "{:.2f}")
            rate = middle(got, lambda r: r["rate"] * (8e-9 if w.unit == BYTES else 1))[0]
            rows.append([w.words, label, show(middle(got, lambda r: r["us"] * scale), form) + f" {per}", times,
                         f"{rate:,.2f} Gbit/s" if w.unit == BYTES else f"{rate:,.0f}/s", f"{100 * middle(got, lambda r: r['share'])[0]:.0f} %"])
    print_table(["work", "proxy", "time of its core for each", "to Weir at af_xdp", "by the clock", "core used"], rows)
    rows = []
    for w in works:
        for k in w.same:
            alone = show(middle(results[(MEMIF, w.name)], lambda r: r["alone"][k] * (1000 if k == "speed" else 1)), "{:,.3f}" if k == "speed" else "{:,.1f}")
            rows.append([w.words, {"speed": "openssl speed -evp aes-128-gcm, 16 KiB", SAME: "one ticket, the heap of a worker"}.get(k, "libssl's defaults"), alone,
                         show(middle(results[(MEMIF, w.name)], lambda r: r["ratios"][k]), "{:.3f}")])
    print_table(["work", "in memory", "us (us/KB)", "that to Weir at a memif"], rows)


def main():
    args = arguments(__doc__, rounds=(int, 3, "rounds"), seconds=(float, 2.0, "of each phase"), warmup=(float, 0.5, "before it"), only=(str, "", "works"))
    if args.small:
        args.rounds, args.seconds, args.warmup = 1, 0.5, 0.1
    works = [w for w in WORKS if not args.only or w.name in args.only.split(",")]
    results = {}
    for i in range(args.rounds):
        print(f"round {i + 1}", file=sys.stderr, flush=True)
        a_round(args, works, results)
    print_all(works, results)
    write_json(args, [{"of": k[0], "work": k[1], "rounds": v} for k, v in results.items()])


if __name__ == "__main__":
    main_of(main)
