# SPDX-License-Identifier: Apache-2.0
"""Helm, built once from the Go module that go.mod names into the cache of the Kubernetes of tests."""
import fcntl
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "kube"))
from kube_programs import cache_dir, check_go, check_modules, go, hash_of  # noqa: E402


def helm_path(say=print):
    """The program. Raises Missing where there is no Go for it, or its modules cannot be had: a failure of all else is one."""
    folder = cache_dir() / f"helm-{hash_of([HERE / 'go.mod', HERE / 'go.sum'])}"
    path, new = folder / "helm", folder / ".helm.new"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            check_go()
            say("building helm")
            done = go("build", "-p", "2", "-trimpath", "-ldflags", "-s -w", "-o", new, "helm.sh/helm/v3/cmd/helm", check=False,
                      folder=HERE)
            if done.returncode != 0:
                check_modules(HERE)
                raise RuntimeError(f"go build of helm ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
            os.rename(new, path)
    return path
