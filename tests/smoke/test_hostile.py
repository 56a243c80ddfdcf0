# SPDX-License-Identifier: Apache-2.0
"""A peer that may connect to the control socket, and means harm: the dataplane stays, and the next weir-ctrl works."""
import signal

from rig import expect, expect_eq, wait_until

# Speaks the contract (include/weir/msg.h) just well enough to break it.
HOSTILE = r"""
import mmap, os, random, socket, struct, sys
path, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rnd = random.Random(seed)
SLOTS, MSG = 4096, 64

def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(60)
    s.connect(path)
    data, fds, _, _ = socket.recv_fds(s, 4096, 4)
    global MAJOR
    magic, MAJOR, minor, refused, size, stats = struct.unpack('<QHHIQQ', data[:32])
    return s, fds, refused, size

def number():
    return rnd.choice([0, 1, 63, 64, 4095, 4096, 4097, 1 << 16, 1 << 20, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1,
                       rnd.getrandbits(64), rnd.getrandbits(20)])

def blob(n):
    b = bytearray(rnd.randbytes(n))
    if rnd.random() < 0.7 and n >= 32:
        b[0:8] = rnd.choice([b'WEIRSNAP', b'WEIREPDS', b'WEIRCERT'])
        b[8:12] = struct.pack('<HH', rnd.choice([MAJOR, MAJOR, 1]), 0)
        b[12:16] = struct.pack('<I', rnd.choice([n, n, n - 1, 0, 0xffffffff]))
    return bytes(b)

def attack(m, size, s, left):
    to_dp, to_ctrl, arena, arena_size = struct.unpack_from('<QQQQ', m, 24)
    head = 0
    for i in range(rnd.randrange(1, 30)):
        kind = rnd.random()
        if kind < 0.6:  # a message, its sequence right or not
            n = rnd.randrange(0, 3000)
            off = rnd.randrange(0, arena_size - 4096) // 64 * 64
            m[arena + off:arena + off + n] = blob(n)
            slot = to_dp + 128 + (head % SLOTS) * MSG
            right = rnd.random() < 0.8
            m[slot:slot + MSG] = struct.pack('<IIQQQQQQQ', rnd.choice([1, 1, 2, 2, 4, 5, 6, 7, 8, 8, 77, 100]), 0, head + 1 if right else number(),
                                             off if rnd.random() < 0.8 else number(), n if rnd.random() < 0.8 else number(),
                                             number(), number(), number(), 0)
            head += 1
            m[to_dp:to_dp + 8] = struct.pack('<Q', head)
        elif kind < 0.7:  # indices that cannot be
            at = rnd.choice([to_dp, to_dp + 64, to_ctrl, to_ctrl + 64])
            m[at:at + 8] = struct.pack('<Q', number())
        elif kind < 0.8:  # the region's own head
            at = rnd.randrange(0, 128)
            m[at:at + 8] = struct.pack('<Q', number())
        elif kind < 0.9:
            at = rnd.randrange(0, size - 64)
            m[at:at + 64] = rnd.randbytes(64)
        try:
            s.send(rnd.randbytes(rnd.randrange(1, 300)))
        except OSError:
            return

for r in range(rounds):
    s, fds, refused, size = connect()
    if refused or len(fds) != 3:
        print('refused', refused, len(fds)); sys.exit(1)
    try:
        os.ftruncate(fds[0], 4096); print('the region could be shrunk'); sys.exit(1)
    except OSError:
        pass
    for fd in fds[1:]:
        try:
            mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            print('statistics or diagnostics are writable'); sys.exit(1)
        except OSError:
            pass
    m = mmap.mmap(fds[0], size)
    attack(m, size, s, rounds - r)
    m.close()
    for fd in fds: os.close(fd)
    s.close()
print('survived', rounds)
"""


def test_hostile_peer_on_the_control_socket_harms_nobody(make):
    rounds = 200
    with make(workers=2) as rig:
        expect_eq(rig.curl("/before")[0], 200, "before")
        rig.stop("ctrl", signal.SIGKILL)
        for seed in (1, 2, 3):
            wait_until("the socket is free", lambda: "refused" not in rig.run(
                ["python3", "-c", HOSTILE, rig.dir / "dataplane.sock", 0, 1], check=False).stdout.decode())
            out = rig.run(["python3", "-c", HOSTILE, rig.dir / "dataplane.sock", seed, rounds], check=False, timeout=600)
            text = out.stdout.decode() + out.stderr.decode()
            # The one before may not be gone yet when the next one comes: then it is told to wait.
            expect("survived" in text or "refused 2" in text, text[-800:])
            expect(rig.procs["dataplane"].poll() is None, "the dataplane lives")
            expect_eq(rig.curl(f"/during{seed}")[0], 200, "traffic goes on with the old routes")
        rig.start_ctrl()
        rig.wait_healthy()
        m = rig.metrics()
        expect(m["weir_control_protocol_errors_total"] > 10, "contract breaches were noticed and counted")
        expect(m["weir_snapshots_refused_total"] + m["weir_endpoint_sets_refused_total"] > 10, "wrong blobs were refused")
        expect(m["weir_certificates_refused_total"] > 10, "wrong certificates were refused")
        expect_eq(m["weir_certificates"], 0, "certificates that are held without being named")
        print(f"     {m['weir_control_connects_total']:.0f} connections, {m['weir_control_protocol_errors_total']:.0f} breaches, "
              f"{m['weir_snapshots_refused_total']:.0f} snapshots and {m['weir_endpoint_sets_refused_total']:.0f} sets refused")
        expect_eq(rig.curl("/after")[0], 200, "after")
