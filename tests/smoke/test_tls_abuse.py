# SPDX-License-Identifier: Apache-2.0
"""Hostile and odd TLS clients (tls_abuse.py) at a whole Weir: each ends by its reason, nothing is left of it, and a steady client
does not notice. Scanners that know what others had wrong find nothing."""
import contextlib
import json
import re
import subprocess

import tls_peers as peers
from rig import expect, expect_eq, takes, wait_until
from test_tls import expect_idle, tls_rig
from tls_peers import SHOP, Front, Steady, difference, pair, tls_metrics

METRICS = "http://127.0.0.1:9901/metrics"


def judge(acts):
    """Every act ended, by one reason, which is among those that are right for it."""
    wrong = [(name, f"reasons {counted}, {' or '.join(right)} wanted; {alert or 'no alert'}; {end}")
             for name, right, counted, alert, end in acts
             if end not in ("end", "reset") or right and (sum(counted.values()) != 1 or not set(counted) <= set(right))]
    expect_eq(wrong, [], f"{len(wrong)} of {len(acts)} acts")


@contextlib.contextmanager
def abused(make, **options):
    """A rig, and a steady client that does not fail."""
    with tls_rig(make, workers=2, **options) as (rig, front):
        with Steady(front, clients=1, each=3, resume=True, gap=0.05) as steady:
            yield rig, front
            seen = steady.finish()
        expect_eq(seen["failed"], [], "of the steady client")
        expect(seen["ok"] > 0, seen)


def test_hostile_clients_end_by_their_reasons(make):
    with abused(make) as (rig, front):
        for mode in ("first", "flights", "sealed"):
            judge(front.abuse(mode, metrics=METRICS))
        odd = front.abuse("odd", metrics=METRICS)
        expect_eq([one for one in odd if one[2] or one[4] != 200], [], "what is odd and allowed")
        got = front.abuse("no_renegotiation", metrics=METRICS)
        expect_eq((got["types"], got["reasons"], got["end"]), ([21, 23], {}, "end"), "one more handshake asked for in TLS 1.2")


def gone_since(rig, before):
    new = difference(before, tls_metrics(rig))
    others = {k for k in new if "handshak" not in k} - {"tls_client_gone", "tls_sessions", "tls_truncated"}
    expect_eq(others, set(), "other reasons")
    return new.get("tls_client_gone", 0)


def test_connections_that_end_at_any_byte_of_a_handshake_leave_nothing(make):
    with abused(make) as (rig, front):
        front.abuse("cuts", metrics=METRICS, step=40)  # tables and pools have their size
        kb, before = rig.rss_kb(), tls_metrics(rig)
        n = front.abuse("cuts", metrics=METRICS, step=7 if rig.sanitizers else 1)
        wait_until("who closed is counted", lambda: gone_since(rig, before) >= n["end"])
        wait_until("nobody is in a handshake for long", lambda: rig.metric_sum("weir_tls_sessions_handshaking") == 0)
        # A reset that comes with the connection's first packets ends it before there is a session.
        expect(gone_since(rig, before) <= n["end"] + n["reset"], f"{n}, {gone_since(rig, before)} counted")
        expect(gone_since(rig, before) > n["end"] + n["reset"] // 4, f"{n}, {gone_since(rig, before)} counted")
        expect(rig.sanitizers or rig.rss_kb() < kb + 8192, f"memory grew from {kb} to {rig.rss_kb()} kB")


def test_a_flood_of_hellos_does_not_hurt_others(make):
    with abused(make) as (rig, front):
        for n in (200, 1000):
            kb = rig.rss_kb()
            got = front.abuse("flood", metrics=METRICS, n=200 if rig.sanitizers else n, open=100)
            expect(set(got["reasons"]) <= {"tls_client_gone"}, got)
        # Heaps grow by 2 MiB; a thousand sessions that stayed would be 40 MB.
        expect(rig.sanitizers or rig.rss_kb() < kb + 16384, f"memory grew from {kb} to {rig.rss_kb()} kB")


def test_limits_of_time_and_number_end_sessions_by_their_reasons(make):
    with tls_rig(make, timeouts="drain_ms: 3000, handshake_ms: 1500", yaml_pools=", tls_sessions: 8") as (rig, front):
        wait_until("no session is left", lambda: rig.metric_sum("weir_tls_sessions") == 0)
        before = tls_metrics(rig)
        front.client("dawdle", n=13)
        wanted = {"tls_handshake_timeout": 8, "tls_sessions_full": 5}
        wait_until("they are counted", lambda: difference(before, tls_metrics(rig)) == wanted)
        expect_eq(front.ask()["status"], 200, "who does not dawdle")


# -- tickets

def ticket_of(der):
    """(offset, size) of the ticket in a session as OpenSSL keeps it: element [10] of a SEQUENCE, an OCTET STRING."""
    def head(at):
        n, size = der[at + 1], 0
        if n < 0x80:
            return at + 2, n
        size = int.from_bytes(der[at + 2:at + 2 + n - 0x80], "big")
        return at + 2 + n - 0x80, size
    at, n = head(0)
    end = at + n
    while at < end:
        tag, (inner, n) = der[at], head(at)
        if tag == 0xaa:
            return head(inner)
        at = inner + n
    raise AssertionError("a session without a ticket")


def truncated(der, at, n, size):
    """With a ticket of its first `size` bytes: lengths of the elements around it are written anew, in their long form."""
    def tlv(tag, content):
        return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content
    outer = 2 if der[1] < 0x80 else 2 + der[1] - 0x80
    start = at - (2 if n < 0x80 else 3 if n < 0x100 else 4)
    start -= 2 if at - start + n < 0x80 else 3 if at - start + n < 0x100 else 4
    return tlv(0x30, der[outer:start] + tlv(0xaa, tlv(0x04, der[at:at + size])) + der[at + n:])


def test_tickets_may_come_again_and_forged_ones_are_none(make):
    with tls_rig(make, workers=2) as (rig, front):
        for version in ("tls1_2", "tls1_3"):
            saved, forged = rig.dir / f"{version}.pem", rig.dir / "forged.pem"
            expect_eq(front.s_client("-" + version, "-sess_out", saved)["answer"], "200", version)
            text = rig.run(["openssl", "sess_id", "-in", saved, "-noout", "-text"]).stdout.decode()
            expect("Max Early Data: 0" in text or version == "tls1_2", "no early data are allowed")
            for _ in range(3):
                got = front.s_client("-" + version, "-sess_in", saved)
                expect_eq((got["answer"], got["reused"]), ("200", True), f"the same ticket again, {version}")
            der = rig.run(["openssl", "sess_id", "-in", saved, "-outform", "DER"]).stdout
            at, n = ticket_of(der)
            places = (0, 15, 16, 31, 32, n // 2, n - 33, n - 1)  # key's name, IV, what is sealed, MAC
            bad = [der[:at + i] + bytes([der[at + i] ^ 1]) + der[at + i + 1:] for i in places]
            bad += [truncated(der, at, n, size) for size in (1, 15, 16, 40, n - 1)]
            before = tls_metrics(rig)
            for one in bad:
                rig.run(["openssl", "sess_id", "-inform", "DER", "-out", forged], input=one)
                got = front.s_client("-" + version, "-sess_in", forged)
                expect_eq((got["answer"], got["reused"], got["ok"]), ("200", False, True), f"forged, {version}: {got['errors']}")
            after = difference(before, tls_metrics(rig))
            expect_eq([after.get(k) for k in ("tls_handshakes", "tls_tickets_unknown", "tls_handshakes_resumed")],
                      [len(bad), len(bad), None], f"counted, {version}")


# -- scanners

# What testssl.sh says above INFO, and why it is right: a regular expression over "id: severity: finding".
EXPLAINED = [
    (r"^secure_renego: WARN: OpenSSL handshake didn't succeed", "it expects the text of an older openssl; sslscan is asked"),
    (r"^engine_problem: WARN", "it looks for GOST in its openssl"),
]


@takes(20)
def test_scanners_find_nothing(make):
    with tls_rig(make) as (rig, front):
        out = rig.dir / "testssl.json"
        rig.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", front.address, "--sneaky", "--nodns", "none",
                 "-p", "-H", "-I", "-T", "-R", "--add-ca", front.ca, "--jsonfile", out, f"https://{SHOP}:443/"],
                check=False, timeout=300)
        findings = json.loads(out.read_text())
        bad = [f"{f['id']}: {f['severity']}: {f['finding']}" for f in findings if f["severity"] not in ("OK", "INFO", "DEBUG")]
        bad = [b for b in bad if not any(re.search(pattern, b) for pattern, _ in EXPLAINED)]
        expect_eq(bad, [], "of testssl.sh")
        served = {f["id"]: f["finding"] for f in findings if f["id"] in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3")}
        expect_eq({k for k, v in served.items() if v.startswith("offered")}, {"TLS1_2", "TLS1_3"}, f"versions: {served}")

        text = rig.run(["sslscan", "--no-colour", "--no-groups", "--no-heartbleed", f"--sni-name={SHOP}",
                        f"{front.address}:443"]).stdout.decode()
        expect_eq(re.findall(r"^((?:SSLv|TLSv)\S+) +enabled$", text, re.M), ["TLSv1.2", "TLSv1.3"], "versions by sslscan")
        suites = {s for _, s in re.findall(r"^(?:Preferred|Accepted) +(TLSv\S+) +\d+ bits +(\S+)", text, re.M)}
        good = re.compile(r"(TLS_(AES|CHACHA20)|(ECDHE|DHE)-(ECDSA|RSA)-(AES\d+-GCM|CHACHA20))")
        expect(suites and all(good.match(s) for s in suites), f"suites by sslscan: {sorted(suites)}")
        expect("Session renegotiation not supported" in text and "Server supports TLS Fallback SCSV" in text, text)


test_scanners_find_nothing.not_sanitized = True
test_tickets_may_come_again_and_forged_ones_are_none.not_sanitized = True
