# SPDX-License-Identifier: Apache-2.0
"""Programs that outlive who started them: a file for each says its process, so that another run ends the right one."""
import json
import os
import pathlib
import signal
import subprocess
import time


def begin_of(pid):
    """When a process began, in ticks since boot; None if there is none, or only its exit status."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


class Processes:
    """The programs of a folder: NAME.pid and NAME.log."""

    def __init__(self, folder):
        self.folder = folder
        self.statuses = {}  # of those that this process started and that have ended: {pid: exit status}

    def log(self, name):
        return self.folder / f"{name}.log"

    def start(self, name, argv, env=None):
        """Its output goes to its log."""
        with open(self.log(name), "ab") as log:
            p = subprocess.Popen([str(a) for a in argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env,
                                 start_new_session=True)
        p.returncode = 0  # Popen is not to wait for it: _reap does
        self._file(name).write_text(json.dumps({"pid": p.pid, "begin": begin_of(p.pid)}))
        return p.pid

    def _file(self, name):
        return self.folder / f"{name}.pid"

    def names(self):
        return sorted(f.stem for f in self.folder.glob("*.pid"))

    def pid(self, name):
        """Of a program that runs, or None. One whose first thread has ended runs until its last one has."""
        try:
            known = json.loads(self._file(name).read_text())
        except (OSError, ValueError):
            return None
        if known["begin"] is not None and begin_of(known["pid"]) == known["begin"]:
            return known["pid"]
        return None if self._reap(known["pid"]) else known["pid"]

    def end(self, name, seconds=15, sig=signal.SIGTERM):
        """Ends a program and waits for that; SIGKILL if it stays longer.

        The exit status, if this process started it; "killed" if it stayed; None if it is not known."""
        try:
            started = json.loads(self._file(name).read_text())["pid"]
        except (OSError, ValueError):
            return None
        pid = self.pid(name)
        stayed = False
        if pid is not None:
            os.kill(pid, sig)
            stayed = not self._wait_end(name, seconds)
            if stayed:
                os.kill(pid, signal.SIGKILL)
                self._wait_end(name, 60)
        self._file(name).unlink(missing_ok=True)
        return "killed" if stayed else self.statuses.pop(started, None)

    def _wait_end(self, name, seconds):
        end = time.monotonic() + seconds
        while self.pid(name) is not None:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def tail(self, name, lines=15):
        try:
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _reap(self, pid):
        """Keeps the exit status. False: it is a process of ours that has not ended."""
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return True  # another run's
        if ended == pid:
            self.statuses[pid] = os.waitstatus_to_exitcode(status)
        return ended == pid
