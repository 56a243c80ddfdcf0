# SPDX-License-Identifier: Apache-2.0
"""Debian's headless Chromium in the rig's namespace, driven by its DevTools protocol over two pipes.

Each Browser has a home of its own, so no cache, no session and no trust of another one's: whom it trusts beside the public
authorities is in the NSS database of its home. It is a group of processes, which ends as a whole with the with-block.
"""
import contextlib
import fcntl
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time

from rig import WEIR4, Failure, Skipped, expect, wait_until

PROGRAM = "chromium"  # chromium-headless-shell is somewhat smaller, but cannot be told which versions of TLS to speak
PATIENCE = 60.0  # how long an answer of the browser may take; nothing is measured by it
FLAGS = ["--headless", "--no-sandbox",  # it runs as root
         "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-breakpad", "--no-first-run",
         "--remote-debugging-pipe", f"--host-resolver-rules=MAP *.example.com {WEIR4}, MAP * ~NOTFOUND"]  # it calls its makers, too


def trust(home, ca):
    """The database in which Chromium looks for authorities of the user's."""
    folder = home / ".pki" / "nssdb"
    folder.mkdir(parents=True)
    for args in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "root", "-i", ca]):
        subprocess.run(["certutil", "-d", f"sql:{folder}", *map(str, args)], check=True, capture_output=True, timeout=60)


def alive(group):
    """The processes of a group, without those that have ended and whose parent has not asked how."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
            found += [stat.parent.name] if int(of) == group and state != "Z" else []
    return found


class Browser:
    """One browser with one page. ca: the authority that it trusts, or None."""

    def __init__(self, rig, ca, *flags):
        for program in (PROGRAM, "certutil"):
            if not shutil.which(program):
                raise Skipped(f"no {program} on this machine")
        self.rig, self.ca, self.flags = rig, ca, flags
        self.n, self.pending, self.rest, self.session = 0, [], b"", None

    def __enter__(self):
        home = self.rig.dir / f"chromium-{os.urandom(4).hex()}"
        home.mkdir()
        if self.ca:
            trust(home, self.ca)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # The browser reads from 3 and writes to 4, so what is given to the shell must be neither.
        given = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
        with open(self.rig.dir / "chromium.log", "ab") as log:
            self.process = self.rig.spawn(["bash", "-c", f'exec "$@" 3<&{given[0]} 4>&{given[1]} {given[0]}<&- {given[1]}>&-', "bash", PROGRAM,
                                           *FLAGS, f"--user-data-dir={home}/data", *self.flags, "about:blank"],
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=given, start_new_session=True,
                                          env=dict(os.environ, HOME=str(home), TMPDIR=str(home), XDG_RUNTIME_DIR=str(home)))
        for fd in (theirs_in, theirs_out, *given):
            os.close(fd)
        self.into, self.out = ours_out, ours_in
        try:
            page = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            for domain in ("Network", "Page"):
                self.call(domain + ".enable")
            self.call("Network.setCacheDisabled", cacheDisabled=True)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind, value, tb):
        if kind is None:
            self.session = None
            with contextlib.suppress(Failure, OSError):  # it may have gone before it has answered
                self.call("Browser.close")
        self.end()

    def end(self):
        """Ends every process of the group, whatever the first one made of being asked."""
        os.close(self.into)
        os.close(self.out)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        wait_until("every process of the browser has ended", lambda: not alive(self.process.pid))

    # -- the protocol: JSON, each ended by a byte of 0

    def receive(self, end):
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.out], [], [], max(end - time.monotonic(), 0))
            data = os.read(self.out, 1 << 16) if ready else b""
            if not data:
                raise Failure("the browser has gone" if ready else "the browser says nothing")
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def call(self, method, **params):
        self.n += 1
        asked = {"id": self.n, "method": method, "params": params}
        asked.update({"sessionId": self.session} if self.session else {})
        data, end = json.dumps(asked).encode() + b"\0", time.monotonic() + PATIENCE
        while data:
            data = data[os.write(self.into, data):]
        while (got := self.receive(end)).get("id") != self.n:
            self.pending.append(got)
        if "error" in got:
            raise Failure(f"{method}: {got['error']}")
        return got["result"]

    def events(self, method):
        """What has come of this kind since it was asked for the last time."""
        found = [e["params"] for e in self.pending if e.get("method") == method]
        self.pending = [e for e in self.pending if e.get("method") != method]
        return found

    # -- pages

    def go(self, url):
        """Loads a page: the text of the error, or "". """
        self.events("Page.loadEventFired")
        error = self.call("Page.navigate", url=url).get("errorText", "")
        end = time.monotonic() + PATIENCE
        while not error and not self.events("Page.loadEventFired"):
            self.pending.append(self.receive(end))
        return error

    def run(self, script):
        """The value of an expression of JavaScript, or of the promise that it gives."""
        got = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        expect("exceptionDetails" not in got, f"{script[:200]}: {got}")
        return got["result"].get("value")

    def answers(self):
        """Of the answers since: what the browser says of each, in the order in which they began."""
        self.run("0")  # events of before are here when its answer is
        return [e["response"] for e in self.events("Network.responseReceived")]
