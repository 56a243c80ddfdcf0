# SPDX-License-Identifier: Apache-2.0
"""Routes that weir-ctrl keeps on disk (--state-dir): served when it starts while the API server is away."""
import contextlib
import os
import signal
import stat
import subprocess
import time

import yaml

from rig import PEER4, WEB, expect, expect_eq, ip, takes, wait_until
from test_kube_source import BASE, Double, answers, gateway_objects, ingress, service, slice_, wait_answer, with_ctrl_stopped
from test_streams import A, B, answers as stream_answers, drops, explain, manifests, peer, route, servers, tcp, tls, tls_route, who
from tls_peers import listener, pair, secret

NAME = "routes.saved"
ADMIN = "http://127.0.0.1:9901"


@contextlib.contextmanager
def saving(make, objects=BASE, **kw):
    """A rig whose weir-ctrl has followed the double, with a folder of state."""
    with make(ctrl=False, manifests={}, **kw) as rig:
        double = Double(rig, objects)
        rig.ctrl_source = ["--kubeconfig", double.kubeconfig, "--ingress-without-class", "--state-dir", state(rig)]
        state(rig).mkdir()
        os.chown(state(rig), 65534, 65534)
        rig.start_ctrl()
        rig.wait_healthy()
        yield rig, double
        if "ctrl" in rig.procs:
            expect_eq(rig.stop("ctrl"), 0, "weir-ctrl's exit status")


def state(rig):
    return rig.dir / "state"


def saved(rig):
    return rig.weirctl_json("status")["saved"]


def ready(rig):
    """(status, text) of /readyz."""
    out = rig.run(["curl", "-s", "-m", "60", "-w", " %{http_code}", f"{ADMIN}/readyz"], check=False).stdout.decode()
    text, _, status = out.rpartition(" ")
    return int(status), text


def wait_written(rig):
    """Until the file has what weir-ctrl has published."""
    before = saved(rig)["writes"]
    wait_until("a write", lambda: saved(rig)["writes"] > before)


def restart(rig, with_dataplane=True, sig=signal.SIGKILL):
    """Both programs end and are started again."""
    rig.stop("ctrl", sig)
    if with_dataplane:
        rig.stop("dataplane")
        (rig.dir / "dataplane.sock").unlink(missing_ok=True)
        rig.start_dataplane()
    rig.start_ctrl()
    wait_until("the admin server", lambda: ready(rig)[0] > 0 if is_up(rig) else False)


def is_up(rig):
    return rig.run(["curl", "-s", "-m", "60", "-o", "/dev/null", f"{ADMIN}/healthz"], check=False).returncode == 0


def test_routes_on_disk_are_served_until_the_api_server_comes(make):
    with saving(make, BASE + gateway_objects()) as (rig, double):
        wait_answer(rig, "gw.example.com", "api")
        wait_until("the file", lambda: saved(rig)["writes"] > 0)
        routes, backends = rig.weirctl_json("routes"), rig.weirctl_json("backends")
        expect_eq(stat.S_IMODE((state(rig) / NAME).stat().st_mode), 0o600, "mode of the file")
        double.kill()
        restart(rig)
        wait_answer(rig, "shop.example.com", "web")
        wait_answer(rig, "gw.example.com", "api")
        wait_until("/readyz says so", lambda: ready(rig)[0] == 200 and ready(rig)[1].startswith("ok: serving from disk, of age "))
        expect("SERVING FROM DISK" in rig.weirctl("status"), rig.weirctl("status"))
        expect_eq(rig.metrics()["weir_ctrl_saved_serving"], 1, "the metric")
        expect_eq(rig.metrics()["weir_ctrl_kube_synced"], 0, "synced")
        expect_eq(rig.weirctl_json("routes"), routes, "routes")
        expect_eq([b["endpoints"] for b in rig.weirctl_json("backends")], [b["endpoints"] for b in backends], "endpoints")
        double.start()
        wait_until("all is listed", lambda: rig.metrics()["weir_ctrl_kube_synced"] == 1)
        wait_until("it is served as ever", lambda: ready(rig) == (200, "ok\n"))
        expect(not saved(rig)["serving"], "not from disk any more")
        double.apply(ingress("shop", "shop.example.com", "api"))
        wait_answer(rig, "shop.example.com", "api")


def test_streams_are_served_from_disk_but_where_a_key_is_needed(make):
    """A name whose key is not kept is refused, and not sent on to the backend of the wildcard that covers it."""
    theirs, ours, web = pair("*.example.com"), pair("tls.example.com"), pair("web.example.com")
    texts = manifests(tcp(), tls("through", "*.example.com"), tls("ended", "tls.example.com", "ours"),
                      listener("https", "web", hostname="web.example.com"), secrets=secret("ours", ours) + secret("web", web),
                      peers=peer("a", A) + peer("b", B),
                      routes=route("tcp", "tcp", ("a", 1)) + tls_route("b", "through", "b") + tls_route("a", "ended", "a"))
    objects = [o for text in texts.values() for o in yaml.safe_load_all(text) if o]
    with saving(make, BASE + objects) as (rig, double), servers(rig, a=A, b=(B, theirs)):
        stream_answers(rig, "b", 443, "one.example.com")
        stream_answers(rig, "a", 443, "tls.example.com")
        double.kill()
        restart(rig, sig=signal.SIGTERM)
        stream_answers(rig, "b", 443, "one.example.com")
        expect(saved(rig)["serving"], "served from disk")
        expect_eq(who(rig, 443, "one.example.com"), {"who": "b", "certificate": theirs.digest}, "passed through")
        stream_answers(rig, "a")
        before = drops(rig).get("tls_no_certificate", 0)
        for name in ("tls.example.com", "web.example.com"):
            expect("error" in who(rig, 443, name), f"{name}: somebody answers without its key")
            expect_eq(explain(rig, f"tls://{name}")["reason"]["name"], "tls_no_certificate", name)
        wait_until("both are counted", lambda: drops(rig).get("tls_no_certificate", 0) == before + 2)
        keys = [p.key.read_bytes() for p in (ours, web)]
        text = (state(rig) / NAME).read_bytes()
        expect(not any(line in text for key in keys for line in key.splitlines()[1:-1]), "a key is on disk")
        double.start()
        stream_answers(rig, "a", 443, "tls.example.com")
        expect(not saved(rig)["serving"], "all is listed again")


def test_what_changed_while_the_api_server_was_away_replaces_the_file_with_no_request_lost(make):
    with saving(make) as (rig, double):
        wait_until("the file", lambda: saved(rig)["writes"] > 0)
        double.kill()
        restart(rig)
        wait_answer(rig, "shop.example.com", "web")
        generation = rig.weirctl_json("status")["generation"]
        load = rig.spawn(["sh", "-c", 'n=0; while [ ! -e "$0" ]; do n=$((n + 1)); '
                          'curl -s -m 60 -o /dev/null -w "%{http_code}\\n" -H "Host: shop.example.com" http://10.99.0.2/; done',
                          rig.dir / "stop"], stdout=subprocess.PIPE)
        double.start()
        wait_until("all is listed", lambda: rig.metrics()["weir_ctrl_kube_synced"] == 1)
        expect_eq(rig.weirctl_json("status")["generation"], generation, "the same routes are not sent again")
        double.apply(service("more"), slice_("more", PEER4, WEB), ingress("more", "more.example.com", "more"))
        wait_answer(rig, "more.example.com", "web")
        expect(rig.weirctl_json("status")["generation"] > generation, "others are")
        (rig.dir / "stop").touch()
        got = load.communicate(timeout=120)[0].decode().split()
        expect(len(got) > 5 and set(got) == {"200"}, f"answers: {got}")


def test_dataplane_that_has_routes_is_not_given_older_ones(make):
    """weir-ctrl alone is killed, right after a change that it had no time to save."""
    with saving(make) as (rig, double):
        wait_until("the file", lambda: saved(rig)["writes"] > 0)
        old = (state(rig) / NAME).read_bytes()
        double.apply(ingress("shop", "shop.example.com", "api"))
        wait_answer(rig, "shop.example.com", "api")
        double.kill()
        rig.stop("ctrl", signal.SIGKILL)
        (state(rig) / NAME).write_bytes(old)
        rig.start_ctrl()
        wait_until("it waits", lambda: is_up(rig) and saved(rig)["waiting"])
        expect(answers(rig, "shop.example.com", "api"), "the newer route is served")
        expect_eq(ready(rig)[0], 503, "/readyz")
        rig.stop("dataplane")  # with its routes
        (rig.dir / "dataplane.sock").unlink(missing_ok=True)
        rig.start_dataplane()
        wait_answer(rig, "shop.example.com", "web")
        expect(saved(rig)["serving"], "now the file is served")


def test_what_was_changed_last_is_written_at_an_orderly_end(make):
    with saving(make) as (rig, double):
        wait_until("the file", lambda: saved(rig)["writes"] > 0)
        double.apply(ingress("late", "late.example.com", "web"))
        wait_answer(rig, "late.example.com", "web")
        double.kill()
        restart(rig, sig=signal.SIGTERM)
        wait_answer(rig, "late.example.com", "web")


def refuse(rig, reason, change):
    """The file as change() makes it is refused for this reason, and nothing is served."""
    good = (state(rig) / NAME).read_bytes()
    change(state(rig) / NAME, good)
    restart(rig)
    wait_until(f"{reason} is told", lambda: saved(rig)["refused"] == reason)
    expect(not saved(rig)["serving"], f"{reason}: it is served")
    expect_eq(rig.metrics()[f'weir_ctrl_saved_refused{{reason="{reason}"}}'], 1, "the metric")
    expect(reason in rig.weirctl("status"), "weirctl status")
    expect_eq(ready(rig)[0], 503, "/readyz")
    (state(rig) / NAME).unlink()
    (state(rig) / NAME).write_bytes(good)
    os.chown(state(rig) / NAME, 65534, 65534)


def set_byte(at):
    return lambda path, good: path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])


def test_file_that_is_not_whole_or_not_ours_is_refused_by_name(make):
    with saving(make) as (rig, double):
        wait_until("the file", lambda: saved(rig)["writes"] > 0)
        double.kill()
        refuse(rig, "truncated", lambda path, good: path.write_bytes(good[:-100]))
        refuse(rig, "truncated", lambda path, good: path.write_bytes(b""))
        refuse(rig, "no-saved-routes", set_byte(0))
        refuse(rig, "other-version", set_byte(8))
        refuse(rig, "other-abi", set_byte(12))
        refuse(rig, "wrong-checksum", set_byte(len((state(rig) / NAME).read_bytes()) // 2))
        (state(rig) / NAME).rename(state(rig) / "good")
        (state(rig) / NAME).mkdir()  # what cannot be read is no reason to end, either
        restart(rig)
        expect(not saved(rig)["serving"], "a folder is served")
        (state(rig) / NAME).rmdir()
        (state(rig) / "good").rename(state(rig) / NAME)
        rig.ctrl_source += ["--namespace", "demo"]  # another source
        restart(rig)
        wait_until("it is told", lambda: saved(rig)["refused"] == "other-source")
        rig.ctrl_source += ["--state-of-any"]
        restart(rig)
        wait_answer(rig, "shop.example.com", "web")
        expect(saved(rig)["serving"], "served since it was told so")


def mount_small(rig):
    """The folder of state on a file system of its own that is nearly full. In the host's mount namespace, by necessity."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,uid=65534,gid=65534,mode=700", "tmpfs", state(rig)], check=True, timeout=30)


@takes(25)
def test_disk_that_is_full_or_read_only_costs_the_file_only(make):
    many = [ingress(f"r{i}", f"host{i}.example.com", "web") for i in range(300)]
    with saving(make) as (rig, double):
        wait_until("the file", lambda: saved(rig)["writes"] > 0)
        expect_eq(rig.stop("ctrl"), 0, "exit status")
        mount_small(rig)
        try:
            rig.start_ctrl()
            rig.wait_healthy()
            wait_until("the file", lambda: saved(rig)["writes"] > 0)
            good = (state(rig) / NAME).read_bytes()
            with_ctrl_stopped(rig, lambda: double.apply(*many))  # it sees all of them at once: some would fit
            wait_answer(rig, "host299.example.com", "web")
            wait_until("a failure", lambda: saved(rig)["failures"] > 0)
            expect("No space left" in saved(rig)["problem"], saved(rig)["problem"])
            expect_eq((state(rig) / NAME).read_bytes(), good, "the file of before")
            wait_until("it is alone in the folder", lambda: [p.name for p in state(rig).iterdir()] == [NAME])
            expect(rig.is_healthy(), "all else goes on")
            for i in range(300):
                double.delete("Ingress", f"r{i}")
            wait_until("it is written again", lambda: saved(rig)["problem"] == "", 180)
            wait_until("nothing is being written", lambda: subprocess.run(["mount", "-o", "remount,ro", state(rig)], timeout=30).returncode == 0)
            double.apply(many[0])
            wait_until("a failure", lambda: "Read-only" in saved(rig)["problem"])
            wait_answer(rig, "host0.example.com", "web")
            expect_eq(rig.stop("ctrl"), 0, "exit status")
        finally:
            subprocess.run(["umount", state(rig)], check=True, timeout=30)


def test_changes_in_a_row_are_few_writes(make):
    with saving(make) as (rig, double):
        wait_until("the file", lambda: saved(rig)["writes"] > 0)
        before, began = saved(rig)["writes"], time.monotonic()
        n = 0
        while time.monotonic() - began < 4:
            n += 5
            double.apply(*(slice_("web", PEER4, WEB + (n + i) % 7) for i in range(5)))
        seconds = time.monotonic() - began
        wait_until("the last one is written", lambda: saved(rig)["writes"] > before)
        expect(n > 2 * seconds, f"{n} changes")
        writes = saved(rig)["writes"] - before
        expect(writes <= seconds + 2, f"{writes} writes of {n} changes in {seconds:.1f} s")
