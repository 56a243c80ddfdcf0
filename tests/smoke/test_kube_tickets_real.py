# SPDX-License-Identifier: Apache-2.0
"""Ticket keys on a real Kubernetes, with the rights that the component gives and no more."""
import base64

from rig import expect, expect_eq, wait_until
from test_deploy import DEPLOY, dry_run, may
from test_kube import Weir, kube_test

FOLDER = DEPLOY / "components/ticket-keys"
ROTATE_S = 20
ROTATED = "weir.dev/ticket-keys-rotated"


def keys_of(rig):
    found = rig.kubectl("get", "secret", "weir-ticket-keys", "-n", "weir-system", "-o", "json", check=False)
    if found.returncode != 0:
        return None
    return {k: base64.b64decode(v) for k, v in rig.get("secret", "weir-ticket-keys", "weir-system").get("data", {}).items()}


def is_in_state(weir, state):
    return weir.weirctl_json("tls").get("ticket_secret", {}).get("state") == state


@kube_test
def test_ticket_keys_are_made_and_rotated_by_the_rights_of_the_component(make, rig, ns):
    expect_eq(rig.kubectl("get", "secret", "weir-ticket-keys", "-n", "weir-system", check=False).returncode != 0, True, "none at first")
    for name in ("rbac", "secret"):
        dry_run(rig, "-f", FOLDER / f"{name}.yaml")
        rig.kubectl("apply", "-f", FOLDER / f"{name}.yaml")
    try:
        for verb in ("create", "update", "delete"):
            expect(not may(rig, verb, "secret/weir-ticket-keys", "-n=weir-system"), f"{verb} it")
        with Weir(rig, make.args[0], ctrl_args=["--ticket-keys=weir-system/weir-ticket-keys", f"--ticket-rotate={ROTATE_S}"]) as weir:
            wait_until("it is filled", lambda: len(keys_of(rig)) == 2)
            wait_until("the keys are shared", lambda: weir.weirctl_json("tls")["tickets"]["source"] == "shared")
            before = keys_of(rig)
            rig.kubectl("apply", "-f", FOLDER / "secret.yaml")
            expect(keys_of(rig), "applied again it has its keys still")
            wait_until("they rotate", lambda: len(keys_of(rig)) == 3, 120)
            after = keys_of(rig)
            expect(before["1"] in after.values(), "the next one is among them")
            expect(ROTATED in rig.get("secret", "weir-ticket-keys", "weir-system")["metadata"]["annotations"], "when is told")
            rig.kubectl("delete", "-f", FOLDER / "secret.yaml")
            wait_until("it is missed", lambda: is_in_state(weir, "absent"))
            expect_eq(weir.weirctl_json("tls")["tickets"]["source"], "shared", "the last ones stay")
            expect(keys_of(rig) is None, "weir-ctrl may make none")
            rig.kubectl("apply", "-f", FOLDER / "secret.yaml")
            wait_until("it is filled again", lambda: len(keys_of(rig) or ()) >= 2, 120)
            wait_until("it is good", lambda: is_in_state(weir, "good"))
    finally:
        for name in ("rbac", "secret"):
            rig.kubectl("delete", "--ignore-not-found", "-f", FOLDER / f"{name}.yaml")
