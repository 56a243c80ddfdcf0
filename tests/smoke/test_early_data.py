# SPDX-License-Identifier: Apache-2.0
"""Early data of TLS 1.3 (0-RTT) through a whole Weir: openssl s_client sends it, and somebody sends what was sent once more."""
import json
import pathlib

from rig import expect, expect_eq, wait_until
from test_offload import offload as offload_lines, workers_of
from test_tls import tls_rig
from tls_peers import SHOP

REPLAY = pathlib.Path(__file__).parent / "early_replay.py"
ON = "tls: {early_data: safe}\n"


def request(method, path="/echo", body=""):
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {SHOP}\r\n{length}Connection: close\r\n\r\n{body}".encode()


def send(rig, front, text, session, *args):
    """Output of s_client that sends this as early data."""
    early = rig.dir / "early"
    early.write_bytes(text)
    p = rig.run(["openssl", "s_client", "-connect", f"{front.address}:443", "-servername", SHOP, "-CAfile", front.ca, "-tls1_3",
                 "-alpn", "http/1.1", "-ign_eof", "-sess_in", session, "-early_data", early, *args], check=False, input=text)  # once more, where it was not accepted
    return p.stdout.decode("latin1") + p.stderr.decode("latin1")


def session_of(rig, front):
    saved = rig.dir / "session"
    expect_eq(front.s_client("-tls1_3", "-sess_out", saved)["answer"], "200", "a whole handshake")
    return saved


def accepted(rig, front):
    """A worker takes none for a while, since it cannot know what came before its start."""
    def try_it():
        text = send(rig, front, request("GET"), session_of(rig, front))
        expect("HTTP/1.1 200" in text or "Early data was rejected" in text, text)
        return "Early data was accepted" in text
    wait_until("early data are accepted", try_it)


def test_safe_requests_are_served_and_others_wait(make):
    with tls_rig(make, extra=ON) as (rig, front):
        expect("early data      safe" in rig.weirctl("tls"), rig.weirctl("tls"))
        accepted(rig, front)
        served, held = rig.metric_sum("weir_http_early_data_requests_total"), rig.metric_sum("weir_http_early_data_held_total")
        expect_eq((served + held, held), (1, 0), "served out of early data, or complete by then")
        text = send(rig, front, request("POST", body="hello"), session_of(rig, front))
        expect("Early data was accepted" in text and "HTTP/1.1 200" in text, text)
        seen = rig.weirctl_json("tls")["early_data"]
        expect_eq((seen["on"], seen["accepted"]), (True, 2), f"{seen}")


def test_a_client_that_is_asked_for_another_key_share_is_answered_once(make):
    with tls_rig(make, extra=ON) as (rig, front):
        accepted(rig, front)
        session, before = session_of(rig, front), rig.metric_sum("weir_http_requests_total")
        taken = rig.metric_sum("weir_tls_early_data_accepted_total")
        text = send(rig, front, request("POST", body="hello"), session, "-groups", "P-521:X25519")
        expect("Early data was rejected" in text and "Reused, TLSv1.3" in text, text)
        expect_eq(text.count("HTTP/1.1 200"), 1, text)
        expect_eq(rig.metric_sum("weir_http_requests_total"), before + 1, "requests")
        expect_eq((rig.metric_sum("weir_tls_early_data_rejected_retry_total"), rig.metric_sum("weir_tls_early_data_accepted_total")),
                  (1, taken), "told by its reason")


def replayed(rig, front, text):
    """Records that came back without a Finished, of three times the same bytes."""
    early = rig.dir / "early"
    early.write_bytes(text)
    options = {"address": front.address, "ca": str(front.ca), "name": SHOP, "session": str(session_of(rig, front)), "text": str(early)}
    out = rig.run(["python3", REPLAY, json.dumps(options)]).stdout.decode()
    return json.loads(out.splitlines()[-1])


def test_the_same_bytes_are_served_once_and_a_post_never_before_the_handshake_is_complete(make):
    with tls_rig(make, extra=ON) as (rig, front):
        accepted(rig, front)
        before = rig.metric_sum("weir_http_requests_total")
        got = replayed(rig, front, request("GET"))
        expect(got[0] > got[1] == got[2] > 0, f"records: {got}")
        wait_until("both are told", lambda: rig.metric_sum("weir_tls_early_data_rejected_replayed_total") == 2)
        before += 2  # the session's, and this one
        expect_eq(rig.metric_sum("weir_http_requests_total"), before, "requests")
        bare, got = got[1], replayed(rig, front, request("POST", body="hello"))
        expect_eq(got, [bare] * 3, "records")
        expect_eq(rig.metric_sum("weir_http_requests_total"), before + 1, "requests")
        expect_eq(rig.metric_sum("weir_http_early_data_held_total"), 1, "held")


def test_a_device_does_not_mind(make):
    lines = offload_lines(make, ("DELAY_POLLS", 5)) + "  early_data: safe\n"
    with tls_rig(make, extra=lines) as (rig, front):
        accepted(rig, front)
        expect(sum(w["completed"] for w in workers_of(rig)) > 0, "operations")


def test_it_is_off_by_default(make):
    with tls_rig(make) as (rig, front):
        text = send(rig, front, request("GET"), session_of(rig, front))
        expect("Early data was accepted" not in text, text)
        expect("early data      off" in rig.weirctl("tls"), rig.weirctl("tls"))
        expect_eq(rig.metric_sum("weir_tls_early_data_accepted_total"), 0, "accepted")
