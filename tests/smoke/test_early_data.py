# SPDX-License-Identifier: Apache-2.0
"""Early data of TLS 1.3 (0-RTT) through a whole Weir: openssl s_client sends it, and somebody sends what was sent once more."""
import json
import pathlib
import subprocess

import test_filters as filters
from rig import PEER4, expect, expect_eq, service, slice_, takes, wait_until
from test_offload import offload as offload_lines, workers_of
from test_tls import tls_rig
from tls_peers import EXACT, SHOP, manifests

REPLAY = pathlib.Path(__file__).parent / "early_replay.py"
ON = "tls: {early_data: safe}\n"


def request(method, path="/echo", body="", host=SHOP):
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}Connection: close\r\n\r\n{body}".encode()


def send(rig, front, text, session, *args, name=SHOP):
    """Output of s_client that sends this as early data."""
    early = rig.dir / "early"
    early.write_bytes(text)
    p = rig.run(["openssl", "s_client", "-connect", f"{front.address}:443", "-servername", name, "-CAfile", front.ca, "-tls1_3",
                 "-alpn", "http/1.1", "-ign_eof", "-sess_in", session, "-early_data", early, *args], check=False, input=text)  # once more, where it was not accepted
    return p.stdout.decode("latin1") + p.stderr.decode("latin1")


def session_of(rig, front, name=SHOP):
    saved = rig.dir / "session"
    expect_eq(front.s_client("-tls1_3", "-sess_out", saved, name=name)["answer"], "200", "a whole handshake")
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


def replay(rig, front, text, name=SHOP, **more):
    """Arguments of early_replay.py."""
    early = rig.dir / "early"
    early.write_bytes(text)
    options = {"address": front.address, "ca": str(front.ca), "name": name, "session": str(session_of(rig, front, name)), "text": str(early)}
    return ["python3", REPLAY, json.dumps({**options, **more})]


def replayed(rig, front, text, **options):
    """Records that came back without a Finished, of three times the same bytes."""
    out = rig.run(replay(rig, front, text, **options)).stdout.decode()
    return json.loads(out.splitlines()[-1])


@takes(25)
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


MIRRORED = "".join(service(n) + slice_(n, PEER4, p) for n, p in (("first", filters.FIRST), ("second", filters.SECOND))) + f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: mirrored, namespace: demo}}
spec:
  parentRefs: [{{name: edge, sectionName: exact}}]
  hostnames: [{EXACT}]
  rules:
  - matches: [{{path: {{value: /mirrored}}}}]
    filters: [{filters.MIRROR % ''}]
    backendRefs: [{{name: first, port: 80}}]
"""


@takes(25)
def test_a_mirrored_request_waits_for_the_handshake_and_is_mirrored_once(make):
    with tls_rig(make, manifests=manifests(mirrored=MIRRORED), extra=ON) as (rig, front), \
            filters.recorders(rig, filters.FIRST, filters.SECOND) as (first, second):
        accepted(rig, front)
        paths = lambda: [[s["path"] for s in seen.seen()] for seen in (first, second)]
        total = lambda what: rig.metric_sum(f"weir_{what}_total")
        served, early = total("http_early_data_requests"), {k: total("tls_early_data_" + k) for k in ("accepted", "rejected", "rejected_replayed")}
        told = lambda: [total("tls_early_data_" + k) - n for k, n in early.items()]
        got = replayed(rig, front, request("GET", "/mirrored/never", host=EXACT), name=EXACT)
        expect_eq(got, [got[0]] * 3, "records: none of an answer, without a Finished")
        wait_until("all three are told", lambda: sum(told()[:2]) == 3)
        expect_eq((told(), total("http_early_data_held")), ([1, 2, 2], 1), "accepted, rejected, of those as replays; held")
        expect_eq(paths(), [[], []], "what reached the backend and the mirror")

        with rig.spawn(replay(rig, front, request("GET", "/mirrored/once", host=EXACT), name=EXACT, finish=True),
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
            expect_eq(p.stdout.readline(), '"waits"\n', "all but the Finished was sent")
            wait_until("it is held", lambda: total("http_early_data_held") == 2)
            expect_eq(paths(), [[], []], "what reached the backend and the mirror by then")
            out, _ = p.communicate("go on\n")
        expect_eq(json.loads(out.splitlines()[-1]), got, "records: of the one that is held, and of its replays")
        wait_until("all six are told", lambda: sum(told()[:2]) == 6)
        expect_eq(told(), [2, 4, 4], "accepted, rejected, of those as replays")
        wait_until("it is mirrored", lambda: paths() == [["/mirrored/once"]] * 2 and filters.mirrors_are_done(rig))
        expect_eq([filters.values(seen.seen()[0], "early-data") for seen in (first, second)], [[], []], "Early-Data of what nobody may have sent on before")
        expect_eq((total("http_mirrored"), total("http_early_data_requests"), total("http_early_data_held")), (1, served, 2), "counted")


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
