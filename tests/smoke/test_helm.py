# SPDX-License-Identifier: Apache-2.0
"""The Helm chart: the objects that it gives, and the values that its schema refuses."""
import re
import sys

import yaml

from rig import Skipped, expect, expect_eq
from test_deploy import DEPLOY, ROOT, base, containers, dry_run, objects_of, plain, run
from test_kube import kube_rig, kube_test

CHART = DEPLOY / "helm/weir"
sys.path.insert(0, str(ROOT / "tests/conformance/helm"))
import helm_program  # noqa: E402


def helm(*args, **kw):
    try:
        return run(helm_program.helm_path(), *args, **kw)
    except kube_rig.Missing as e:
        raise Skipped(str(e)) from e


def render(*options):
    done = helm("template", "weir", CHART, "--kube-version=1.36.0", *options)
    expect_eq((done.returncode, done.stderr), (0, ""), f"helm template {options}")
    return done.stdout


@kube_test
def test_api_server_accepts_the_chart(make, rig, ns):
    for options in ((), ("--set=dataplane.privileged=false,dataplane.devicePluginResource=example.com/nic",),
                    ("--set=hostNetwork=true,classes.isDefaultIngressClass=true,image.pullSecrets={a,b}",
                     "--set-json=tolerations=[{\"operator\":\"Exists\"}]")):
        text = render(*options)
        expect_eq(len(dry_run(rig, "-f", "-", input=text).stdout.splitlines()), len(objects_of(text)), f"accepted with {options}")


def without_chart_only(objects):
    """The chart's own additions, which the base has no need of."""
    for (kind, _, _), o in objects.items():
        if kind == "DaemonSet":
            expect(o["spec"]["template"]["metadata"].pop("annotations", {}).keys() == {"checksum/config"}, "annotations")
            for c in o["spec"]["template"]["spec"]["containers"]:
                expect_eq(c.pop("imagePullPolicy"), "IfNotPresent", "pull policy")
        if kind == "ConfigMap":
            o["data"] = {k: yaml.safe_load(v) for k, v in o["data"].items()}
    return objects


@plain
def test_chart_gives_the_objects_of_the_base(make):
    wanted = base()
    config = wanted[("ConfigMap", "weir-system", "weir")]
    config["data"] = {k: yaml.safe_load(v) for k, v in config["data"].items()}
    got = without_chart_only(objects_of(render()))
    expect_eq(sorted(map(str, got)), sorted(map(str, wanted)), "objects")
    for key, o in wanted.items():
        expect_eq(got[key], o, str(key))


@plain
def test_certificates_are_read_if_wanted(make):
    component = objects_of((DEPLOY / "components/certificates/rbac.yaml").read_text())
    got = objects_of(render("--set=certificates.read=true"))
    expect_eq({k: o for k, o in got.items() if k in component}, component, "the objects of the component")
    expect(not set(component) & set(objects_of(render())), "none of them otherwise")


@plain
def test_ticket_keys_are_shared_if_wanted(make):
    component = {}
    for name in ("rbac", "secret"):
        component |= objects_of((DEPLOY / f"components/ticket-keys/{name}.yaml").read_text())
    got = objects_of(render("--set=ticketKeys.share=true"))
    expect_eq({k: o for k, o in got.items() if k in component}, component, "the objects of the component")
    pod = got[("DaemonSet", "weir-system", "weir")]
    expect_eq(containers(pod)["weir-ctrl"]["command"][-1], "--ticket-keys=weir-system/weir-ticket-keys", "the last of its command")
    expect(not set(component) & set(objects_of(render())), "none of them otherwise")


REFUSED = ("nonsense=1", "dataplane.capabilities={ALL}", "dataplane.hugepages2Mi=some", "ctrl.admin=9901", "classes.name=Weir",
           "maxUnavailable=0", "image.repository=", "dataplane.privileged=maybe", "config=workers: {}",
           "dataplane.devicePluginResource=nic", "image.pullPolicy=Sometimes", "hostNetwork=1",
           "terminationGracePeriodSeconds=0", "priorityClass.value=1000000001", "priorityClass.name=", "dataplane.cores=2",
           "ctrl.args={events}", "certificates.read=some", "ticketKeys.share=some")


@plain
def test_options_of_weir_ctrl_are_added(make):
    options = ("--address-pool=192.0.2.16/28", "--events=false")
    got = objects_of(render(f"--set=ctrl.args={{{','.join(options)}}}"))[("DaemonSet", "weir-system", "weir")]
    expect_eq(tuple(containers(got)["weir-ctrl"]["command"][-2:]), options, "the last of its command")


@plain
def test_priority_class_may_be_there_already(make):
    got = objects_of(render("--set=priorityClass.create=false,priorityClass.name=system-node-critical"))
    expect_eq([k for k in got if k[0] == "PriorityClass"], [], "priority classes")
    pod = got[("DaemonSet", "weir-system", "weir")]["spec"]["template"]["spec"]
    expect_eq(pod["priorityClassName"], "system-node-critical", "of the Pod")


@plain
def test_schema_refuses_wrong_values(make):
    for value in REFUSED:
        done = helm("template", "weir", CHART, "--kube-version=1.36.0", "--set", value)
        key = re.split(r"[.=]", value)[0]
        expect(done.returncode != 0 and "schema" in done.stderr and key in done.stderr, f"{value}: {done.stderr}")


@plain
def test_helm_lint_finds_nothing(make):
    done = helm("lint", "--strict", CHART)
    expect(done.returncode == 0, done.stdout + done.stderr)
