# SPDX-License-Identifier: Apache-2.0
"""Carries out what mends findings, remembers what was, and takes it back.

/var/lib/weir/host.json has an entry for each change, oldest first, written (atomically) before the change is made: however this ends,
undo finds it. A change that failed has none. What somebody else changed since is left as it is.
"""
import contextlib
import fcntl
import json
import os
import subprocess

from host_checks import File, Run, Write
from host_kernel import DROP_IN, RELOAD
from host_memory import chosen

STATE = "/var/lib/weir/host.json"
VERSION = 1
KEPT = {  # kind of Keep: where its lines stand, what is written for one, and whatever must be told
    "sysctl": ("/etc/sysctl.d/90-weir-host.conf", lambda k: f"{k.key} = {k.value}", ()),
    "tmpfiles": ("/etc/tmpfiles.d/weir-host.conf", lambda k: f"w {k.key} - - - - {k.value}", ()),
    "modules": ("/etc/modules-load.d/weir-host.conf", lambda k: k.key, ()),
    "unit": (f"/etc/systemd/system/{DROP_IN}", lambda k: k.key, RELOAD),
}


class StateError(Exception):
    """host.json is there, and is not ours."""


def wants_action(finding, names):
    """Notes are acted on only by name."""
    return finding.status in ("warn", "FAIL") or (finding.status == "note" and finding.check in names)


def key_of(kind, row):
    """What a line of such a file sets."""
    words = row.split() if kind == "tmpfiles" else ["", *row.replace("=", " ").split()]
    return words[1] if len(words) > 1 else None


def kept_files(host, findings):
    """Files that make settings last: lines of an earlier run stay, unless the same thing is set anew."""
    out = []
    for kind, (path, line, after) in KEPT.items():
        keeps = {k.key.split("=")[0]: line(k) for f in findings for k in f.keep if k.kind == kind}
        if not keeps:
            continue
        lines = [row for row in (host.read(path) or "").splitlines() if row and row != "[Service]" and not row.startswith("#")]
        lines = [row for row in lines if key_of(kind, row) not in keeps]
        head = ["# Written by weir-host tune --persistent."] + (["[Service]"] if kind == "unit" else [])
        text = "\n".join(head + lines + list(keeps.values())) + "\n"
        if host.read(path) != text.strip():
            out.append(File(path, text, after))
    return out


def plan(host, findings, names, persistent):
    """[(name of the check, action)]"""
    out = [(f.check, a) for f in findings if wants_action(f, names) for a in f.actions]
    return out + [("persistent", a) for a in kept_files(host, findings)] if persistent else out


def by_hand(findings):
    """What is left to a person: (finding, how), and the parameters of the kernel."""
    bad = [f for f in findings if f.status in ("warn", "FAIL") and not f.actions]
    parameters = list(dict.fromkeys(p for f in bad for p in f.kernel))
    return [f for f in bad if not f.kernel], parameters


# ---- what was

@contextlib.contextmanager
def locked(host):
    """One at a time: two would remember each other's values as what was."""
    folder = host.path(os.path.dirname(STATE))
    os.makedirs(folder, mode=0o755, exist_ok=True)
    with open(host.path(STATE) + ".lock", "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def load(host):
    text = host.read(STATE)
    if text is None:
        return []
    try:
        said = json.loads(text)
        entries = said["changes"] if said["version"] == VERSION else None
        known = all(e["kind"] in ("write", "run", "file") for e in entries)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise StateError(f"{STATE} is not what this weir-host writes; nothing was changed")
    return entries


def save(host, entries):
    """Whole or not at all; no file where nothing is to be taken back."""
    path = host.path(STATE)
    if not entries:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump({"version": VERSION, "changes": entries}, f, indent=1)
        f.write("\n")
        f.flush()
        os.fsync(f.fileno())
    os.rename(path + ".new", path)


# ---- single changes; each raises OSError

def put(host, path, value):
    """Into a file of the kernel, at once."""
    fd = os.open(host.path(path), os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(fd, f"{value}\n".encode())
    finally:
        os.close(fd)


def put_file(host, path, text):
    """A file of its own; None removes it, and its folder if that was made for it."""
    full = host.path(path)
    if text is None:
        os.unlink(full)
        with contextlib.suppress(OSError):
            if full.endswith(DROP_IN):
                os.rmdir(os.path.dirname(full))
        return
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full + ".new", "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.rename(full + ".new", full)


def run(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired as e:
        raise OSError(f"{argv[0]} does not end") from e
    if done.returncode != 0:
        raise OSError(done.stderr.strip() or f"{argv[0]} ended with {done.returncode}")


def tell(host, argv):
    """systemd, of files of its own that came or went; where it does not run it reads them when it starts."""
    if argv and host.exists("/run/systemd/system"):
        run(argv)


def now_of(host, path):
    return chosen(host.read(path))


# ---- apply

def entry_of(host, check, action):
    """What undo needs, before anything is changed."""
    if isinstance(action, Write):
        old = now_of(host, action.path)
        if old is None:
            raise OSError("cannot be read")
        return {"check": check, "kind": "write", "path": action.path, "old": old, "new": action.value}
    if isinstance(action, File):
        text = None
        with contextlib.suppress(FileNotFoundError):
            with open(host.path(action.path), encoding="utf-8") as f:
                text = f.read()
        return {"check": check, "kind": "file", "path": action.path, "old": text, "new": action.text, "after": list(action.after)}
    return {"check": check, "kind": "run", "argv": list(action.argv), "undo": list(action.undo)}


def remembered(entries, entry):
    """The entry in the list: of the same file there is one already, with what was at first."""
    for e in entries:
        if entry["kind"] != "run" and e["kind"] == entry["kind"] and e["path"] == entry["path"]:
            before = dict(e)
            e["new"] = entry["new"]
            return e, before
    entries.append(entry)
    return entry, None


def do(host, action, entry):
    if isinstance(action, Write):
        put(host, action.path, action.value)
        entry["new"] = now_of(host, action.path)
    elif isinstance(action, File):
        put_file(host, action.path, action.text)
        tell(host, action.after)
    else:
        run(action.argv)


def falls_short(action, entry):
    """The kernel took it, but not all: it had no more hugepages."""
    if not isinstance(action, Write):
        return None
    got, wanted = entry["new"], action.value
    if got and got.isdigit() and wanted.isdigit() and int(got) != int(wanted):
        return f"the kernel made it {got}, not {wanted}" + (
            " (memory is full or in pieces: reserve them on the kernel's command line)" if "hugepages" in action.path else "")
    return None


def apply_one(host, entries, check, action):
    """None, or why it was not done."""
    try:
        entry, before = remembered(entries, entry_of(host, check, action))
    except OSError as e:
        return e.strerror or str(e)
    save(host, entries)
    try:
        do(host, action, entry)
    except OSError as e:
        if isinstance(action, File):
            pass  # it may be there, though systemd was not told: undo removes it
        elif before:
            entry.update(before)
        else:
            entries.remove(entry)
        save(host, entries)
        return e.strerror or str(e)
    save(host, entries)
    return falls_short(action, entry)


def apply(host, planned, say):
    """Does all that can be done; the number of what could not."""
    failed = 0
    with locked(host):
        entries = load(host)
        for check, action in planned:
            why = apply_one(host, entries, check, action)
            failed += why is not None
            say(f"{'FAIL' if why else 'done'}  {check}: {action.line()}" + (f": {why}" if why else ""))
    return failed


# ---- undo

def undo_one(host, e):
    """What was done, as text. Raises OSError."""
    if e["kind"] == "run":
        run(e["undo"])
        return " ".join(e["undo"])
    if e["kind"] == "write":
        now = now_of(host, e["path"])
        if now == e["old"]:
            return f"{e['path']} is {now} already"
        if now != e["new"]:
            return f"{e['path']} is left: it is {now}, not the {e['new']} of ours"
        put(host, e["path"], e["old"])
        return f"echo {e['old']} > {e['path']}"
    with contextlib.suppress(FileNotFoundError):
        with open(host.path(e["path"]), encoding="utf-8") as f:
            if f.read() not in (e["new"], e["old"]):
                return f"{e['path']} is left: somebody changed it"
        put_file(host, e["path"], e["old"])
    tell(host, e["after"])
    return f"{e['path']} {'removed' if e['old'] is None else 'as it was'}"


def undo(host, say):
    """Takes back all changes, the last one first; the number of those that it could not, which stay remembered."""
    failed = 0
    with locked(host):
        entries = load(host)
        if not entries:
            say("nothing to undo")
        for e in reversed(list(entries)):
            try:
                text = undo_one(host, e)
            except OSError as err:
                failed += 1
                say(f"FAIL  {e['check']}: {e.get('path') or ' '.join(e['undo'])}: {err.strerror or err}")
                continue
            entries.remove(e)
            save(host, entries)
            say(f"done  {e['check']}: {text}")
    return failed


def describe(host, check, action):
    """The lines of what --apply would do."""
    if isinstance(action, Write):
        return [f"would write  {action.path}: {now_of(host, action.path)} -> {action.value}  ({check})"]
    if isinstance(action, Run):
        return [f"would run    {action.line()}  ({check})"]
    return [f"would write  {action.path}  ({check}):", *(f"    {row}" for row in action.text.splitlines())] + (
        [f"would run    {' '.join(action.after)}"] if action.after else [])
