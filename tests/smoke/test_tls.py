# SPDX-License-Identifier: Apache-2.0
"""TLS towards clients through a whole Weir: clients of five libraries, bodies, certificates by name and by type of key, and
changes under load. What objects mean is the golden tests' matter, what hostile clients do that of test_tls_abuse.py."""
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess

import test_access_log as access_log
import test_tunnel as tunnel
import tls_peers as peers
from rig import PEER4, WEIR6, expect, expect_eq, wait_until
from tls_peers import ANY, ANY_PORT, EXACT, SHOP, Front, Steady, difference, pair, secret, tls_ingress, tls_metrics

WILD = "one.wild.example.org"


@contextlib.contextmanager
def tls_rig(make, manifests=None, **options):
    """(rig, front): every name of manifests() is served. At the end no session is left, if there still is a dataplane."""
    with make(manifests=manifests or peers.manifests(), nginx=peers.ZIP_SERVER, **options) as rig:
        front = Front(rig)
        wait_until("TLS is served", lambda: front.curl("/", check=False)[0] == 200)
        yield rig, front
        if "dataplane" in rig.procs and rig.is_healthy():
            expect_idle(rig)


def expect_idle(rig):
    wait_until("no session is left", lambda: rig.metric_sum("weir_tls_sessions") == 0)
    expect_eq(rig.metric_sum("weir_tls_sessions_handshaking"), 0, "handshakes in hand")
    wait_until("no request is left", lambda: rig.metric_sum("weir_http_requests_active") == 0)


def expect_served(got, digest, version=None):
    expect_eq((got["status"], got["digest"], got.get("alpn")), (200, digest, "http/1.1"), f"answer, certificate, ALPN: {got}")
    expect(version in (None, got["version"]), got)


def test_clients_of_all_libraries_are_served_and_resume(make):
    with tls_rig(make, workers=2) as (rig, front):
        before, n, resumed, old = tls_metrics(rig), 0, 0, 0
        for version, option in (("1.2", "--tls-max"), ("1.3", "--tlsv1.3")):
            args = [option, version] if option == "--tls-max" else [option]
            status, headers, _ = front.curl("/echo", *args)
            seen = headers["x-seen"].split("|")[:3]
            expect_eq((status, seen), (200, [PEER4, "https", SHOP]), f"curl, TLS {version}: who asked, how and for whom")
            n += 1
            got = front.client("resume", version=version, n=8, keep=True)
            expect_eq([(g["status"], g["version"]) for g in got], [(200, "TLSv" + version)] * 8, "Python")
            expect_eq([g["reused"] for g in got], [False] + [True] * 7, f"resumed by Python over two workers, TLS {version}")
            n, resumed = n + 8, resumed + 7
            saved, named = rig.dir / f"session-{version}", "-tls" + version.replace(".", "_")
            for use in (["-sess_out", saved], ["-sess_in", saved]):
                got = front.s_client(named, *use)
                expect_eq((got["answer"], got["version"], got["alpn"], got["reused"]),
                          ("200", "TLSv" + version, "http/1.1", use[0] == "-sess_in"), f"openssl s_client: {got['errors']}")
            n, resumed = n + 2, resumed + 1
            text = front.gnutls(version)
            expect(all(x in text for x in ("This is a resumed session", "Application protocol: http/1.1", "HTTP/1.1 200")), text)
            n, resumed = n + 2, resumed + 1
            old = n if version == "1.2" else old
        reconnected = rig.run(["openssl", "s_client", "-connect", f"{front.address}:443", "-servername", SHOP, "-CAfile",
                               front.ca, "-tls1_2", "-reconnect"], input=b"", check=False).stdout.decode("latin1")
        expect_eq((reconnected.count("New, TLSv1.2"), reconnected.count("Reused, TLSv1.2")), (1, 5), "s_client -reconnect")
        n, old, resumed = n + 6, old + 6, resumed + 5
        wait_until("every handshake is counted", lambda: difference(before, tls_metrics(rig)).get("tls_handshakes", 0) >= n)
        after = difference(before, tls_metrics(rig))
        wanted = {"tls_handshakes": n, "tls_handshakes_resumed": resumed, "tls_handshakes_tls12": old}
        expect_eq({k: after.get(k) for k in wanted}, wanted, "handshakes")
        others = {"tls_truncated", "tls_sessions", "tls_certificate_waits", "tls_certificates_ready"}
        expect(set(after) <= set(wanted) | others, f"no reason and nothing else is counted: {after}")


def wait_logged(log, target, n):
    """The lines of the access log for this target, of which there are n at least."""
    return wait_until(f"{target} is in the log {n} times", lambda: (lambda x: x if len(x) >= n else None)(
        [line for line in log.lines() if line["target"] == target]))


def test_keys_are_agreed_on_by_a_hybrid_group_where_openssl_has_it(make):
    """X25519MLKEM768 came with OpenSSL 3.5, and Weir and these clients have the same."""
    with make(manifests=peers.manifests(), nginx=peers.ZIP_SERVER, workers=2, ctrl=False, yaml_memory=", access_log_kb: 1024") as rig:
        front, log = Front(rig), access_log.start(rig)
        wait_until("TLS is served", lambda: front.curl("/", check=False)[0] == 200)
        asked, text = rig.metric_sum("weir_tls_handshakes_post_quantum_total"), rig.weirctl("tls")
        if peers.openssl_version() >= (3, 5):
            wanted = {"X25519MLKEM768": "X25519MLKEM768", "*X25519:*X25519MLKEM768": "X25519MLKEM768",
                      "X25519:X25519MLKEM768": "X25519MLKEM768", "X25519": "x25519"}  # the third is asked for another share
            expect("groups          X25519MLKEM768:X25519:P-256:P-384\n" in text, text)
        else:
            wanted = {"X25519": "x25519", "P-384": "secp384r1"}
            expect("post-quantum    none: X25519MLKEM768 is not in this OpenSSL (3.5 has it)\n" in text, text)
            expect("groups          X25519:P-256:P-384\n" in text, text)
        for i, (offer, group) in enumerate(wanted.items()):
            got = front.s_client("-tls1_3", "-groups", offer, path=f"/group/{i}")
            expect_eq(got["answer"], "200", f"{offer}: {got['errors']}")
            line = wait_logged(log, f"/group/{i}", 1)[0]
            expect_eq(line["tls"]["group"], group, f"{offer}: {line}")
            expect(got["group"] in ("", group), f"{offer}: {got}")  # 3.0 does not say it
        expect_eq(front.curl("/group/curl", "--tlsv1.3")[0], 200, "curl, which offers what its OpenSSL does")
        line = wait_logged(log, "/group/curl", 1)[0]
        expect_eq(line["tls"]["group"], list(wanted.values())[0], f"curl: {line}")
        n = [*wanted.values(), line["tls"]["group"]].count("X25519MLKEM768")
        wait_until("they are counted", lambda: rig.metric_sum("weir_tls_handshakes_post_quantum_total") == asked + n)
        seen = rig.weirctl_json("tls")
        expect_eq((seen["post_quantum"], seen["post_quantum"] <= seen["handshakes"] - 1), (asked + n, True), f"weirctl: {seen}")


def test_a_client_of_go_is_served_and_resumes(make):
    """From 1.24 on it offers X25519MLKEM768 of itself, but not to modules of before, as ours is for the sake of older ones."""
    program, hybrid = peers.go_client(), peers.openssl_version() >= (3, 5) and peers.go_version() >= (1, 24)
    with make(manifests=peers.manifests(), nginx=peers.ZIP_SERVER, ctrl=False, yaml_memory=", access_log_kb: 1024") as rig:
        front, log = Front(rig), access_log.start(rig)
        wait_until("TLS is served", lambda: front.curl("/", check=False)[0] == 200)
        for version, number, group in (("1.2", "303", "x25519"), ("1.3", "304", "X25519MLKEM768" if hybrid else "x25519")):
            asked = rig.metric_sum("weir_tls_handshakes_post_quantum_total")
            lines = rig.run(["env", "GODEBUG=tlsmlkem=1", program, f"{front.address}:443", front.ca, SHOP, version, f"/go/{version}",
                             "4"]).stdout.decode().splitlines()
            wanted = {"line": "HTTP/1.1 200 OK", "version": number, "alpn": "http/1.1"}
            wanted = [{**wanted, "resumed": i > 0} for i in range(4)]
            expect_eq([json.loads(line) for line in lines], wanted, f"Go, TLS {version}")
            seen = [x["tls"] for x in wait_logged(log, f"/go/{version}", 4)]
            expect_eq([x["group"] for x in seen], [group] * 4, f"groups, of TLS 1.2 that of the first handshake: {seen}")
            n = 4 if "ML" in group else 0
            wait_until("they are counted", lambda n=n, asked=asked: rig.metric_sum("weir_tls_handshakes_post_quantum_total") == asked + n)
        expect_idle(rig)


def bad_checksums(rig):
    """TCP segments that came to the peers with a wrong checksum."""
    names, values = [line.split()[1:] for line in rig.run(["cat", "/proc/net/snmp"]).stdout.decode().splitlines() if line.startswith("Tcp:")]
    return int(dict(zip(names, values))["InCsumErrors"])


def test_bodies_and_connections_of_all_kinds_pass_unchanged(make):
    with tls_rig(make, workers=2) as (rig, front):
        sizes = [0, 1, 16383, 16384, 16385, 100000, 1 << 20, 10 << 20]
        expect_eq(front.client("bodies", sizes=sizes), {"wrong": []}, "bodies up and down")
        chunked = front.client("bodies", sizes=[0, 1, 300000], chunk=7777, version="1.2", stem="c")
        expect_eq(chunked, {"wrong": []}, "chunked bodies, TLS 1.2")
        wanted = [[201, 0], [204, 0], [200, 1], [304, 0], [200, 0], [200, 1]]
        expect_eq(front.client("answers"), wanted, "answers with and without bodies")
        expect_eq(front.client("pipeline", n=30, cuts=[100000, 7, 1]), [[30, True]] * 3, "pipelined requests")
        big = os.urandom(3000000)
        (rig.dir / "www" / "big").write_bytes(big)
        for version in ("1.2", "1.3"):
            expect_eq(front.client("half", path="/files/big", version=version),
                      {"status": 200, "digest": hashlib.sha256(big).hexdigest(), "end": "close_notify"},
                      f"behind close_notify of the client, TLS {version}")
        got = front.h2load("-n", "2000", "-c", "100")
        expect_eq((got["succeeded"], got["failed"], got["errored"]), (2000, 0, 0), "h2load")
        before = tls_metrics(rig)
        points = [0, 1, 50, 1000, 16384, 16500, 300000, 900000]
        left = front.client("leave_early", path="/files/big", points=points)["left"]
        expect_idle(rig)
        after = difference(before, tls_metrics(rig))  # a reset may overtake the client's Finished
        expect(set(after) <= {"tls_handshakes", "tls_truncated", "tls_client_gone"}, f"who leaves early: {after}")
        expect_eq(after["tls_handshakes"] + after.get("tls_client_gone", 0), left, "handshakes of those")
        expect_eq(front.curl("/")[0], 200, "who comes behind them")
        expect_eq(bad_checksums(rig), 0, "segments that the kernel would not have")


def test_websockets_pass_through_tls(make):
    manifests = {**tunnel.manifests(), "ws.yaml": tls_ingress("ws", "ws.example.com", [("/", "Prefix", "ws")], "ws"),
                 "ws-secret.yaml": secret("ws", pair("ws.example.com"))}
    with make(manifests=manifests) as rig, tunnel.backend(rig):
        os.environ["WS_CA"] = str(peers.authority().root)
        try:
            with tunnel.client(rig, "many", tunnel.WEIR4, 50) as (p, read):
                expect_eq(read(), {"open": 50}, "handshakes")
                tunnel.say(p, "first")
                expect_eq(read(), {"echoed": 50}, "messages")
                expect_eq(rig.metric_sum("weir_tls_sessions"), 50, "sessions")
                p.stdin.close()
                expect_eq(read(), {"closed": 50}, "closing handshakes")
            expect_eq(tunnel.run_client(rig, "bulk", tunnel.WEIR4, 8 << 20), {"total": 8 << 20, "same": True}, "what came back")
        finally:
            del os.environ["WS_CA"]
        wait_until("no tunnel is left", lambda: tunnel.open_tunnels(rig) == 0)
        expect_idle(rig)


def test_certificate_is_that_of_the_server_name_and_of_a_key_the_client_knows(make):
    with tls_rig(make) as (rig, front):
        for name, digest, port in ((SHOP, pair(SHOP).digest, 443), (SHOP.upper(), pair(SHOP).digest, 443),
                                   (WILD, pair(peers.WILD).digest, 443), (ANY, pair(ANY, key="rsa").digest, ANY_PORT)):
            for version in ("1.2", "1.3"):
                expect_served(front.ask(name=name, version=version, port=port), digest, "TLSv" + version)
        for version in ("1.2", "1.3"):
            for kind, algorithms in (("ec", "ECDSA+SHA256"), ("rsa", "RSA-PSS+SHA256")):
                got = front.s_client("-tls" + version.replace(".", "_"), "-sigalgs", algorithms, name=EXACT)
                expect_eq((got["answer"], got["digest"], got["n_chain"]), ("200", pair(EXACT, key=kind).digest, 2),
                          f"{version}, {algorithms}: {got}")
        expect_eq(front.s_client(name=EXACT)["digest"], pair(EXACT).digest, "the shorter one, where the client knows both")

        got = front.client("several", of=[
            {"name": "nobody.example.com"}, {"name": "nobody.example.com", "version": "1.2"}, {"name": None, "host": SHOP},
            {"name": "wild.example.org"}, {"name": "nobody.example.com", "port": ANY_PORT, "host": ANY, "verify": False},
            {"name": None, "port": ANY_PORT, "host": ANY}])
        expect_eq([g["alert"] for g in got[:4]], ["TLSV1_UNRECOGNIZED_NAME"] * 4, "names that nobody has")
        expect_eq([(g["status"], g["digest"]) for g in got[4:]], [(200, pair(ANY, key="rsa").digest)] * 2,
                  "a listener that has no name takes them all")
        got = front.s_client(name="nobody.example.com")
        expect_eq((got["n_chain"], "alert number 112" in got["errors"]), (0, True), "what is shown for a name that nobody has")

        misdirected = front.client("several", of=[
            {"name": EXACT, "host": WILD}, {"name": EXACT, "host": SHOP}, {"name": WILD, "host": EXACT},
            {"name": WILD, "host": "two.wild.example.org"}, {"name": EXACT, "host": "nobody.example.com"},
            {"name": EXACT, "host": EXACT + ":443"}])
        expect_eq([g["status"] for g in misdirected], [421, 421, 421, 200, 421, 200], "Host of another listener")

        expect_eq(rig.curl("/")[0], 200, "the same host over HTTP")
        expect_eq(rig.curl("/echo")[1]["x-seen"].split("|")[1], "http", "how that was asked")
        before = tls_metrics(rig)
        expect_eq(rig.curl("/", port=443, check=False)[0], 0, "HTTP where TLS is spoken")
        wait_until("it is counted", lambda: difference(before, tls_metrics(rig)).get("tls_not_tls") == 1)
        for reason, kind in (("tls_not_tls", "tls"), ("req_misdirected", "request")):
            expect(rig.metric_sum("weir_drops_total", f'reason="{reason}"', f'kind="{kind}"') > 0, f"the kind of {reason}")
        expect_eq(Front(rig, WEIR6).ask()["status"], 200, "over IPv6")
        got = front.client("several", of=[{"alpn": ["h2", "http/1.1"]}, {"alpn": ["h2"]}])
        expect_eq((got[0].get("alpn"), got[1]["status"]), ("http/1.1", 0), "ALPN: h2 and http/1.1; h2 alone")
        wait_until("it is counted", lambda: difference(before, tls_metrics(rig)).get("tls_no_application_protocol") == 1)


def wait_shown(front, digest, **options):
    wait_until("the new certificate is shown", lambda: front.ask(**options)["digest"] == digest)


def test_secrets_change_and_no_handshake_fails(make):
    with tls_rig(make, workers=2) as (rig, front):
        first, second, third = (pair(SHOP, edition=i) for i in (0, 2, 3))
        with subprocess_client(front, "keep", of=[{}, {"version": "1.2"}, {"name": EXACT}]) as (say, read):
            expect_eq(read(), [first.digest, first.digest, pair(EXACT).digest], "certificates of the connections that stay")
            saved = rig.dir / "session"
            expect_eq(front.s_client("-tls1_3", "-sess_out", saved)["answer"], "200", "a session of before")
            with Steady(front, clients=4, each=2, resume=True) as steady:
                for one in (second, third, first, second):
                    rig.write_manifest("shop-secret.yaml", secret("shop", one))
                    wait_shown(front, one.digest)
                    say("ask")
                    expect_eq(read(), [200, 200, 200], "connections of before")
                    got = front.s_client("-tls1_3", "-sess_in", saved)
                    expect_eq((got["answer"], got["reused"]), ("200", True), f"a session of before: {got['errors']}")
                # A key that is another one's: the Secret is refused, and said to be; who asks for the name is refused.
                rig.write_manifest("edge-secrets.yaml", peers.manifests()["edge-secrets.yaml"].replace(
                    secret("exact-ec", pair(EXACT)), secret("exact-ec", pair(EXACT), key=third)))
                wait_shown(front, pair(EXACT, key="rsa").digest, name=EXACT)
                expect("tls.key is not the key of the first certificate" in rig.weirctl("status"), rig.weirctl("status"))
                rig.write_manifest("edge-secrets.yaml", peers.manifests()["edge-secrets.yaml"])
                wait_shown(front, pair(EXACT).digest, name=EXACT)
                seen = steady.finish()
        expect_eq(seen["failed"], [], "failed")
        expect(seen["ok"] > 20 and seen["reused"] > 0, seen)
        expect(set(seen["digests"]) <= {p.digest for p in (first, second, third)}, seen)
        # The Secret goes: so does the name, and comes again with it.
        (rig.dir / "manifests" / "shop-secret.yaml").unlink()
        wait_until("the name is gone", lambda: front.ask()["alert"] == "TLSV1_UNRECOGNIZED_NAME")
        expect_eq(rig.curl("/")[0], 200, "over HTTP")
        expect_eq(front.ask(name=EXACT)["status"], 200, "another name")
        rig.write_manifest("shop-secret.yaml", secret("shop", third))
        wait_shown(front, third.digest)


@contextlib.contextmanager
def subprocess_client(front, mode, **options):
    p = front.rig.spawn(front.argv(mode, **options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(word):
        p.stdin.write(word + "\n")
        p.stdin.flush()
    try:
        yield say, lambda: json.loads(p.stdout.readline())
        say("end")
        p.wait(60)
    finally:
        p.kill()
        p.wait()


def test_no_request_over_tls_fails_while_weir_ctrl_is_killed(make):
    with tls_rig(make, workers=2) as (rig, front), Steady(front, clients=4, each=3, resume=True) as steady:
        for _ in range(2):
            rig.stop("ctrl", signal.SIGKILL)
            expect_eq(front.ask()["status"], 200, "without weir-ctrl")
            rig.start_ctrl()
            rig.wait_healthy()
        shown = pair(SHOP, edition=4)
        rig.write_manifest("shop-secret.yaml", secret("shop", shown))
        wait_shown(front, shown.digest)
        seen = steady.finish()
        expect_eq(seen["failed"], [], "failed")
        expect(seen["ok"] > 10 and shown.digest in seen["digests"], seen)


def test_a_drain_answers_what_is_in_hand_over_tls(make):
    with tls_rig(make, timeouts="drain_ms: 10000") as (rig, front):
        (rig.dir / "www" / "big").write_bytes(os.urandom(1500000))
        slow = rig.spawn(["curl", "-sS", "--http1.1", "--cacert", front.ca, "--resolve", f"{SHOP}:443:{front.address}",
                          "--limit-rate", "1000000", "-o", rig.dir / "got", f"https://{SHOP}/files/big"])
        wait_until("it has begun", lambda: (rig.dir / "got").stat().st_size > 0)
        late = rig.spawn(front.argv("late", peers.ABUSE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        expect_eq(json.loads(late.stdout.readline()), {"begun": True}, "one idles, one is within its handshake")
        rig.procs["dataplane"].send_signal(signal.SIGTERM)
        wait_until("it drains", lambda: front.curl("/", check=False)[0] == 0)
        out, _ = late.communicate("go\n", timeout=60)
        expect_eq(json.loads(out), {"idle": "end", "told": True, "late": 200, "end": "end"}, "how these went on")
        expect_eq(rig.procs.pop("dataplane").wait(60), 0, "exit status")
        expect_eq(slow.wait(60), 0, "what was in hand")
        expect((rig.dir / "got").read_bytes() == (rig.dir / "www" / "big").read_bytes(), "its bytes")


# Three are enough for sanitizers, beside what test_tls_abuse.py does.
for fn in (test_clients_of_all_libraries_are_served_and_resume, test_a_client_of_go_is_served_and_resumes,
           test_websockets_pass_through_tls, test_certificate_is_that_of_the_server_name_and_of_a_key_the_client_knows,
           test_no_request_over_tls_fails_while_weir_ctrl_is_killed):
    fn.not_sanitized = True
