# SPDX-License-Identifier: Apache-2.0
"""Helm, built once from the Go module that go.mod names into the cache of the Kubernetes of tests."""
import fcntl
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kube"))
from kube_programs import Missing, cache_dir, check_go, go_env, hash_of  # noqa: E402


def helm_path(say=print):
    """The program. Raises Missing where it can neither be found nor built."""
    folder = cache_dir() / f"helm-{hash_of([HERE / 'go.mod', HERE / 'go.sum'])}"
    path, new = folder / "helm", folder / ".helm.new"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            check_go()
            say("building helm")
            done = subprocess.run(["go", "build", "-p", "2", "-trimpath", "-ldflags", "-s -w", "-o", new, "helm.sh/helm/v3/cmd/helm"],
                                  cwd=HERE, env=go_env(), capture_output=True, text=True)
            if done.returncode != 0:
                raise Missing(f"helm cannot be built: {done.stderr.strip()[-500:]}")
            os.rename(new, path)
    return path
