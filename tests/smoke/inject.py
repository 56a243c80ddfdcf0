#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Has a thread of another program make a system call, as an intruder would: inject.py TID NUMBER [ARGUMENT]...

Prints what the call returned, or "killed by N". By ptrace(2): the thread is stopped, sent to a syscall instruction of its own
program, and then goes on where it was. x86-64.
"""
import ctypes
import os
import pathlib
import signal
import sys

CONT, SINGLESTEP, GETREGS, SETREGS, ATTACH, DETACH = 7, 9, 12, 13, 16, 17
WALL = 0x40000000
NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs").split()
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


class Registers(ctypes.Structure):
    _fields_ = [(n, ctypes.c_ulonglong) for n in NAMES]


def trace(request, tid, data=None):
    if libc.ptrace(request, tid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace request {request}")


def syscall_instruction(tid):
    """Where one is in the program's code, whatever it belongs to."""
    with open(f"/proc/{tid}/mem", "rb", buffering=0) as mem:
        for line in pathlib.Path(f"/proc/{tid}/maps").read_text().splitlines():
            span, flags, rest = line.split(None, 2)
            if not flags.startswith("r-x") or "libc" not in rest:
                continue
            begin, end = (int(x, 16) for x in span.split("-"))
            mem.seek(begin)
            at = mem.read(end - begin).find(b"\x0f\x05")
            if at >= 0:
                return begin + at
    raise SystemExit("no syscall instruction found")


def wait(tid):
    """The signal that has stopped it; None: it has ended, which was printed."""
    _, status = os.waitpid(tid, WALL)
    if os.WIFSTOPPED(status):
        return os.WSTOPSIG(status)
    print(f"killed by {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "exited")
    return None


def main(tid, number, *arguments):
    at = syscall_instruction(tid)
    trace(ATTACH, tid)
    while wait(tid) != signal.SIGSTOP:
        trace(CONT, tid)
    before, regs = Registers(), Registers()
    trace(GETREGS, tid, ctypes.addressof(before))
    ctypes.pointer(regs)[0] = before
    regs.rip, regs.rax, regs.orig_rax = at, number, 2**64 - 1  # nothing is to be begun again
    for name, value in zip(ARGUMENTS, arguments):
        setattr(regs, name, value)
    trace(SETREGS, tid, ctypes.addressof(regs))
    trace(SINGLESTEP, tid)
    is_refused = False
    while (sig := wait(tid)) != signal.SIGTRAP or is_refused:
        if sig is None:
            return
        is_refused |= sig == signal.SIGSYS
        trace(CONT, tid, 0 if sig == signal.SIGTRAP else sig)
    trace(GETREGS, tid, ctypes.addressof(regs))
    trace(SETREGS, tid, ctypes.addressof(before))
    trace(DETACH, tid)
    print(ctypes.c_longlong(regs.rax).value)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
