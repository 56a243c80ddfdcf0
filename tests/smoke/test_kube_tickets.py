# SPDX-License-Identifier: Apache-2.0
"""Session ticket keys that Weirs share through a Secret: a session outlives its dataplane, and is resumed by another node."""
import base64
import contextlib
import signal

from rig import WEIR4, expect, expect_eq, takes, wait_until
from test_kube_certificates import https, pair, secret, tls_gateway
from test_kube_lease import Node, two_weirs
from test_kube_source import BASE, following, gateway_objects, obj
from test_kube_status import get

KEYS = "/api/v1/namespaces/demo/secrets/tickets"
REQUEST = b"GET / HTTP/1.1\r\nHost: own.example.com\r\nConnection: close\r\n\r\n"
ROTATE_S = 20


def served_by_tls(rig):
    return BASE + gateway_objects() + [secret("cert", *pair(rig, "one")), tls_gateway(https("own", {"name": "cert"}))]


def session(rig, *args):
    """A connection: whether it was resumed; None: there was none."""
    p = rig.run(["openssl", "s_client", "-connect", f"{WEIR4}:443", "-servername", "own.example.com", "-ign_eof", *args], check=False,
                input=REQUEST)
    text = p.stdout.decode("latin1")
    return "Reused, TLSv1." in text if "HTTP/1.1 " in text else None


def take(rig, name, *args):
    wait_until("TLS is served", lambda: session(rig, *args, "-sess_out", rig.dir / name) is not None)
    expect((rig.dir / name).stat().st_size > 0, "a session was given")


def restart_dataplane(rig, is_shared):
    rig.stop("dataplane", signal.SIGKILL)
    (rig.dir / "dataplane.sock").unlink(missing_ok=True)
    rig.start_dataplane()
    wait_until("it has its keys", lambda: rig.metrics().get("weir_ticket_keys") and rig.metrics()["weir_ticket_keys_shared"] == is_shared)
    wait_until("TLS is served", lambda: session(rig) is not None)


def keys_of(double):
    """{"0": bytes, ...}; {}: there is no such Secret."""
    return {k: base64.b64decode(v) for k, v in get(double, KEYS).get("data", {}).items()}


def said_of(double):
    """Events of the Secret with the keys."""
    return [e for e in get(double, "/api/v1/namespaces/demo/events").get("items", [])
            if e["involvedObject"]["kind"] == "Secret" and e["involvedObject"]["name"] == "tickets" and e["reason"] == "InvalidTicketKeys"]


def test_a_session_outlives_the_dataplane_by_shared_keys_alone(make):
    with following(make, start=False) as (rig, double):
        double.apply(*served_by_tls(rig))
        rig.start_ctrl("--write-status", "always", "--ticket-keys", "demo/tickets", "--log-level", "debug")
        rig.wait_healthy()
        wait_until("the keys are shared", lambda: rig.metrics().get("weir_ticket_keys_shared") == 1)
        expect_eq({k: len(v) for k, v in keys_of(double).items()}, {"0": 80, "1": 80}, "what was made")
        for version in ("-tls1_2", "-tls1_3"):
            take(rig, "session" + version, version)
        restart_dataplane(rig, 1)
        for version in ("-tls1_2", "-tls1_3"):
            expect_eq(session(rig, version, "-sess_in", rig.dir / ("session" + version)), True, f"resumed{version}")
        view = rig.weirctl_json("tls")
        expect_eq((view["tickets"]["source"], view["tickets"]["keys"], view["ticket_secret"]["state"]), ("shared", 2, "good"), "weirctl tls")
        expect("the same in all nodes" in rig.weirctl("tls"), "in words")
        told = [(rig.dir / f"{name}.log").read_bytes() for name in ("ctrl", "dataplane")]
        told += [rig.ask("/metrics"), rig.ask("/api/v1/tls"), rig.ask("/api/v1/status")]
        for key in keys_of(double).values():
            for part in (key[:12], base64.b64encode(key)[:16], base64.b64encode(key)[24:40]):
                expect(not any(part in text for text in told), "nothing of a key is told")
        expect_eq(rig.stop("ctrl"), 0, "weir-ctrl's exit status")
        expect_eq(session(rig, "-sess_in", rig.dir / "session-tls1_3"), True, "resumed without weir-ctrl")
        rig.start_ctrl("--write-status", "always")  # who has no Secret takes the keys back
        rig.wait_healthy()
        wait_until("it makes its own", lambda: rig.metrics()["weir_ticket_keys_shared"] == 0)
        take(rig, "own")
        expect_eq(session(rig, "-sess_in", rig.dir / "own"), True, "resumed by its own keys")
        restart_dataplane(rig, 0)
        expect_eq(session(rig, "-sess_in", rig.dir / "own"), False, "resumed, although its keys are gone")


class TicketNode(Node):
    def start(self):
        self.rig._spawn("ctrl", [self.rig.build / "ctrl/weir-ctrl", "--kubeconfig", self.double.kubeconfig, "--socket",
                                 self.rig.dir / "dataplane.sock", "--admin", self.admin, "--user", "nobody", "--ticket-keys",
                                 "demo/tickets", "--ticket-rotate", ROTATE_S], self.double.rig.ns)

    def text(self):
        return self.double.rig.run(["curl", "-sf", "-m", "60", f"http://{self.admin}/metrics"]).stdout.decode()

    def is_in_state(self, state):
        return f'weir_ctrl_ticket_secret{{state="{state}"}} 1\n' in self.text()

    def is_shared(self):
        return "weir_ticket_keys_shared 1\n" in self.text()


@contextlib.contextmanager
def ticket_nodes(make):
    with two_weirs(make, BASE, TicketNode) as (double, nodes):
        double.apply(*served_by_tls(nodes[0].rig))
        for n in nodes:
            wait_until("the keys are shared", n.is_shared)
        yield double, nodes


@takes(25)
def test_nodes_resume_each_others_sessions_and_one_of_them_rotates(make):
    with ticket_nodes(make) as (double, (a, b)):
        take(a.rig, "session")
        moved = b.rig.dir / "session"
        moved.write_bytes((a.rig.dir / "session").read_bytes())
        wait_until("TLS is served", lambda: session(b.rig) is not None)
        expect_eq(session(b.rig, "-sess_in", moved), True, "resumed by the other node")
        before = keys_of(double)
        wait_until("they rotate", lambda: keys_of(double) != before, 120)
        after = keys_of(double)
        expect_eq((after["0"], after["2"]), (before["1"], before["0"]), "the next one seals, the last one opens")
        expect(after["1"] not in before.values(), "a new one is next")
        for n in (a, b):
            wait_until("it has three keys", lambda n=n: "weir_ticket_keys 3\n" in n.text())
        expect_eq([n.metric("ticket_secret_rotated_total") > 0 for n in (a, b)], [n.is_writing() for n in (a, b)], "who rotates")
        if keys_of(double) == after:  # not yet once more
            expect_eq(session(b.rig, "-sess_in", moved), True, "resumed by the key that sealed before")
        wrong = obj("v1", "Secret", "tickets", data={"0": base64.b64encode(b"\x07" * 79).decode()})
        double.apply(wrong)
        for n in (a, b):
            wait_until("it is named", lambda n=n: n.is_in_state("wrong"))
            expect(b"key" in (n.rig.dir / "ctrl.log").read_bytes() and
                   b"0 is not 80 bytes in base64" in (n.rig.dir / "ctrl.log").read_bytes(), "in the log")
            expect(n.is_shared(), "the last ones stay")
        wait_until("its owner is told", lambda: said_of(double))
        expect("0 is not 80 bytes in base64" in said_of(double)[0]["message"], f"what is wrong with it, not {said_of(double)}")
        expect_eq(len(said_of(double)), 1, "by the one that writes")
        take(a.rig, "session")
        moved.write_bytes((a.rig.dir / "session").read_bytes())
        expect_eq(session(b.rig, "-sess_in", moved), True, "resumed by the keys that stay")
        expect_eq(keys_of(double), {"0": b"\x07" * 79}, "what somebody has put there is not overwritten")
        double.delete("Secret", "tickets")
        wait_until("it is made anew", lambda: len(keys_of(double)) == 2)
        for n in (a, b):
            wait_until("it is good", lambda n=n: n.is_in_state("good"))


def test_keys_of_a_directory_are_followed(make):
    def manifest(*keys):
        data = {str(i): base64.b64encode(k).decode() for i, k in enumerate(keys)}
        return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: tickets, namespace: demo}}\ndata: {data}\n"

    with make(ctrl=False, manifests={"tickets.yaml": manifest(b"\1" * 80)}) as rig:
        rig.start_ctrl("--ticket-keys", "demo/tickets")
        wait_until("the key is shared", lambda: rig.metrics().get("weir_ticket_keys") == 1 and rig.metrics()["weir_ticket_keys_shared"] == 1)
        rig.write_manifest("tickets.yaml", manifest(b"\2" * 80, b"\1" * 80))
        wait_until("there are two", lambda: rig.metrics()["weir_ticket_keys"] == 2)
        rig.write_manifest("tickets.yaml", manifest(b"\2" * 80, b"\2" * 80))
        wait_until("it is named", lambda: "have the same name" in rig.weirctl("status"))
        rig.write_manifest("tickets.yaml", "")
        wait_until("it is missed", lambda: "which is absent; the last keys stay" in rig.weirctl("tls"))
        expect_eq(rig.metrics()["weir_ticket_keys"], 2, "keys")
        expect_eq(rig.stop("ctrl"), 0, "weir-ctrl's exit status")
