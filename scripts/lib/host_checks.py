# SPDX-License-Identifier: Apache-2.0
"""What a check is, what it finds, and what mends it.

A check is a generator: it takes the Host and what weir.yaml needs, and yields findings. It changes nothing. What would mend a
finding are actions (host_tune.py carries them out), kernel parameters (only ever printed), or a text for a person.
"""
import dataclasses
import shlex

STATUSES = ("ok", "note", "skip", "warn", "FAIL")  # note: nothing is wrong, but one should know


@dataclasses.dataclass(frozen=True)
class Write:
    """A value into a file of /proc or /sys."""
    path: str
    value: str

    def line(self):
        return f"echo {self.value} > {self.path}"


@dataclasses.dataclass(frozen=True)
class Run:
    """A command, and the one that takes it back."""
    argv: tuple
    undo: tuple

    def line(self):
        return shlex.join(self.argv)


@dataclasses.dataclass(frozen=True)
class File:
    """A file with this text; `after` is run when it was written or removed."""
    path: str
    text: str
    after: tuple = ()

    def line(self):
        return f"printf {shlex.quote(self.text.replace(chr(10), chr(92) + 'n'))} > {self.path}"


@dataclasses.dataclass(frozen=True)
class Keep:
    """One line of a file that makes a setting outlast a restart. kind: sysctl, tmpfiles, modules or unit."""
    kind: str
    key: str
    value: str = ""


def keep_write(path, value):
    return Keep("tmpfiles", path, value)


@dataclasses.dataclass
class Finding:
    status: str
    what: str  # of which node, core or device; may be empty
    found: str
    should: str = ""
    why: str = ""
    mend: str = ""  # where no action does it
    actions: tuple = ()
    keep: tuple = ()
    kernel: tuple = ()  # parameters of the kernel's command line
    check: str = ""

    def mend_line(self):
        if self.mend:
            return self.mend
        if len(self.actions) == 1:
            return self.actions[0].line()
        if self.actions:
            return f"weir-host tune --apply {self.check}"
        return f"kernel command line: {' '.join(self.kernel)}" if self.kernel else ""

    def line(self):
        name = f"{self.check} {self.what}".strip()
        text = f"{self.status:4}  {name}: {self.found}"
        if self.should:
            text += f"; should be {self.should}"
        if self.why:
            text += f" ({self.why})"
        mend = self.mend_line()
        return f"{text}. Mend: {mend}" if mend and self.status in ("warn", "FAIL", "note") else text

    def as_json(self):
        return {"status": self.status, "check": self.check, "what": self.what, "found": self.found, "should": self.should,
                "why": self.why, "mend": self.mend_line(), "kernel_parameters": list(self.kernel)}


def ok(what, found, **kw):
    return Finding("ok", what, found, **kw)


def note(what, found, why="", **kw):
    return Finding("note", what, found, why=why, **kw)


def skip(found, what=""):
    return Finding("skip", what, found)


def warn(what, found, should, why, **kw):
    return Finding("warn", what, found, should, why, **kw)


def fail(what, found, should, why, **kw):
    return Finding("FAIL", what, found, should, why, **kw)


@dataclasses.dataclass
class Check:
    name: str
    means: str
    mends: str
    fn: object
    needs_config: bool


CHECKS = {}


def check(name, means, mends, needs_config=True):
    """Registers a check. `means` and `mends` are for docs/host.md, too."""
    def register(fn):
        CHECKS[name] = Check(name, means, mends, fn, needs_config)
        return fn
    return register


def run_checks(host, needs, names=()):
    """Findings in the order of the checks. needs is None where there is no weir.yaml."""
    out = []
    for c in CHECKS.values():
        if names and c.name not in names:
            continue
        if c.needs_config and needs is None:
            found = [skip("no weir.yaml, which says what is needed (-c FILE)")]
        else:
            found = list(c.fn(host, needs))
        for f in found:
            f.check = c.name
        out += found
    return out
