#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds one thread of another process, or makes it spin where it is, by ptrace(2).

    ptracer.py hold TID    until stdin or the process ends
    ptracer.py spin TID    writes a jump to itself over an instruction that it comes by, and lets it go

What is written is the process's own copy of the page. "held" or "spins" on stdout tells that it is done.
"""
import ctypes
import os
import select
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
SEIZE, INTERRUPT, DETACH, PEEKTEXT, POKETEXT, PEEKUSER, SINGLESTEP = 0x4206, 0x4207, 17, 1, 4, 3, 9
RIP = 16 * 8  # of struct user
JUMP_TO_ITSELF = 0xfeeb  # EB FE
WALL = 0x40000000


def ptrace(what, tid, addr=0, data=0):
    ctypes.set_errno(0)
    value = libc.ptrace(what, tid, addr, data)
    if ctypes.get_errno():
        sys.exit(f"ptrace {what:#x}: {os.strerror(ctypes.get_errno())}")
    return value


def own_code(tid):
    """Where the program's own code is: [(first, last)]."""
    program, out = os.readlink(f"/proc/{tid}/exe"), []
    with open(f"/proc/{tid}/maps") as maps:
        for line in maps:
            where, rights = line.split()[:2]
            if "x" in rights and program in line:
                out.append(tuple(int(x, 16) for x in where.split("-")))
    return out


def main():
    what, tid = sys.argv[1], int(sys.argv[2])
    own = own_code(tid)
    ptrace(SEIZE, tid)
    ptrace(INTERRUPT, tid)
    os.waitpid(tid, WALL)
    if what == "hold":
        print("held", flush=True)
        while not select.select([sys.stdin], [], [], 0.05)[0]:
            if os.waitpid(tid, WALL | os.WNOHANG)[0]:  # its process has ended, and is gone once we know
                return
        return
    rip = ptrace(PEEKUSER, tid, RIP) % 2**64
    while not any(first <= rip < last for first, last in own):  # others may run what is a library's
        ptrace(SINGLESTEP, tid)
        os.waitpid(tid, WALL)
        rip = ptrace(PEEKUSER, tid, RIP) % 2**64
    word = ptrace(PEEKTEXT, tid, rip) % 2**64
    ptrace(POKETEXT, tid, rip, word & ~0xffff | JUMP_TO_ITSELF)
    ptrace(DETACH, tid)
    print("spins", flush=True)


if __name__ == "__main__":
    main()
