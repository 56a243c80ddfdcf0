# SPDX-License-Identifier: Apache-2.0
"""Secrets and ConfigMaps: only those that something refers to are read, and who refers to them is told what is wrong."""
import base64
import json
import re
import time

from rig import expect, expect_eq, wait_until
from test_kube_kinds import status
from test_kube_source import BASE, following, gateway_objects, obj, wait_answer

GATEWAY = "gateway.networking.k8s.io"


def pair(rig, name):
    """(certificate, key), new ones, in PEM."""
    rig.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-keyout", rig.dir / f"{name}.key", "-out", rig.dir / f"{name}.crt", "-subj", f"/CN={name}"])
    return tuple((rig.dir / f"{name}.{end}").read_bytes() for end in ("crt", "key"))


def secret(name, crt, key, ns="demo"):
    data = {"tls.crt": base64.b64encode(crt).decode(), "tls.key": base64.b64encode(key).decode()}
    return obj("v1", "Secret", name, ns, type="kubernetes.io/tls", data=data)


def https(name, ref):
    return {"name": name, "port": 443, "hostname": f"{name}.example.com", "protocol": "HTTPS", "tls": {"certificateRefs": [ref]}}


def tls_gateway(*listeners):
    return obj(f"{GATEWAY}/v1", "Gateway", "tls", spec={"gatewayClassName": "weir", "listeners": [
        {"name": "http", "port": 8080, "protocol": "HTTP"}, *listeners]})


def grant():
    return obj(f"{GATEWAY}/v1beta1", "ReferenceGrant", "certs", "other", spec={
        "from": [{"group": GATEWAY, "kind": "Gateway", "namespace": "demo"}], "to": [{"group": "", "kind": "Secret"}]})


def resolved(double, listener):
    """(status, reason, message) of ResolvedRefs."""
    for one in status(double, "v1", "gateways", "tls").get("listeners", []):
        for c in one["conditions"]:
            if one["name"] == listener and c["type"] == "ResolvedRefs":
                return c["status"], c["reason"], c["message"]
    return None, None, ""


def expect_told(double, listener, *wanted):
    """Waits for the condition's status (and reason). How long that took is printed, and no test's verdict."""
    began = time.monotonic()
    wait_until(f"{listener} is told {wanted}", lambda: resolved(double, listener)[:len(wanted)] == wanted)
    print(f"      {listener}: {wanted[-1]} after {(time.monotonic() - began) * 1000:.0f} ms", flush=True)


def named(rig):
    return rig.weirctl_json("status")["kubernetes"]["named"]


def names_asked(double):
    """{(kind, namespace, name)} of all requests for Secrets and ConfigMaps; each must be for one name."""
    out = set()
    for path in double.tell("asked", method="GET"):
        m = re.fullmatch(r"/api/v1/namespaces/([^/]+)/(secrets|configmaps)\?.*&fieldSelector=metadata.name%3D([^&]+)", path)
        expect(m, f"asked for by name: {path}")
        out.add((m[2], m[1], m[3]))
    return out


def start(rig, *args):
    rig.start_ctrl("--write-status", "always", *args)
    rig.wait_healthy()


def test_conditions_follow_the_secrets_that_are_referred_to(make):
    with following(make, BASE + gateway_objects(), start=False) as (rig, double):
        crt, key = pair(rig, "one")
        _, other_key = pair(rig, "two")
        double.apply(*(secret(f"unrelated-{i}", crt, key) for i in range(20)), secret("shared", crt, key, "other"),
                     tls_gateway(https("own", {"name": "cert"}), https("shared", {"name": "shared", "namespace": "other"})))
        start(rig)
        wait_answer(rig, "gw.example.com", "api")
        expect_told(double, "own", "False", "InvalidCertificateRef")
        expect_told(double, "shared", "False", "RefNotPermitted")
        for what, wanted in ((secret("cert", crt, key), ("True",)), (secret("cert", crt, other_key), ("False", "InvalidCertificateRef")),
                             (secret("cert", crt, key), ("True",)), (secret("cert", b"no PEM", key), ("False", "InvalidCertificateRef"))):
            double.apply(what)
            expect_told(double, "own", *wanted)
        expect("tls.crt has no certificate" in resolved(double, "own")[2], "the message says what is wrong")
        expect_eq(names_asked(double), {("secrets", "demo", "cert")}, "what was asked for")
        double.apply(grant())
        expect_told(double, "shared", "True")
        double.delete("ReferenceGrant", "certs", "other")
        expect_told(double, "shared", "False", "RefNotPermitted")
        double.delete("Secret", "cert")
        wait_until("it is said to be gone", lambda: "is not there" in resolved(double, "own")[2])
        wait_until("one is followed without the grant", lambda: named(rig)["followed"] == 1)
        double.apply(tls_gateway())
        wait_until("nothing is followed", lambda: named(rig)["followed"] == 0)
        expect_eq(names_asked(double), {("secrets", "demo", "cert"), ("secrets", "other", "shared")}, "what was asked for")


def test_nothing_of_a_secret_is_told(make):
    with following(make, BASE + gateway_objects(), start=False) as (rig, double):
        crt, key = pair(rig, "one")
        state = rig.dir / "state"
        state.mkdir()
        state.chmod(0o777)
        double.apply(secret("cert", crt, key), tls_gateway(https("own", {"name": "cert"}), https("bad", {"name": "bad"})),
                     secret("bad", crt, key[:-40]))
        start(rig, "--log-level", "debug", "--state-dir", state)
        expect_told(double, "own", "True")
        expect_told(double, "bad", "False")
        wait_until("it is on disk", lambda: (state / "routes.saved").exists())
        told = [(rig.dir / "ctrl.log").read_bytes(), (state / "routes.saved").read_bytes()]
        told += [json.dumps(rig.weirctl_json(what)).encode() for what in ("status", "routes", "backends")]
        told.append(rig.run(["curl", "-s", "http://127.0.0.1:9901/metrics"]).stdout)
        for secrets in (key, base64.b64encode(key)):
            for at in range(40, len(secrets) - 60, 20):
                expect(not any(secrets[at:at + 20] in text for text in told), "no part of a key is told")


def test_a_secret_that_may_not_be_read_is_named_and_holds_up_nothing(make):
    with following(make, BASE + gateway_objects(), start=False) as (rig, double):
        crt, key = pair(rig, "one")
        double.apply(secret("cert", crt, key), secret("other", crt, key),
                     tls_gateway(https("own", {"name": "cert"}), https("other", {"name": "other"})))
        double.fault("metadata.name%3Dcert", times=100000, status=403)
        start(rig)
        wait_answer(rig, "gw.example.com", "api")
        expect_told(double, "other", "True")
        wait_until("it is named", lambda: "Forbidden: " in resolved(double, "own")[2])
        expect("Secret demo/cert" in resolved(double, "own")[2], "by its name")
        expect_eq(rig.weirctl_json("status")["kubernetes"]["problem"], "", "no problem of a kind")
        double.tell("forgive")
        wait_until("permission came", lambda: resolved(double, "own")[0] == "True", 90.0)


def test_several_hundred_are_followed_at_once(make):
    n = 300
    objects = [obj("networking.k8s.io/v1", "Ingress", f"tls-{i}", spec={
        "tls": [{"secretName": f"cert-{i}"}], "rules": [{"host": f"h{i}.example.com", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}) for i in range(n)]
    with following(make, BASE + objects, start=False) as (rig, double):
        crt, key = pair(rig, "one")
        double.apply(*(secret(f"cert-{i}", crt, key) for i in range(n - 1)))
        began = time.monotonic()
        start(rig)
        wait_until("all are known, and one is not there", lambda: [named(rig)[k] for k in ("followed", "pending", "absent")] == [n, 0, 1])
        print(f"    {n} Secrets after {time.monotonic() - began:.1f} s")
        wait_until("one is named", lambda: [p["name"] for p in rig.weirctl_json("status")["problem_list"]
                                            if p["reason"] == "InvalidCertificateRef"] == [f"tls-{n - 1}"])
        double.apply(secret("cert-7", crt, b""))
        wait_until("another one, too", lambda: len([p for p in rig.weirctl_json("status")["problem_list"]
                                                    if p["reason"] == "InvalidCertificateRef"]) == 2)
        expect_eq(len(names_asked(double)), n, "names that were asked for")


def test_a_secret_that_is_late_is_waited_for_but_not_for_long(make):
    with following(make, BASE + gateway_objects(), start=False) as (rig, double):
        double.apply(tls_gateway(https("own", {"name": "cert"})))
        double.fault("/secrets", times=1000, hold=True)
        began = time.monotonic()
        start(rig)
        expect(time.monotonic() - began > 4, "it is waited for")
        wait_answer(rig, "gw.example.com", "api")
        wait_until("it is not known", lambda: resolved(double, "own")[:2] == ("Unknown", "Pending"))
        double.tell("release")
        wait_until("it is known at last", lambda: resolved(double, "own")[:2] == ("False", "InvalidCertificateRef"), 90.0)
