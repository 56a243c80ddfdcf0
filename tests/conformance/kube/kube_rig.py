# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes in network namespaces of its own: etcd, kube-apiserver, kube-controller-manager, and weir-kubelet
for nodes and Pods. scripts/kube-rig is its command; tests use KubeRig.

    namespace weir-kube-ID                            namespace weir-kube-ID-w
      etcd, API server (127.0.0.1:6443), manager,       weir-dataplane
      weir-kubelet, weir-ctrl, tests                      |
      10.90.0.1, fd90::1  weir0 ----------------------- port0  10.90.0.2, fd90::2, and the Gateways' addresses
      10.91.0.1, fd91::1  pods (bridge) --- each Pod: eth0 in a namespace of its own

Tests reach Gateways on weir0. The dataplane reaches Pods by the gateway 10.90.0.1, as over a node's own interface.
Nothing of it is connected to the host, so several rigs, with an id each, have the same addresses.
"""
import atexit
import base64
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import kube_certs
from kube_procs import Processes
from kube_programs import Missing, Programs

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "smoke"))
from procs import NoAnswer  # noqa: E402

DEPLOY = HERE.parents[2] / "scripts" / "deploy"
TEST4, WEIR4, TEST6, WEIR6 = "10.90.0.1", "10.90.0.2", "fd90::1", "fd90::2"
PODS4, PODS6 = "10.91.0.1", "fd91::1"
API = "https://127.0.0.1:6443"
API_FOR_PODS = f"https://{PODS4}:6443"
CONTROLLERS = ("deployment-controller", "replicaset-controller", "statefulset-controller", "daemonset-controller",
               "endpointslice-controller", "garbage-collector-controller", "namespace-controller")
NOBODY = 65534  # whom weir-ctrl runs as
TOOLS = ("ip", "ethtool", "openssl")
__all__ = ["KubeRig", "Missing", "RigError", "shared"]


class RigError(Exception):
    """A piece of the rig failed; the text says which, with the end of its log."""


class CommandError(RigError, NoAnswer):
    """A command in the rig failed, such as a kubectl whose API server has no time."""


def shared():
    """A rig for all tests of this process, which ends with it. Tests use namespaces of Kubernetes of their own.
    Raises Missing each time, once it has."""
    if not _shared:
        try:
            rig = KubeRig(f"t{os.getpid()}", say=lambda text: print(f"      kube-rig: {text}", flush=True))
            rig.up()
            atexit.register(rig.down)
            _shared.append(rig)
        except Missing as e:
            _shared.append(e)
    if isinstance(_shared[0], Missing):
        raise _shared[0]
    return _shared[0]


_shared = []


def ip(*args, check=True):
    done = subprocess.run(["ip", *args], capture_output=True, text=True, timeout=30)
    if check and done.returncode != 0:
        raise RigError(f"ip {' '.join(args)}: {done.stderr.strip()}")
    return done


class KubeRig:
    """id: for its names. say: called with lines of progress."""

    def __init__(self, id="0", say=print):
        self.id, self.say = id, say
        self.ns = f"weir-kube-{id}"
        self.ns_weir = self.ns + "-w"
        self.dir = pathlib.Path(os.environ.get("WEIR_KUBE_RIG_DIR", "/run/weir-kube-rig")) / id
        self.procs = Processes(self.dir)
        self.programs = None
        self.admin = self.dir / "admin.kubeconfig"
        self.weir = self.dir / "weir.kubeconfig"
        self.weir_cert = self.dir / "weir-cert.kubeconfig"

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, kind, value, tb):
        self.down()

    # -- up

    def is_up(self):
        return (self.dir / "ready").exists() and all(self.procs.pid(n) for n in ("etcd", "apiserver", "manager", "kubelet"))

    def up(self):
        """Starts all of it, unless it runs. Raises Missing where it cannot be built, RigError where a piece failed;
        then nothing is left but the logs, in the folder of its own."""
        if os.geteuid() != 0:
            raise RigError("must run as root: it makes network namespaces")
        missing = [t for t in TOOLS if not shutil.which(t)]
        if missing:
            raise RigError(f"not installed: {', '.join(missing)}")
        self.programs = Programs(self.say)
        with self._lock():
            if not self.is_up():
                self._up()

    @contextlib.contextmanager
    def _lock(self):
        """One at a time starts or ends the rig of an id. The lock's file goes with it: who waited for one that is gone
        by then takes the next."""
        path = self.dir.parent / f".{self.id}.lock"
        while True:
            self.dir.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock = open(path, "w")
            except FileNotFoundError:
                continue  # the folder has just been removed
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    break
            except FileNotFoundError:
                pass
            lock.close()
        try:
            yield
        finally:
            path.unlink()
            lock.close()

    def _up(self):
        self._down()
        self.dir.mkdir(parents=True)
        try:
            self._step("network", self._make_network)
            self._step("certificates", self._make_certificates)
            self._step("etcd", self.start_etcd)
            self._step("apiserver", self.start_apiserver)
            self._step("manager", self.start_manager)
            self._step("kubelet", self.start_kubelet)
            self._step("CRDs of the Gateway API", self._apply_crds)
            self._step("user of Weir", self._make_weir_user)
        except BaseException:
            self._stop_all()
            raise
        (self.dir / "ready").touch()

    def _step(self, name, fn):
        began = time.monotonic()
        try:
            fn()
        except (OSError, subprocess.SubprocessError) as e:
            raise RigError(f"{name}: {e}") from e
        self.say(f"{name} ({time.monotonic() - began:.1f} s)")

    def _make_network(self):
        for ns in (self.ns, self.ns_weir):
            ip("netns", "add", ns)
            ip("-n", ns, "link", "set", "lo", "up")
        ip("link", "add", "weir0", "netns", self.ns, "type", "veth", "peer", "name", "port0", "netns", self.ns_weir)
        for ns, dev in ((self.ns, "weir0"), (self.ns_weir, "port0")):
            # A DPDK port over af_packet gets frames as they are: checksummed, and no longer than the MTU.
            subprocess.run(["ip", "netns", "exec", ns, "ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off",
                            "gro", "off"], check=True, capture_output=True, timeout=30)
            ip("-n", ns, "link", "set", dev, "up")
        ip("-n", self.ns, "link", "add", "pods", "type", "bridge")
        for dev, ip4, ip6 in (("weir0", TEST4 + "/24", TEST6 + "/64"), ("pods", PODS4 + "/16", PODS6 + "/64")):
            ip("-n", self.ns, "addr", "add", ip4, "dev", dev)
            ip("-n", self.ns, "-6", "addr", "add", ip6, "dev", dev, "nodad")
            ip("-n", self.ns, "link", "set", dev, "up")
        for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.run(["sh", "-c", f"echo 1 >/proc/sys/net/{key}"])

    def _make_certificates(self):
        names = ["DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc"]
        names += [f"IP:{a}" for a in ("127.0.0.1", "::1", "10.96.0.1", PODS4, PODS6, TEST4)]
        certs = self.dir / "pki"
        kube_certs.make_all(certs, names, {"admin": "/O=system:masters/CN=admin", "weir": "/CN=weir"})
        kube_certs.write_kubeconfig(self.admin, API, certs, "admin")
        kube_certs.write_kubeconfig(self.weir_cert, API, certs, "weir", owner=NOBODY)

    def start_etcd(self):
        self._spawn("etcd", [self.programs.path("etcd"), "--name=rig", f"--data-dir={self.dir}/etcd", "--unsafe-no-fsync",
                             "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
                             "--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
                             "--initial-cluster=rig=http://127.0.0.1:2380", "--log-level=warn"])
        self.wait_for("etcd", 180, lambda: self._answers("http://127.0.0.1:2379/health"))

    def start_apiserver(self):
        """Again if it ends, as a kubelet would: one that has not looked through all addresses after a minute gives up."""
        for is_last in (False, False, True):
            self._spawn_apiserver()
            try:
                self.wait_for("apiserver", 400, lambda: self.kubectl("get", "--raw=/readyz", check=False).returncode == 0)
                return
            except RigError:
                if is_last or self.procs.pid("apiserver") is not None:
                    raise

    def _spawn_apiserver(self):
        pki = self.dir / "pki"
        self._spawn("apiserver", [
            self.programs.path("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379", "--secure-port=6443",
            f"--advertise-address={PODS4}", f"--tls-cert-file={pki}/server.crt", f"--tls-private-key-file={pki}/server.key",
            f"--client-ca-file={pki}/ca.crt", "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount",
            f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-cluster-ip-range=10.96.0.0/16,fd96::/112", "--kubelet-preferred-address-types=InternalIP",
            "--allow-privileged", "--profiling=false"])

    def start_manager(self):
        self._spawn("manager", [
            self.programs.path("kube-controller-manager"), f"--kubeconfig={self.admin}", f"--controllers={','.join(CONTROLLERS)}",
            "--leader-elect=false", f"--service-account-private-key-file={self.dir}/pki/sa.key", "--bind-address=127.0.0.1",
            "--secure-port=10257", "--profiling=false"])
        self.wait_for("manager", 300, lambda: self._answers("https://127.0.0.1:10257/healthz"))

    def _answers(self, url):
        return self.run(["curl", "-skf", "-m", "20", url], check=False).returncode == 0

    def start_kubelet(self):
        folder = self.dir / "pods"
        folder.mkdir(exist_ok=True)
        before = self._n_ready_kubelets()
        self._spawn("kubelet", [self.programs.kubelet, f"--kubeconfig={self.admin}", f"--dir={folder}",
                                f"--programs={self.programs.folder}", "--bridge=pods", f"--pods-ipv4={PODS4}/16",
                                f"--pods-ipv6={PODS6}/64", f"--listen={PODS4}:10250"])
        self.wait_for("kubelet", 180, lambda: self._n_ready_kubelets() > before)

    def _n_ready_kubelets(self):
        """Starts of it that its log tells of: those before are in the same file."""
        return sum(line.endswith(" ready") for line in self.procs.tail("kubelet", 100000).splitlines())

    def _apply_crds(self):
        self.kubectl("apply", "--server-side", "-k", self.programs.crds, timeout=400)
        self.kubectl("wait", "--for=condition=Established", "--timeout=180s", "crd", "--all", timeout=240)

    def _make_weir_user(self):
        """weir.kubeconfig is a token of a service account, weir-cert.kubeconfig a user; scripts/deploy says what they may,
        or all, until it does."""
        self.apply("""apiVersion: v1
kind: Namespace
metadata: {name: weir-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: weir-ctrl, namespace: weir-system}
""")
        role = DEPLOY / "base" / "rbac.yaml"
        if role.exists():
            self.kubectl("apply", "--server-side", "-f", role, "-f", DEPLOY / "components/certificates/rbac.yaml")
        self.apply(f"""apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: weir-rig}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {'weir-ctrl' if role.exists() else 'cluster-admin'}}}
subjects:
- {{kind: ServiceAccount, name: weir-ctrl, namespace: weir-system}}
- {{apiGroup: rbac.authorization.k8s.io, kind: User, name: weir}}
""")
        token = self.kubectl("create", "token", "weir-ctrl", "-n", "weir-system", "--duration=48h").stdout.strip()
        kube_certs.write_kubeconfig(self.weir, API, self.dir / "pki", "weir-ctrl", token=token, owner=NOBODY)

    # -- down

    def down(self):
        """Ends every program and removes namespaces and files. Nothing is said where nothing is."""
        with self._lock():
            self._down()
        try:
            self.dir.parent.rmdir()
        except OSError:
            pass  # another rig's folder is there

    def _down(self):
        self._stop_all()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _stop_all(self):
        (self.dir / "ready").unlink(missing_ok=True)
        first = [n for n in self.procs.names() if n not in ("kubelet", "manager", "apiserver", "etcd")]
        for name in [*first, "kubelet", "manager", "apiserver", "etcd"]:
            self.procs.end(name)
        for ns in (self.ns, self.ns_weir):
            self._end_guests(ns)
            ip("netns", "del", ns, check=False)

    def _end_guests(self, ns):
        """What somebody else left running in our namespace, such as a kubectl that watches."""
        pids = [int(p) for p in ip("netns", "pids", ns, check=False).stdout.split()]
        for sig in (15, 9):
            for pid in pids:
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
            end = time.monotonic() + 5
            while pids and time.monotonic() < end:
                pids = [int(p) for p in ip("netns", "pids", ns, check=False).stdout.split()]
                time.sleep(0.05)

    # -- use

    def copy_logs(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for log in self.dir.glob("*.log"):
            shutil.copyfile(log, folder / log.name)

    def run(self, argv, check=True, timeout=300, **kw):
        """Runs a command where the tests are: the API server is at 127.0.0.1, Gateways and Pods can be reached."""
        done = subprocess.run(["ip", "netns", "exec", self.ns, *map(str, argv)], capture_output=True, text=True,
                              timeout=timeout, **kw)
        if check and done.returncode != 0:
            raise CommandError(f"{' '.join(map(str, argv))} ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-500:]}")
        return done

    def _find_programs(self):
        if self.programs is None:
            self.programs = Programs(self.say)
        return self.programs

    def kubectl_argv(self, *args):
        return [self._find_programs().path("kubectl"), "--kubeconfig", self.admin, "--cache-dir", self.dir / "kubectl-cache", *args]

    def kubectl(self, *args, check=True, timeout=300, **kw):
        return self.run(self.kubectl_argv(*args), check=check, timeout=timeout, **kw)

    def apply(self, text):
        """Server-side, so that a large object needs no annotation."""
        return self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)

    def get(self, kind, name=None, namespace=None, *more):
        """An object, or the items of a list."""
        args = [kind, *([name] if name else []), *(["-n", namespace] if namespace else []), *more]
        out = json.loads(self.kubectl("get", *args, "-o", "json").stdout)
        return out if name else out["items"]

    def endpoints(self, service, namespace="default"):
        """[(address, port, conditions)] of a Service's EndpointSlices, as the API server has them."""
        out = []
        for s in self.get("endpointslices", None, namespace, "-l", f"kubernetes.io/service-name={service}"):
            for e in s.get("endpoints") or []:
                for p in s.get("ports") or [{}]:
                    out.append((e["addresses"][0], p.get("port"), e.get("conditions", {})))
        return out

    def etcd(self, call, body):
        """A call of etcd's JSON gateway, such as ('kv/compaction', {'revision': 1000})."""
        return json.loads(self.run(["curl", "-sf", "-m", "30", "-d", json.dumps(body), f"http://127.0.0.1:2379/v3/{call}"]).stdout)

    def compact(self):
        """Lets etcd forget all history. An API server that starts afterwards answers 410 to watches from before."""
        revision = self.etcd("kv/range", {"key": base64.b64encode(b"x").decode()})["header"]["revision"]
        self.etcd("kv/compaction", {"revision": revision, "physical": True})

    def _spawn(self, name, argv):
        self.procs.start(name, ["ip", "netns", "exec", self.ns, *argv])

    def wait_for(self, name, seconds, is_ready):
        """Waits until a program of ours is ready; raises RigError with the end of its log."""
        end = time.monotonic() + seconds
        while not is_ready():
            log = f"the end of {self.procs.log(name)}:\n{self.procs.tail(name)}"
            if self.procs.pid(name) is None:
                raise RigError(f"{name} ended; {log}")
            if time.monotonic() > end:
                raise RigError(f"{name} was not ready within {seconds} s; {log}")
            time.sleep(0.1)
