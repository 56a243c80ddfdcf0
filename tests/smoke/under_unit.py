#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a program under the system calls that a unit of systemd lets it make: under_unit.py UNIT COMMAND...

As systemd does with SystemCallFilter= (systemd.exec(5)): whole groups by `systemd-analyze syscall-filter`, and execve to start it
at all. All else fails with EPERM, if SystemCallErrorNumber= says so, or kills.
"""
import ctypes
import os
import pathlib
import subprocess
import sys

ALLOW, KILL_PROCESS, EPERM = 0x7fff0000, 0x80000000, 0x00050001
IMPLIED = ["execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn"]


def group(name):
    """The calls of @name, and of the groups that it has."""
    text = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], check=True, capture_output=True, text=True).stdout
    return expand(line.strip() for line in text.splitlines()[1:] if line.strip() and not line.strip().startswith("#"))


def expand(names):
    calls = set()
    for name in names:
        calls |= group(name) if name.startswith("@") else {name}
    return calls


def of_unit(text):
    lines = [line.split("=", 1)[1] for line in text.splitlines() if line.startswith("SystemCallFilter=")]
    if not lines or any("~" in line for line in lines):
        raise SystemExit("lists of what is allowed were expected")
    return expand(name for line in lines for name in line.split()) | group("@default") | set(IMPLIED)


def main(unit, *command):
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_init.argtypes = [ctypes.c_uint32]
    seccomp.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
    seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
    text = pathlib.Path(unit).read_text()
    calls = of_unit(text)
    context = seccomp.seccomp_init(EPERM if "\nSystemCallErrorNumber=EPERM\n" in text else KILL_PROCESS)
    for name in calls:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0 and seccomp.seccomp_rule_add(context, ALLOW, number, 0) != 0:
            raise SystemExit(f"{name} cannot be allowed")
    if seccomp.seccomp_load(context) != 0:
        raise SystemExit("the filter cannot be set")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
