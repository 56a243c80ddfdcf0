# SPDX-License-Identifier: Apache-2.0
"""The programs of the Kubernetes of tests: etcd, kube-apiserver, kube-controller-manager, kubectl, echo-basic, the
conformance suite and weir-kubelet, built from the Go modules that go.mod names, and the CRDs of the Gateway API.

They are built once into a folder of the user's cache, named after versions and a hash of go.mod and go.sum, and
weir-kubelet after a hash of its sources. Where they are there already, no Go is needed.
"""
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
GO_MINIMUM = (1, 26)
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "echo-basic": "sigs.k8s.io/gateway-api/conformance/echo-basic",
}


class Missing(Exception):
    """What is needed to build is not on this machine: whoever wanted the rig counts as skipped."""


def version_of(module):
    """The version in go.mod, such as v1.36.3."""
    found = re.search(rf"^\s*{re.escape(module)} (?:=> \S+ )?(v\S+)", (HERE / "go.mod").read_text(), re.M)
    return found.group(1)


def cache_dir():
    base = os.environ.get("WEIR_KUBE_RIG_CACHE")
    if base:
        return pathlib.Path(base)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "weir" / "kube-rig"


def hash_of(paths):
    h = hashlib.sha256()
    for p in sorted(paths):
        h.update(p.name.encode() + b"\0" + p.read_bytes() + b"\0")
    return h.hexdigest()[:10]


def programs_dir():
    kubernetes, gateway = version_of("k8s.io/kubernetes"), version_of("sigs.k8s.io/gateway-api/conformance")
    return cache_dir() / f"kubernetes-{kubernetes}-gateway-api-{gateway}-{hash_of([HERE / 'go.mod', HERE / 'go.sum'])}"


def suite_name():
    return f"conformance-{hash_of(HERE.glob('*_test.go'))}.test"


def kubelet_name():
    return f"weir-kubelet-{hash_of((HERE / 'cmd/weir-kubelet').glob('*.go'))}"


def go_env():
    return dict(os.environ, CGO_ENABLED="0", GOFLAGS="-mod=readonly -buildvcs=false", GOWORK="off")


def go(*args, check=True, folder=HERE):
    return subprocess.run(["go", *map(str, args)], cwd=folder, env=go_env(), check=check, capture_output=True, text=True)


def check_go():
    """Raises Missing unless there is a Go that can build."""
    if not shutil.which("go"):
        raise Missing("there is no Go (go.mod needs 1.26)")
    version = go("env", "GOVERSION", check=False)
    found = re.match(r"go(\d+)\.(\d+)", version.stdout)
    if version.returncode != 0 or not found or tuple(map(int, found.groups())) < GO_MINIMUM:
        said = version.stdout.strip() or version.stderr.strip()
        raise Missing(f"Go 1.26 is needed, and there is: {said}")


def check_modules(folder=HERE):
    """Raises Missing unless all modules of the folder's go.mod can be had."""
    fetched = go("mod", "download", check=False, folder=folder)
    if fetched.returncode != 0:
        raise Missing(f"the Go modules cannot be fetched: {fetched.stderr.strip()[-500:]}")


def ld_flags():
    """What kube-apiserver says of its version (GET /version), as the official builds do it."""
    version = version_of("k8s.io/kubernetes")
    major, minor = re.match(r"v(\d+)\.(\d+)", version).groups()
    sets = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in sets.items())


class Builder:
    """Builds what is missing in the folder. `say` is called with one line for each step."""

    def __init__(self, folder, say):
        self.folder, self.say = folder, say
        self.is_checked = False

    def need_go(self):
        if not self.is_checked:
            check_go()
            check_modules()
            self.is_checked = True

    def build(self, name, *command):
        """command makes the file that its argument "OUT" names; it appears under its name when it is whole."""
        path = self.folder / name
        if path.exists():
            return
        self.need_go()
        self.say(f"building {name}")
        new = path.with_name(f".{name}.new")
        done = go(*(new if c == "OUT" else c for c in command), check=False)
        if done.returncode != 0:
            sys.stderr.write(done.stderr[-4000:])
            raise RuntimeError(f"go {command[0]} of {name} ended with {done.returncode}")
        new.rename(path)

    def copy_crds(self):
        crds = self.folder / "crd"
        if crds.exists():
            return
        self.need_go()
        module = go("list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").stdout.strip()
        new = self.folder / ".crd.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        for f in (pathlib.Path(module) / "config/crd/experimental").iterdir():
            shutil.copyfile(f, new / f.name)  # without the cache's read-only mode
        new.rename(crds)

    def run(self):
        for name, package in PACKAGES.items():
            self.build(name, "build", "-p", "2", "-trimpath", "-ldflags", ld_flags(), "-o", "OUT", package)
        self.build(suite_name(), "test", "-c", "-p", "2", "-trimpath", "-ldflags", "-s -w", "-o", "OUT", ".")
        self.build(kubelet_name(), "build", "-p", "2", "-trimpath", "-ldflags", "-s -w", "-o", "OUT", "./cmd/weir-kubelet")
        self.copy_crds()


class Programs:
    """Where the programs are; builds what is missing (about 8 minutes of two cores, once). Raises Missing."""

    def __init__(self, say=print):
        self.folder = programs_dir()
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one builds, the others wait and find it done
            Builder(self.folder, say).run()
        self.crds = self.folder / "crd"
        self.suite, self.kubelet = self.folder / suite_name(), self.folder / kubelet_name()

    def path(self, name):
        return self.folder / name
