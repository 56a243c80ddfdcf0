# SPDX-License-Identifier: Apache-2.0
"""The programs carry the CPU check in front of everything else: check_cpu.py PROGRAM

On a CPU that has x86-64-v3 the program starts; that it says so on an older one is tried with qemu-user where
that is installed.
"""
import shutil
import subprocess
import sys

p = subprocess.run([sys.argv[1], "--version"], capture_output=True, text=True)
if p.returncode != 0:
    sys.exit(f"does not start: {p.stderr}")
qemu = shutil.which("qemu-x86_64")
if not qemu:
    print("no qemu-x86_64 here: the old CPU was not tried")
    sys.exit(77)
p = subprocess.run([qemu, "-cpu", "Nehalem", sys.argv[1], "--version"], capture_output=True, text=True)
if p.returncode != 3 or "lacks x86-64-v3" not in p.stderr:
    sys.exit(f"on an old CPU: status {p.returncode}, {p.stdout} {p.stderr}")
