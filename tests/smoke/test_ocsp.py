# SPDX-License-Identifier: Apache-2.0
"""OCSP responses from a responder to a client: they are fetched, stapled, renewed and dropped, and what is wrong is named."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

from rig import MANIFESTS, expect, expect_eq, takes, wait_until
from tls_peers import Front, Pair, authority, secret, tls_ingress

PORT, PEER_PORT = 8889, 8890  # of the responder of this test, of `openssl ocsp`
ALLOWED = ("--ocsp", "any")


def leaf(name, url, *more):
    """(a leaf that names a responder, with its issuer behind it; its serial number)"""
    a = authority()
    crt = a.make(name, f"/CN={name}", "middle", "ec", [
        f"subjectAltName=DNS:{host_of(name)}", "basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth",
        "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid", f"authorityInfoAccess=OCSP;URI:{url}", *more])
    out = subprocess.run(["openssl", "x509", "-in", crt, "-noout", "-serial"], check=True, capture_output=True, text=True).stdout
    crt.write_text(crt.read_text() + a.middle.read_text())
    return Pair(crt, a.dir / f"{name}.key"), int(out.strip().split("=")[1], 16)


def host_of(name):
    return f"{name}.example.com"


class Responder:
    """The authority's word on its certificates, and who gives it."""

    def __init__(self):
        a = authority()
        self.dir, self.known, self.processes = a.dir, {}, []
        self.index, self.file, self.log = a.dir / "index.txt", a.dir / "ocsp.json", a.dir / "ocsp.log"
        (a.dir / "index.txt.attr").write_text("unique_subject = no\n")
        self.log.write_text("")
        appointed = a.make("appointed", "/CN=appointed", "middle", "ec", ["extendedKeyUsage=OCSPSigning", "basicConstraints=CA:FALSE"])
        alien = a.make("alien", "/CN=alien", "root", "ec", ["extendedKeyUsage=OCSPSigning", "basicConstraints=CA:FALSE"])
        self.config = {"ca": str(a.middle), "index": str(self.index), "of": {},
                       "signers": {p.stem: [str(p), str(p.with_suffix(".key"))] for p in (appointed, alien, a.middle)}}
        self.save()

    def issue(self, name, *more, url=None):
        made, serial = leaf(name, url or f"http://127.0.0.1:{PORT}/{name}", *more)
        self.known[name] = [serial, "V"]
        self.save()
        return made

    def save(self):
        rows = [f"{state}\t400101000000Z\t{'261101000000Z,keyCompromise' if state == 'R' else ''}\t{serial:04X}\tunknown\t/CN={name}\n"
                for name, (serial, state) in self.known.items() if state]
        for path, text in ((self.index, "".join(rows)), (self.file, json.dumps(self.config))):
            tmp = path.with_suffix(".tmp")
            tmp.write_text(text)
            tmp.rename(path)

    def set(self, name, state="V", **how):
        """state: V, R, or None for one that is not known."""
        self.known[name][1] = state
        self.config["of"][name] = how
        self.save()

    def start(self, rig):
        peer = pathlib.Path(__file__).with_name("ocsp_peer.py")
        crt, key = self.config["signers"]["middle"]
        with open(self.log, "ab") as log, open(self.dir / "openssl-ocsp.log", "ab") as other:
            self.processes = [
                rig.spawn([sys.executable, peer, str(PORT), str(self.file)], stdout=log, stderr=subprocess.STDOUT),
                rig.spawn(["openssl", "ocsp", "-port", str(PEER_PORT), "-index", self.index, "-CA", self.config["ca"], "-rsigner", crt,
                           "-rkey", key, "-nmin", "60"], stdout=other, stderr=other)]

    def stop(self):
        for p in self.processes:
            p.kill()
            p.wait()
        self.processes = []

    def asked(self, name):
        return [line.split()[0] for line in self.log.read_text().splitlines() if line.endswith(f" {name}")]


@contextlib.contextmanager
def ocsp_rig(make, responder, leaves, *ctrl_args, state=False):
    """(rig, front) with an Ingress for each of {name: Pair}; the responder runs from before weir-ctrl asks. state: with a folder for it."""
    files = {f"{n}.yaml": secret(n, p) + tls_ingress(n, host_of(n), [("/", "Prefix", "web")], n) for n, p in leaves.items()}
    with make(manifests={"services.yaml": MANIFESTS["services.yaml"], **files}, ctrl=False) as rig:
        try:
            responder.start(rig)
            # To be asked, openssl ocsp would spin over the end of a connection without a request.
            wait_until("the responders listen", lambda: all(f":{p} " in rig.run(["ss", "-Hltn"]).stdout.decode() for p in (PORT, PEER_PORT)))
            if state:
                (rig.dir / "state").mkdir()
                os.chown(rig.dir / "state", 65534, 65534)
            rig.start_ctrl(*(ctrl_args or ALLOWED), *(("--state-dir", rig.dir / "state") if state else ()))
            front = Front(rig)
            wait_until("TLS is served", lambda: all(front.curl("/", host=host_of(n), check=False)[0] == 200 for n in leaves))
            yield rig, front
        finally:
            responder.stop()


def stapled(front, name, *args):
    """What a client gets: None, or {response, status, until}; and the request is answered all the same."""
    p = front.rig.run(["openssl", "s_client", "-connect", f"{front.address}:443", "-servername", host_of(name), "-CAfile", front.ca,
                       "-verify_return_error", "-status", *args], input=b"", check=False)
    text = p.stdout.decode("latin1")
    expect_eq(p.returncode, 0, p.stderr.decode("latin1"))
    if "OCSP response: no response sent" in text:
        return None
    find = lambda pattern: (re.findall(pattern, text, re.M) or [""])[0].strip()
    return {"response": find(r"OCSP Response Status: (.*?) \("), "status": find(r"Cert Status: (.*)$"),
            "from": find(r"This Update: (.*)$"), "serial": find(r"Serial Number: (.*)$")}


def view(rig, name):
    return [c for c in rig.weirctl_json("certificates") if c["name"] == name][0]


def log_of(rig):
    return (rig.dir / "ctrl.log").read_text()


def outcome(rig, name):
    return rig.metric_sum("weir_ctrl_ocsp_answers_total", f'outcome="{name}"')


def test_good_response_is_stapled_by_all_versions_and_renewed(make):
    r = Responder()
    leaves = {"good": r.issue("good"), "peer": r.issue("peer", url=f"http://127.0.0.1:{PEER_PORT}"),
              "long": r.issue("long", url=f"http://127.0.0.1:{PORT}/long/{'x' * 200}"),
              "moved": r.issue("moved"), "plain": authority().issue(host_of("plain"))}
    r.set("moved", mode="redirect", to=f"http://127.0.0.1:{PORT}/good/")
    r.set("good", minutes=1)
    with ocsp_rig(make, r, leaves) as (rig, front):
        for name in ("good", "peer", "long", "moved"):
            wait_until(f"{name} is stapled", lambda: stapled(front, name))
            for version in ("-tls1_2", "-tls1_3"):
                got = stapled(front, name, version)
                expect_eq((got["response"], got["status"], int(got["serial"], 16)), ("successful", "good", r.known[name][0]), got)
            expect_eq(view(rig, name)["ocsp"]["state"], "good", "weirctl")
        expect_eq(r.asked("good")[:1] + r.asked("long")[:1], ["GET", "POST"], "short and long requests")
        expect_eq((stapled(front, "plain"), view(rig, "plain")["ocsp"]["state"]), (None, "no-responder"), "without a responder")
        text = rig.weirctl("certificates")
        expect(re.search(r"demo/good .*stapled until \d{4}-", text), text)
        first, n = stapled(front, "good")["from"], len(r.asked("good"))
        wait_until("it is asked for again", lambda: len(r.asked("good")) > n, 90)
        wait_until("the new one is stapled", lambda: stapled(front, "good")["from"] != first)
        expect_eq(rig.metric_sum("weir_ctrl_ocsp_stapled"), 4, "stapled")


@takes(15)
def test_what_keeps_a_response_away_is_named_and_nothing_else_suffers(make):
    r = Responder()
    wanted = {"revoked": dict(state="R"), "unknown": dict(state=None), "bad_signature": dict(signer="alien"),
              "malformed": dict(mode="garbage"), "too_large": dict(mode="huge"), "try_later": dict(mode="later"),
              "http_error": dict(mode="error"), "timeout": dict(mode="slow"),
              "bad_url": dict(mode="redirect", to="file:///etc/passwd"), "https": dict(mode="redirect", to=f"https://127.0.0.1:{PORT}/https/")}
    leaves = {n.replace("_", "-"): r.issue(n.replace("_", "-")) for n in wanted}
    for name, how in wanted.items():
        r.set(name.replace("_", "-"), **how)
    leaves["unreachable"] = r.issue("unreachable", url="http://127.0.0.1:1/")
    leaves["forbidden"] = r.issue("forbidden", url="http://169.254.169.254/latest")
    leaves["tls"] = r.issue("tls", "tlsfeature=status_request", url=f"https://127.0.0.1:{PORT}/tls")
    must = leaves["must"] = r.issue("must", "tlsfeature=status_request")
    r.set("must", mode="error")
    with ocsp_rig(make, r, leaves) as (rig, front):
        for name in [*wanted, "unreachable", "forbidden"]:
            wait_until(f"an answer is {name}", lambda: outcome(rig, name) >= 1, 30)
            plain = name.replace("_", "-")
            expect_eq(stapled(front, plain), None, f"{name}: nothing is stapled")
            wait_until("weirctl says so", lambda: view(rig, plain)["ocsp"]["state"] == ("revoked" if name == "revoked" else "failed"))
            expect_eq(front.curl("/", host=host_of(plain))[0], 200, f"{name}: it is served")
        expect("CertificateRevoked" in log_of(rig) and "keyCompromise" in log_of(rig), "the log tells of the revoked one")
        expect("CertificateRevoked" in rig.weirctl("status"), "weirctl status, too")
        expect(re.search(r"demo/revoked .*REVOKED: keyCompromise", rig.weirctl("certificates")), "weirctl certificates, too")
        status = lambda name: [line for line in rig.weirctl("status").splitlines() if "MustStaple" in line and f"demo/{name}:" in line]
        wait_until("of who must staple, weirctl status tells", lambda: status("must"))
        expect("http was expected" in status("tls")[0], status("tls"))
        expect_eq((view(rig, "tls")["ocsp"]["state"], stapled(front, "tls"), r.asked("tls")), ("https-responder", None, []), "https is not asked")
        expect(re.search(r"demo/tls .*none: its responder has a URL of https", rig.weirctl("certificates")), "weirctl certificates says so")
        expect("demo/tls: no OCSP response can be stapled, since its responder has a URL of https" in log_of(rig), "the log, too")
        expect_eq((stapled(front, "must"), rig.metric_sum("weir_ctrl_ocsp_must_staple_missing")), (None, 2), "they are served without")
        r.set("must")
        wait_until("it has a response in the end", lambda: stapled(front, "must"), 60)
        wait_until("and no problem any more", lambda: not status("must"))
        expect("root:" not in log_of(rig), "no file is read")
        expect(must, "")


@takes(60)
def test_revoked_certificate_loses_its_good_response_and_an_old_one_ends(make):
    r = Responder()
    leaves = {n: r.issue(n) for n in ("turns", "ends")}
    for name in leaves:
        r.set(name, minutes=1)
    with ocsp_rig(make, r, leaves) as (rig, front):
        for name in leaves:
            wait_until(f"{name} is stapled", lambda: stapled(front, name))
        r.set("turns", state="R")
        r.set("ends", mode="error")
        wait_until("the revoked one is not stapled", lambda: stapled(front, "turns") is None, 60)
        expect_eq(view(rig, "turns")["ocsp"]["state"], "revoked", "weirctl")
        expect(stapled(front, "ends"), "the other one is, while its response lasts")
        wait_until("it is not at its end", lambda: stapled(front, "ends") is None, 90)
        expect_eq(rig.metric_sum("weir_ctrl_ocsp_expired_total"), 1, "counted")


@takes(15)
def test_responses_outlast_a_restart_while_the_responder_is_away(make):
    r = Responder()
    leaves = {"must": r.issue("must", "tlsfeature=status_request"), "plain": r.issue("plain"), "turned": r.issue("turned"), "gone": r.issue("gone")}
    with ocsp_rig(make, r, leaves, *ALLOWED, state=True) as (rig, front):
        state, file = ("--state-dir", rig.dir / "state"), rig.dir / "state/ocsp.saved"

        def restart(sig=signal.SIGKILL, content=None, **more):
            """Both programs: nothing but the file knows a response."""
            rig.stop("ctrl", sig)
            if content:
                file.write_bytes(content)
            rig.stop("dataplane")
            (rig.dir / "dataplane.sock").unlink(missing_ok=True)
            for name, text in more.items():
                rig.write_manifest(name, text)
            rig.start_dataplane()
            rig.start_ctrl(*ALLOWED, *state)
            wait_until("TLS is served", lambda: front.curl("/", host=host_of("must"), check=False)[0] == 200)

        def restored(name):
            return rig.metric_sum("weir_ctrl_ocsp_restored_total", f'outcome="{name}"')

        for name in leaves:
            wait_until(f"{name} is stapled", lambda: stapled(front, name))
        wait_until("they are on disk", lambda: rig.metric_sum("weir_ctrl_ocsp_saved") == 4)
        expect_eq(file.stat().st_mode & 0o777, 0o600, "its mode")
        r.stop()
        before = {name: stapled(front, name) for name in leaves}
        restart()
        expect_eq({name: stapled(front, name) for name in leaves}, before, "the first handshakes have the same responses")
        expect_eq(restored("good"), 4, "counted")
        wait_until("nobody answers", lambda: outcome(rig, "unreachable") >= 4)
        expect_eq((view(rig, "must")["ocsp"]["state"], stapled(front, "must")), ("good", before["must"]), "they stay")
        expect(not re.search("MustStaple", rig.weirctl("status")), "no owner is told to do something")

        # Each kind of damage costs one, or what is behind it, and the rest is stapled.
        whole = file.read_bytes()
        at = whole.index(b"\x30", 24 + 36) + 4  # in the structure of the first one: that of "must" goes first
        restart(content=whole[:at] + bytes(b ^ 0xff for b in whole[at:at + 8]) + whole[at + 8:])
        expect_eq((stapled(front, "must"), [bool(stapled(front, n)) for n in ("plain", "turned", "gone")]), (None, [True] * 3), "one is damaged")
        expect_eq((restored("malformed"), restored("good")), (1, 3), "counted")
        expect("the OCSP response that was kept on disk is not used: malformed" in log_of(rig), "the log says so")
        restart(content=whole[:-9])
        expect(stapled(front, "must"), "what is whole is stapled")
        expect_eq((restored("good"), rig.metric_sum("weir_ctrl_ocsp_saved_file", 'reason="truncated"')), (3, 1), "the last one is cut")
        restart(content=b"nonsense" * 100)
        expect_eq((stapled(front, "must"), rig.metric_sum("weir_ctrl_ocsp_saved_file", 'reason="no-saved-responses"')), (None, 1), "nonsense")
        expect("no-saved-responses" in log_of(rig), "the log says so")

        # What no certificate needs any more goes; what is revoked stays so.
        r.set("turned", state="R")
        r.start(rig)
        restart(content=whole, **{"gone.yaml": ""})
        wait_until("one is revoked", lambda: view(rig, "turned")["ocsp"]["state"] == "revoked")
        wait_until("three are on disk", lambda: rig.metric_sum("weir_ctrl_ocsp_saved") == 3)
        r.stop()
        restart(signal.SIGTERM)
        expect_eq((restored("good"), restored("revoked"), stapled(front, "turned")), (2, 1, None), "it is known")


def test_only_public_responders_are_asked_unless_more_is_allowed(make):
    r = Responder()
    leaves = {"good": r.issue("good")}
    with ocsp_rig(make, r, leaves, "--ocsp", "public") as (rig, front):
        wait_until("it is refused", lambda: outcome(rig, "forbidden") >= 1)
        expect_eq((stapled(front, "good"), r.asked("good")), (None, []), "nobody was asked")
    with ocsp_rig(make, r, leaves, "--ocsp", "off") as (rig, front):
        expect_eq((stapled(front, "good"), view(rig, "good")["ocsp"]["state"], r.asked("good")), (None, "off", []), "off")
