# SPDX-License-Identifier: Apache-2.0
"""What a core dump of the dataplane would have, and has: no private key, no ticket key, no secret of a session, and no request.

Memory of a process that runs is searched mapping by mapping, as the kernel decides on them (VmFlags dd of /proc/PID/smaps); where cores are
files of the folder that a process is in, a real one is searched, too.
"""
import base64
import contextlib
import ctypes
import os
import pathlib
import re
import resource
import secrets
import signal
import ssl
import struct
import subprocess
import sys

import tls_peers as peers
from rig import WEIR4, Skipped, expect, expect_eq, takes, wait_until
from test_tls import tls_rig
from tls_peers import ANY, EXACT, SHOP, pair

CHUNK = 16  # bytes of a secret that are looked for, from either end
CORE_BYTES = 1 << 40


def key_needles(name, path):
    """{what: bytes} of a private key: its numbers as they are written and as big numbers lie in memory, and its text."""
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], check=True, capture_output=True, text=True, timeout=60).stdout
    out = {}
    for field in ("priv", "privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient"):
        m = re.search(rf"^{field}:\n((?: +[0-9a-f:]+\n)+)", text, re.M)
        if not m:
            continue
        number = bytes.fromhex(re.sub(r"[\s:]", "", m.group(1))).lstrip(b"\0")
        for order, b in (("", number), (" reversed", number[::-1])):
            out[f"{name} {field}{order}"] = b[:CHUNK]
            out[f"{name} {field}{order}, end"] = b[-CHUNK:]
    expect(out, text)
    pem = pathlib.Path(path).read_bytes()
    out[f"{name} PEM"] = pem.split(b"\n")[1][24:56]
    out[f"{name} base64 of PEM"] = base64.b64encode(pem)[120:160]
    return out


CLIENT = """
import http.client, ssl, sys
ca, log, name, address, version, marker = sys.argv[1:]
c = ssl.create_default_context(cafile=ca)
c.keylog_filename = log
c.minimum_version = c.maximum_version = getattr(ssl.TLSVersion, version)
import socket
s = c.wrap_socket(socket.create_connection((address, 443), 60), server_hostname=name)
s.sendall(f"PUT /up/dump HTTP/1.1\\r\\nHost: {name}\\r\\nAuthorization: Bearer {marker}\\r\\nContent-Length: 100\\r\\n\\r\\n{marker}".encode())
print("open", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def open_sessions(rig, front, marker):
    """Clients amid a request, of both versions; gives the secrets of their sessions."""
    held, out = [], {}
    try:
        for version in ("TLSv1_2", "TLSv1_3"):
            log = rig.dir / f"{version}.keys"
            p = rig.spawn([sys.executable, "-c", CLIENT, front.ca, log, SHOP, WEIR4, version, marker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            held.append(p)
            expect(p.stdout.readline() == "open\n", "a session is open")
            for line in log.read_text().splitlines():
                label, _, secret = line.partition(" ")
                if label in ("CLIENT_RANDOM", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"):
                    out[f"{version} {label}"] = bytes.fromhex(secret.split()[1])[:CHUNK]
        wait_until("the requests are there", lambda: rig.metric_sum("weir_http_requests_active") == 2)
        yield out
    finally:
        for p in held:
            p.communicate("", 60)


@contextlib.contextmanager
def with_secrets(make, **options):
    """(rig, {what: bytes}): TLS is served with shared ticket keys, and everything has been used."""
    tickets = {str(i): secrets.token_bytes(80) for i in range(2)}
    shared = {"tickets.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: tickets, namespace: demo}\ndata: {%s}\n" % ", ".join(
        f'"{k}": {base64.b64encode(v).decode()}' for k, v in tickets.items())}
    needles = {}
    for k, v in tickets.items():
        needles.update({f"ticket key {k} AES": v[16:16 + CHUNK], f"ticket key {k} HMAC": v[48:48 + CHUNK]})
    for name, kind in ((SHOP, "ec"), (EXACT, "rsa"), (EXACT, "ec"), (ANY, "rsa")):
        needles.update(key_needles(f"{name} {kind}", pair(name, key=kind).key))
    marker = secrets.token_hex(24)
    needles["a request"] = marker.encode()
    with tls_rig(make, manifests={**peers.manifests(), **shared}, workers=2, ctrl_args=["--ticket-keys", "demo/tickets"], **options) as (rig, front):
        wait_until("ticket keys are shared", lambda: rig.metrics().get("weir_ticket_keys_shared") == 1)
        for version in ("1.2", "1.3"):
            for args in (["-sess_out", rig.dir / f"s{version}"], ["-sess_in", rig.dir / f"s{version}"]):
                for name in (SHOP, EXACT):
                    expect_eq(front.s_client("-tls" + version.replace(".", "_"), *args, name=name)["answer"], "200", "an answer")
        for sig in ("RSA+SHA256:rsa_pss_rsae_sha256", "ECDSA+SHA256"):
            expect_eq(front.s_client("-sigalgs", sig, name=EXACT)["answer"], "200", "an answer")
        with open_sessions(rig, front, marker) as session_needles:
            needles.update(session_needles)
            yield rig, needles


def mappings(pid):
    """(first, last, is dumped, name) of all that could be read."""
    first = last = name = None
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)", line)
        if m:
            first, last, rights, name = int(m.group(1), 16), int(m.group(2), 16), m.group(3), m.group(4)
        elif line.startswith("VmFlags:"):
            flags = line.split()[1:]
            if "r" in rights and "io" not in flags and not name.startswith("[v"):
                yield first, last, "dd" not in flags, name


def resident(pid, first, last):
    """Parts of a mapping that have memory: it may be of terabytes that nobody has touched."""
    page = os.sysconf("SC_PAGE_SIZE")
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as f:
        for at in range(first, last, page << 16):
            n = min(last - at, page << 16) // page
            f.seek(at // page * 8)
            raw = f.read(8 * n)
            begin = None
            for i in range(len(raw) // 8):
                there = raw[8 * i + 7] & 0xc0  # in RAM, or swapped out
                if there and begin is None:
                    begin = i
                elif not there and begin is not None:
                    yield at + begin * page, at + i * page
                    begin = None
            if begin is not None:
                yield at + begin * page, at + len(raw) // 8 * page


def stack_pointers(pid):
    """Of the threads of a process that is stopped."""
    return [int(t.read_text().split()[-2], 16) for t in pathlib.Path(f"/proc/{pid}/task").glob("*/syscall")]


def search(pid, needles):
    """({what: where} in what is dumped, the same of what is not). A dump without stacks would be none, and a piece of a request may be there."""
    pattern = re.compile(b"|".join(re.escape(b) for b in needles.values()))
    names = {b: what for what, b in needles.items()}
    found, stacks = ({}, {}), stack_pointers(pid)
    expect(all(stacks), "every thread has a stack")
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for first, last, is_dumped, name in mappings(pid):
            is_stack = any(first <= sp < last for sp in stacks)
            for begin, end in resident(pid, first, last):
                for at in range(begin, end, 1 << 26):
                    mem.seek(at)
                    try:
                        data = mem.read(min(end - at, (1 << 26) + 64))
                    except OSError:
                        continue
                    for m in pattern.finditer(data):
                        if is_stack and names[m.group()] == "a request":
                            continue
                        found[not is_dumped].setdefault(names[m.group()], f"{name or 'anonymous'} at {first:x}+{at + m.start() - first:#x}")
    return found


def test_what_a_core_dump_would_have_is_without_secrets(make):
    with with_secrets(make) as (rig, needles):
        p = rig.procs["dataplane"]
        p.send_signal(signal.SIGSTOP)
        try:
            dumped, hidden = search(p.pid, needles)
        finally:
            p.send_signal(signal.SIGCONT)
        print(f"     {len(needles)} secrets: {len(dumped)} where dumps are made of, {len(hidden)} elsewhere")
        for what in (f"{SHOP} ec priv reversed", f"{EXACT} rsa prime1 reversed", "ticket key 0 AES", "TLSv1_3 CLIENT_TRAFFIC_SECRET_0", "a request"):
            expect(what in hidden, f"the search finds what is there: {what}; it found {sorted(hidden)}")
        expect(not dumped, f"in a core dump would be: {dumped}")


test_what_a_core_dump_would_have_is_without_secrets.not_sanitized = True  # their allocator has all of it


def registers_of(tid):
    """All that a core dump has of a thread's vector registers (NT_X86_XSTATE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    seize, interrupt, getregset, detach, xstate, wall, room = 0x4206, 0x4207, 0x4204, 17, 0x202, 0x40000000, 1 << 14
    expect(libc.ptrace(seize, tid, None, None) == 0 and libc.ptrace(interrupt, tid, None, None) == 0, f"ptrace of {tid}: {os.strerror(ctypes.get_errno())}")
    os.waitpid(tid, wall)
    buf = ctypes.create_string_buffer(room)
    iov = struct.pack("@PN", ctypes.addressof(buf), room)
    held = ctypes.create_string_buffer(iov)
    expect_eq(libc.ptrace(getregset, tid, ctypes.c_void_p(xstate), ctypes.addressof(held)), 0, "PTRACE_GETREGSET")
    libc.ptrace(detach, tid, None, None)
    return buf.raw


def test_no_ticket_key_stays_in_a_register(make):
    """Right behind their arrival, in threads that have had nothing else to do since."""
    with with_secrets(make) as (rig, needles):
        rig.stop("dataplane")
        rig.start_dataplane()
        rig.wait_healthy()
        wait_until("ticket keys are shared", lambda: rig.metrics().get("weir_ticket_keys_shared") == 1)
        keys = {what: b for what, b in needles.items() if what.startswith("ticket key")}
        for task in pathlib.Path(f"/proc/{rig.procs['dataplane'].pid}/task").iterdir():
            registers = registers_of(int(task.name))
            found = sorted(what for what, b in keys.items() if b in registers)
            expect(not found, f"in registers of {(task / 'comm').read_text().strip()}: {found}")


test_no_ticket_key_stays_in_a_register.not_sanitized = True  # their memcpy() is another one


def core_of(folder):
    found = [f for f in folder.iterdir() if f.name == "core" or f.name.startswith("core.")]
    return found[0] if found else None


@takes(15)
def test_core_dump_is_written_and_without_secrets(make):
    kind = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if kind not in ("core", "core.%p"):
        raise Skipped(f"cores go elsewhere: {kind}")
    with with_secrets(make) as (rig, needles):
        folder = rig.dir / "core"
        folder.mkdir()
        rig.stop("dataplane")
        here = os.getcwd()
        os.chdir(folder)
        try:
            rig.start_dataplane()
        finally:
            os.chdir(here)
        p = rig.procs["dataplane"]
        resource.prlimit(p.pid, resource.RLIMIT_CORE, (CORE_BYTES, CORE_BYTES))
        rig.wait_healthy()
        front = peers.Front(rig)
        wait_until("TLS is served", lambda: front.curl("/", check=False)[0] == 200)
        wait_until("ticket keys are shared", lambda: rig.metrics().get("weir_ticket_keys_shared") == 1)
        for name in (SHOP, EXACT):
            expect_eq(front.s_client(name=name)["answer"], "200", "an answer")
        del needles["a request"]  # a piece of it may be on a stack
        with open_sessions(rig, front, "0" * 48) as session_needles:
            needles.update(session_needles)
            p.send_signal(signal.SIGSEGV)
            expect_eq(rig.procs.pop("dataplane").wait(120), -signal.SIGSEGV, "how it ended")
        core = core_of(folder)
        expect(core, "a core is there")
        data = core.read_bytes()
        expect(b"workers on" in data or len(data) > 1 << 20, "it has the program's memory")
        found = sorted(what for what, b in needles.items() if b in data)
        print(f"     a core of {core.stat().st_size >> 20} MiB")
        core.unlink()
        expect(not found, f"in the core: {found}")
        rig.start_dataplane()
        rig.wait_healthy()


test_core_dump_is_written_and_without_secrets.not_sanitized = True
