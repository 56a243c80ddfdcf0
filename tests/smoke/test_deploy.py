# SPDX-License-Identifier: Apache-2.0
"""scripts/deploy: what an API server, systemd and the programs themselves say of it."""
import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import yaml

from procs import end_process
from rig import Skipped, expect, expect_eq, wait_until
from test_kube import kube_test

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "scripts/deploy"

USER = "system:serviceaccount:weir-system:weir-ctrl"
GATEWAY = "gateway.networking.k8s.io"


def plain(fn):
    """There is no C in it but what other tests have."""
    fn.not_sanitized = True
    return fn


def build_of(make):
    return pathlib.Path(make.args[0]).resolve()


def run(*argv, **kw):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=600, **kw)


def objects_of(text):
    """{(kind, namespace, name): object} of a stream of YAML."""
    found = [o for o in yaml.safe_load_all(text) if o]
    out = {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o for o in found}
    expect_eq(len(out), len(found), "objects, each once")
    return out


def base():
    """As the base's kustomization.yaml lists it: it only names files."""
    files = yaml.safe_load((DEPLOY / "base/kustomization.yaml").read_text())["resources"]
    expect_eq(sorted(files), sorted(p.name for p in (DEPLOY / "base").glob("*.yaml") if p.name != "kustomization.yaml"),
              "files that the base names, and that are there")
    return objects_of("\n---\n".join((DEPLOY / "base" / f).read_text() for f in files))


def containers(daemonset):
    return {c["name"]: c for c in daemonset["spec"]["template"]["spec"]["containers"]}


def base_containers():
    return containers(base()[("DaemonSet", "weir-system", "weir")])


# ---- an API server

def dry_run(rig, *args, **kw):
    return rig.kubectl("apply", "--dry-run=server", *args, **kw)


@kube_test
def test_api_server_accepts_the_base(make, rig, ns):
    said = dry_run(rig, "-k", DEPLOY / "base").stdout.splitlines()
    expect_eq(len(said), len(base()), "objects accepted")


@kube_test
def test_api_server_accepts_the_device_plugin_overlay(make, rig, ns):
    with tempfile.TemporaryDirectory(dir=DEPLOY) as folder:
        pathlib.Path(folder, "kustomization.yaml").write_text(
            "resources: [../base]\ncomponents: [../components/device-plugin]\n")
        out = rig.kubectl("kustomize", folder).stdout
    dry_run(rig, "-f", "-", input=out)
    daemonset = objects_of(out)[("DaemonSet", "weir-system", "weir")]
    c = containers(daemonset)["weir-dataplane"]
    expect(not c["securityContext"].get("privileged"), "not privileged")
    expect_eq(c["securityContext"]["capabilities"], {"drop": ["ALL"], "add": ["IPC_LOCK"]}, "capabilities")
    expect("hostPath" not in str(daemonset), "nothing of the host is mounted")


UPSTREAM = "https://github.com/kubernetes-sigs/gateway-api/config/crd/experimental?ref="


@kube_test
def test_api_server_accepts_the_base_with_the_definitions_of_the_gateway_api(make, rig, ns):
    """Upstream's folder is that of the Go module of the same version, as the rig has it: nothing is fetched."""
    text = (DEPLOY / "with-crds/kustomization.yaml").read_text()
    version = re.search(r"^\tsigs.k8s.io/gateway-api/conformance (\S+)$", (ROOT / "tests/conformance/kube/go.mod").read_text(), re.M)[1]
    expect(UPSTREAM + version in text and UPSTREAM + version in (ROOT / "docs/install.md").read_text(), f"{version} is what is installed")
    with tempfile.TemporaryDirectory(dir=DEPLOY) as folder:
        here = os.path.relpath(rig.programs.crds, folder)
        pathlib.Path(folder, "kustomization.yaml").write_text(text.replace(UPSTREAM + version, here))
        out = rig.kubectl("kustomize", folder).stdout
    given = objects_of(out)
    crds = {name for kind, _, name in given if kind == "CustomResourceDefinition"}
    expect({f"{k}.{GATEWAY}" for k in [*GATEWAY_KINDS, "referencegrants"]} <= crds, f"every kind that is read: {sorted(crds)}")
    expect(set(base()) <= set(given), "and all of the base")
    rig.kubectl("apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-", input=out)


@kube_test
def test_api_server_accepts_the_control_plane_component(make, rig, ns):
    with tempfile.TemporaryDirectory(dir=DEPLOY) as folder:
        pathlib.Path(folder, "kustomization.yaml").write_text("resources: [../base]\ncomponents: [../components/control-plane]\n")
        out = rig.kubectl("kustomize", folder).stdout
    dry_run(rig, "-f", "-", input=out)
    pod = objects_of(out)[("DaemonSet", "weir-system", "weir")]["spec"]["template"]["spec"]
    expect_eq([t["key"] for t in pod["tolerations"]], ["node-role.kubernetes.io/control-plane"], "tolerations")


@plain
def test_other_pods_make_room(make):
    objects = base()
    pod = objects[("DaemonSet", "weir-system", "weir")]["spec"]["template"]["spec"]
    expect_eq(objects[("PriorityClass", None, pod["priorityClassName"])]["value"], 10**9, "priority")


@kube_test
def test_api_server_refuses_a_broken_daemonset(make, rig, ns):
    """So that the tests above can fail."""
    text = (DEPLOY / "base/daemonset.yaml").read_text().replace("maxUnavailable: 1", "maxUnavailable: -1")
    expect(dry_run(rig, "-f", "-", input=text, check=False).returncode != 0, "refused")


def may(rig, verb, resource, *more):
    """What the API server's authorizer says."""
    done = rig.kubectl("auth", "can-i", verb, resource, "--as", USER, *more, check=False)
    answer = done.stdout.strip()
    expect(answer in ("yes", "no"), f"can-i {verb} {resource}: {done.stdout}{done.stderr}")
    return answer == "yes"


READ = ["ingresses.networking.k8s.io", "ingressclasses.networking.k8s.io", "services", "namespaces", "nodes",
        "endpointslices.discovery.k8s.io"]
GATEWAY_KINDS = ["gatewayclasses", "gateways", "listenersets", "httproutes", "grpcroutes", "tlsroutes", "tcproutes",
                 "udproutes", "backendtlspolicies"]
KINDS = READ + [f"{k}.{GATEWAY}" for k in [*GATEWAY_KINDS, "referencegrants"]]
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
CRD = f"{CRDS}/gatewayclasses.{GATEWAY}"
LEASE = "leases.coordination.k8s.io"
RESOURCES = ["ingresses.networking.k8s.io", *(f"{k}.{GATEWAY}" for k in GATEWAY_KINDS)]  # with a status of ours


@kube_test
def test_weir_ctrl_may_do_what_it_must(make, rig, ns):
    rig.kubectl("apply", "--server-side", "--force-conflicts", "-f", DEPLOY / "base/rbac.yaml")
    for verb in ("list", "watch"):
        for resource in KINDS:
            expect(may(rig, verb, resource, "-A"), f"{verb} {resource}")
        expect(may(rig, verb, CRD), f"{verb} the one CRD")
    for resource in RESOURCES:
        expect(may(rig, "patch", resource, "--subresource=status", "-A"), f"patch the status of {resource}")
    for verb in ("create", "patch"):
        expect(may(rig, verb, "events", "-n", ns), f"{verb} an Event")
    for verb in ("get", "create", "update"):
        expect(may(rig, verb, LEASE, "-n", "weir-system"), f"{verb} a Lease")


@contextlib.contextmanager
def base_alone(rig):
    """The rig's Weir has the component, too."""
    component = DEPLOY / "components/certificates/rbac.yaml"
    rig.kubectl("apply", "--server-side", "--force-conflicts", "-f", DEPLOY / "base/rbac.yaml")
    rig.kubectl("delete", "--ignore-not-found", "-f", component)
    try:
        wait_until("it is taken away", lambda: not may(rig, "watch", "secrets", "-A"))
        yield component
    finally:
        rig.kubectl("apply", "--server-side", "--force-conflicts", "-f", component)


@kube_test
def test_weir_ctrl_may_do_nothing_else(make, rig, ns):
    with base_alone(rig):
        check_nothing_else(rig, ns)


def check_nothing_else(rig, ns):
    for verb in ("get", "list", "watch"):
        for resource in ("secrets", "configmaps", "pods"):
            for where in ("-A", "-n=weir-system", f"-n={ns}"):
                expect(not may(rig, verb, resource, where), f"{verb} {resource} {where}")
        expect(not may(rig, verb, CRDS), f"{verb} all CRDs")
    for verb in ("create", "update", "patch", "delete"):
        for resource in ("secrets", "services", f"gateways.{GATEWAY}", f"httproutes.{GATEWAY}", "ingresses.networking.k8s.io",
                         CRD, "clusterroles.rbac.authorization.k8s.io"):
            expect(not may(rig, verb, resource, "-A"), f"{verb} {resource}")
    for verb in ("get", "create", "update"):
        expect(not may(rig, verb, LEASE, "-n", ns), f"{verb} a Lease elsewhere")
    expect(not may(rig, "create", "pods", "--subresource=exec", "-A"), "exec")
    expect(not may(rig, "*", "*", "-A"), "all")


@plain
def test_roles_have_what_the_program_asks_for_and_no_more(make):
    """By its source: what a reflector lists and watches, whose status is patched, the Lease, Events."""
    table = re.search(r"#define KUBE_KINDS\(X\)(.*?)\n\n", (ROOT / "ctrl/kube/store.h").read_text(), re.S).group(1)
    groups = {name: group for name, group in re.findall(r'X\((\w+), "([^"]*)"', table)}
    plurals = dict(re.findall(r'\[KUBE_(\w+)\] = {\.plural = "(\w+)"', (ROOT / "ctrl/kube/kinds.c").read_text()))
    expect_eq(sorted(plurals), sorted(groups), "kinds")
    wanted = {(groups[k], plural, verb) for k, plural in plurals.items() for verb in ("list", "watch")}
    wanted |= {(r.partition(".")[2], r.partition(".")[0] + "/status", "patch") for r in RESOURCES}
    wanted |= {("", "events", verb) for verb in ("create", "patch")}
    wanted |= {("coordination.k8s.io", "leases", verb) for verb in ("get", "create", "update")}
    wanted |= {("", "secrets", verb) for verb in ("get", "patch")}  # of ticket keys
    more = [o for name in ("certificates", "ticket-keys")
            for o in objects_of((DEPLOY / f"components/{name}/rbac.yaml").read_text()).items()]
    given = {(group, resource, verb) for (kind, _, _), o in [*base().items(), *more] if kind in ("ClusterRole", "Role")
             for rule in o["rules"] for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]}
    expect_eq(given - wanted, set(), "rights that it does not use")
    expect_eq(wanted - given, set(), "rights that it lacks")


# ---- the programs themselves

@plain
def test_configuration_is_accepted_by_the_dataplane(make):
    text = base()[("ConfigMap", "weir-system", "weir")]["data"]["weir.yaml"]
    program = build_of(make) / "dataplane/weir-dataplane"
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "weir.yaml")
        path.write_text(text)
        done = run(program, "--check", "-c", path)
        expect_eq((done.returncode, done.stderr), (0, ""), "weir-dataplane --check")
        path.write_text(text + "nonsense: 1\n")
        expect_eq(run(program, "--check", "-c", path).returncode, 2, "of an unknown key")


@plain
def test_user_and_socket_are_the_same_everywhere(make):
    config = yaml.safe_load(base()[("ConfigMap", "weir-system", "weir")]["data"]["weir.yaml"])
    ctrl = base_containers()["weir-ctrl"]
    uid = config["control"]["user"]
    expect_eq(ctrl["securityContext"]["runAsUser"], uid, "who weir-ctrl runs as")
    expect(f"--socket={config['control']['socket']}" in ctrl["command"], "its socket")
    expect(f"useradd --uid {uid} " in (DEPLOY / "Dockerfile").read_text(), "the image's user")


@plain
def test_classes_name_the_controller_of_the_translation(make):
    name = re.search(r'TRANSLATE_CONTROLLER "(.*)"', (ROOT / "ctrl/translate/translate.h").read_text()).group(1)
    expect_eq(base()[("GatewayClass", None, "weir")]["spec"]["controllerName"], name, "GatewayClass")
    expect_eq(base()[("IngressClass", None, "weir")]["spec"]["controller"], name, "IngressClass")


@plain
def test_options_are_those_of_weir_ctrl(make):
    known = set(re.findall(r"--[a-z-]+", run(build_of(make) / "ctrl/weir-ctrl", "--help").stdout))
    expect("--socket" in known, "its help")
    unit = (DEPLOY / "systemd/weir-ctrl.service").read_text()
    used = {a.split("=")[0] for a in base_containers()["weir-ctrl"]["command"] if a.startswith("--")}
    used |= set(re.findall(r"--[a-z-]+", "".join(line for line in unit.splitlines() if re.match("ExecStart|Environment=", line))))
    kubernetes = {"--in-cluster", "--kubeconfig"}
    expect(kubernetes <= used, f"follow Kubernetes: {used}")
    expect_eq(used - kubernetes - known, set(), "unknown options")
    if not kubernetes <= known:
        raise Skipped("this weir-ctrl cannot follow Kubernetes")


@plain
def test_probes_tell_a_living_weir_ctrl_from_a_ready_one(make):
    c = base_containers()["weir-ctrl"]
    with socket.create_server(("127.0.0.1", 0)) as s:
        admin = f"127.0.0.1:{s.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        p = subprocess.Popen([build_of(make) / "ctrl/weir-ctrl", "--manifests", folder, "--socket", f"{folder}/none",
                              "--admin", admin], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            def status(probe):
                return run("curl", "-s", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}", f"http://{admin}{c[probe]['httpGet']['path']}").stdout
            wait_until("it answers", lambda: status("livenessProbe") != "000")
            expect_eq(status("livenessProbe"), "200", "alive, though there is no dataplane")
            expect_eq(status("readinessProbe"), "503", "not ready")
        finally:
            end_process(p)


# ---- systemd

def verify(folder, name, text):
    path = pathlib.Path(folder, name)
    path.write_text(text)
    done = run("systemd-analyze", "verify", "--man=no", path)
    return done.returncode, done.stdout + done.stderr


@plain
def test_systemd_finds_nothing_wrong_with_the_units(make):
    if not shutil.which("systemd-analyze"):
        raise Skipped("there is no systemd-analyze")
    programs = {"weir-dataplane": build_of(make) / "dataplane/weir-dataplane", "weir-ctrl": build_of(make) / "ctrl/weir-ctrl"}
    with tempfile.TemporaryDirectory() as folder:
        texts = {}
        for name in programs:  # both are there before one is looked at: one wants the other
            text = (DEPLOY / f"systemd/{name}.service").read_text()
            expect(f"ExecStart=/usr/bin/{name} " in text, "the program")
            texts[name] = text.replace(f"/usr/bin/{name}", str(programs[name]))
            pathlib.Path(folder, f"{name}.service").write_text(texts[name])
            template = run("sed", "-f", DEPLOY / "systemd/template.sed", pathlib.Path(folder, f"{name}.service")).stdout
            texts[f"{name}@green"] = template
            pathlib.Path(folder, f"{name}@.service").write_text(template)
        for name, text in texts.items():
            expect_eq(verify(folder, f"{name}.service", text), (0, ""), name)
        _, said = verify(folder, "weir-ctrl.service", texts["weir-ctrl"].replace("PrivateTmp=", "PrivateTemp="))
        expect("PrivateTemp" in said, "an unknown key is noticed")


@plain
def test_instances_share_nothing_but_the_folder_of_sockets(make):
    """What two of the template have by the same name they would take from one another."""
    both = {}
    for name in ("weir-dataplane", "weir-ctrl"):
        text = run("sed", "-f", DEPLOY / "systemd/template.sed", DEPLOY / f"systemd/{name}.service").stdout
        both[name] = [line for line in text.splitlines() if not line.startswith("#")]
        said = "\n".join(both[name])
        for path in re.findall(r"(?<![\w.])/(?:etc|run|var)/[^\s\"]+", said) + re.findall(r"(?:Runtime|State)Directory=(\S+)", said):
            expect("%i" in path or path in ("/run/weir", "/etc/weir/kubeconfig"), f"{name}@.service: {path}")
    dataplane, ctrl = both["weir-dataplane"], both["weir-ctrl"]
    expect("ExecStart=/usr/bin/weir-dataplane -c /etc/weir/%i.yaml" in dataplane and "ConditionPathExists=/etc/weir/%i.yaml" in dataplane, "its configuration")
    expect(any("--socket /run/weir/%i.sock " in line for line in ctrl), "its socket")
    expect(any(line.startswith("Wants=weir-dataplane@%i.service ") for line in ctrl), "the dataplane of the same instance")


# ---- the image

@plain
def test_image_is_built_from_files_that_suffice(make):
    """There is no container engine here: what is copied is configured, as the image would."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    copies = re.findall(r"^COPY (?!--from)(.*) (/src\S*)$", text, re.M)
    expect(len(copies) >= 4, f"{copies}")
    setup = re.search(r"meson setup /build /src (.*?) &&", text).group(1).split()
    with tempfile.TemporaryDirectory() as folder:
        for sources, target in copies:
            to = pathlib.Path(folder + target)
            for source in sources.split():
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, to)
                else:
                    to.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / source, to)
        done = run("meson", "setup", f"{folder}/build", f"{folder}/src", *setup)
        expect(done.returncode == 0, done.stdout[-2000:] + done.stderr)
        targets = run("ninja", "-C", f"{folder}/build", "-t", "targets", "all").stdout
        for program in re.search(r"ninja -C /build (.*?) &&", text).group(1).split():
            expect(f"\n{program}: " in targets, f"target {program}")


@plain
def test_image_names_packages_that_exist(make):
    """In this machine's Debian; names without a version of a library are the same in others."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    names = {n for found in re.findall(r"--no-install-recommends (.*?)(?:&&|\n)", text) for n in found.split()}
    names = {n for n in names if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", n) and n != "cat"}
    expect(len(names) > 10 and "libdpdk-dev" in names and "librte-meta-net" in names, f"{names}")
    there = set(run("apt-cache", "pkgnames").stdout.split()) if shutil.which("apt-cache") else set()
    if "libdpdk-dev" not in there:
        raise Skipped("no lists of packages")
    expect_eq(names - there, set(), "names of no package")


@kube_test
def test_weir_ctrl_may_read_certificates_only_where_that_is_wanted(make, rig, ns):
    """All by the component; or single ones, which its requests by metadata.name are good for."""
    with base_alone(rig) as component:
        rig.apply(f"""apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: weir-cert, namespace: {ns}}}
rules: [{{apiGroups: [""], resources: [secrets], resourceNames: [cert], verbs: [list, watch]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: weir-cert, namespace: {ns}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: weir-cert}}
subjects: [{{kind: ServiceAccount, name: weir-ctrl, namespace: weir-system}}]
""")
        for verb in ("list", "watch"):
            wait_until(f"{verb} that Secret", lambda v=verb: may(rig, v, "secret/cert", f"-n={ns}"))
            expect(not may(rig, verb, "secret/other", f"-n={ns}"), f"{verb} another one")
            expect(not may(rig, verb, "secrets", f"-n={ns}"), f"{verb} all")
        path = f"/api/v1/namespaces/{ns}/secrets?fieldSelector=metadata.name%3D"
        expect_eq(rig.kubectl("get", "--as", USER, "--raw", path + "cert", check=False).returncode, 0, "what it asks is allowed")
        expect(rig.kubectl("get", "--as", USER, "--raw", path + "other", check=False).returncode != 0, "the same for another one")
        rig.kubectl("apply", "--server-side", "-f", component)
        for resource in ("secrets", "configmaps"):
            wait_until(f"watch {resource}", lambda r=resource: may(rig, "watch", r, "-A"))
            expect(not may(rig, "get", resource, "-A") and not may(rig, "update", resource, "-A"), f"no more of {resource}")
