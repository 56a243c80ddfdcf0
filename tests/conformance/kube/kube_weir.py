# SPDX-License-Identifier: Apache-2.0
"""Weir on a KubeRig: weir-dataplane on port0, weir-ctrl beside the API server."""
import ipaddress
import json
import os
import pathlib
import subprocess

from kube_rig import TEST4, TEST6, WEIR4, WEIR6, RigError
from procs import sanitizer_env, sanitizer_reports  # kube_rig says where

# Addresses on the dataplane's port for Gateways to have, each one of its own.
POOL = [str(ipaddress.ip_address("10.90.0.16") + i) for i in range(40)]
OUTSIDE = "192.0.2.1"  # an address that Weir does not have
ADMIN = "127.0.0.1:9901"


class Weir:
    """workers: number of worker threads. extra: lines added to weir.yaml. ctrl_args: added to weir-ctrl's.
    manifests: {file name: text} that weir-ctrl follows instead of the API server."""

    def __init__(self, rig, build, workers=1, extra="", ctrl_args=(), manifests=None):
        self.rig, self.build = rig, pathlib.Path(build).resolve()
        self.workers, self.extra, self.ctrl_args, self.manifests = workers, extra, ctrl_args, manifests
        self.dir = rig.dir

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, tb):
        problems = self.stop()
        if problems and kind is None:
            raise RigError("; ".join(problems))

    def start(self):
        """Ends a Weir that runs on the rig already."""
        self.stop()
        self.start_dataplane()
        self.start_ctrl()

    def stop(self):
        """Ends both. What was wrong with how they ended, as texts."""
        problems = []
        for name in ("ctrl", "dataplane"):
            if name in self.rig.procs.names():
                status = self.rig.procs.end(name, 90)
                if status != 0:
                    problems.append(f"{name} ended with {status}")
        return problems + sanitizer_reports(self.dir)

    def yaml(self):
        cores = os.cpu_count()
        return f"""ports:
  - vdev: "net_af_packet0,iface=port0,qpairs={self.workers}"
    promiscuous: true
    addresses: [{WEIR4}/24, "{WEIR6}/64", {', '.join(a + '/24' for a in POOL)}]
    gateways: [{TEST4}, "{TEST6}"]
workers: {{cores: [{', '.join(str(i % cores) for i in range(self.workers))}], idle: sleep}}
memory: {{hugepages: false, arena_mb: 32}}
pools: {{mbufs: 16384, connections: 8192, requests: 1024}}
control: {{socket: {self.dir}/dataplane.sock, user: nobody}}
timeouts: {{drain_ms: 3000}}
{self.extra}
"""

    def start_dataplane(self):
        (self.dir / "weir.yaml").write_text(self.yaml())
        (self.dir / "dataplane.sock").unlink(missing_ok=True)
        self._spawn("dataplane", self.rig.ns_weir, [self.build / "dataplane/weir-dataplane", "-c", self.dir / "weir.yaml"])
        self.rig.wait_for("dataplane", 120, (self.dir / "dataplane.sock").exists)

    def pool(self):
        return f"{POOL[0]}-{POOL[-1]}"

    def follows_kubernetes(self):
        """Whether this weir-ctrl can follow an API server at all."""
        usage = subprocess.run([self.build / "ctrl/weir-ctrl", "--help"], capture_output=True, text=True, timeout=30)
        return "--kubeconfig" in usage.stdout + usage.stderr

    def start_ctrl(self, *args):
        if self.manifests is None and self.follows_kubernetes():
            source = ["--kubeconfig", self.rig.weir, "--ingress-without-class", "--address-pool", self.pool()]
        else:
            folder = self.dir / "manifests"
            folder.mkdir(exist_ok=True)
            for name, text in (self.manifests or {}).items():
                (folder / name).write_text(text)
            source = ["--manifests", folder]
        self._spawn("ctrl", self.rig.ns, [self.build / "ctrl/weir-ctrl", *source, "--socket", self.dir / "dataplane.sock",
                                          "--admin", ADMIN, "--user", "nobody", *self.ctrl_args, *args])
        self.rig.wait_for("ctrl", 120, lambda: self.rig.run(["curl", "-s", "-m", "20", "-o", "/dev/null", f"http://{ADMIN}/healthz"],
                                                           check=False).returncode == 0)

    def _spawn(self, name, ns, argv):
        self.rig.procs.start(name, ["ip", "netns", "exec", ns, *argv], sanitizer_env())

    def is_healthy(self):
        return self.rig.run(["curl", "-sf", "-m", "20", f"http://{ADMIN}/healthz"], check=False).returncode == 0

    def weirctl(self, *args, check=True):
        return self.rig.run([self.build / "ctrl/weirctl", *args], check=check).stdout

    def weirctl_json(self, *args):
        return json.loads(self.weirctl(*args, "-o", "json"))
