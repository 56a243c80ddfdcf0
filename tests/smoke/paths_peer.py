# SPDX-License-Identifier: Apache-2.0
"""A weir-ctrl that sends nothing but ways to pods (include/weir/msg.h, paths.h): Peer(socket).send(paths, vteps) gives the refusal's name."""
import array
import ipaddress
import mmap
import re
import socket
import struct
import time
import pathlib

HEADERS = pathlib.Path(__file__).resolve().parents[2] / "include/weir"
MASK = (1 << 64) - 1
K0, K1, K2 = 0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B
MAGIC = 0x4854415052494557
ROUTE, VXLAN = 1, 2
SLOTS, SLOT = 4096, 64
PATHS, BLOB_DONE = 10, 100


def fold(a, b):
    m = a * b
    return (m & MASK) ^ (m >> 64)


def hash64(data):
    """base/hash.c"""
    h = fold(K0, K1 ^ len(data))
    for i in range(0, len(data), 8):
        h = (fold(h ^ int.from_bytes(data[i:i + 8], "little"), K1) + K2) & MASK
    return fold(h ^ K2, len(data) ^ K0 ^ (h >> 29))


def weir_ip(text):
    a = ipaddress.ip_address(text)
    return a.packed if a.version == 6 else bytes(10) + b"\xff\xff" + a.packed


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", "")) if text else bytes(6)


def path(prefix, via, mac=None):
    address, _, length = prefix.partition("/")
    return weir_ip(address) + weir_ip(via) + bytes([int(length), VXLAN if mac else ROUTE]) + mac_bytes(mac)


def vtep(source, mac, port, vni):
    return weir_ip(source) + mac_bytes(mac) + struct.pack("<HII", port, vni, 0)


def abi_major():
    return int(re.search(r"WEIR_ABI_MAJOR (\d+)", (HEADERS / "types.h").read_text())[1])


def refusals():
    text = (HEADERS / "msg.h").read_text().split("#define WEIR_REFUSALS")[1]
    return re.findall(r'X\([A-Z_]+, "([a-z-]+)",', text)


class Peer:
    def __init__(self, path_of_socket):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(60)
        self.sock.connect(str(path_of_socket))
        fds = array.array("i")
        hello, control, _, _ = self.sock.recvmsg(256, socket.CMSG_LEN(8 * fds.itemsize))
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
        _, _, _, refused, size = struct.unpack_from("<QHHIQ", hello)
        if refused:
            raise ConnectionError(f"refused: {refused}")
        self.map = mmap.mmap(fds[0], size)
        self.tx, self.rx, self.arena = struct.unpack_from("<QQQ", self.map, 24)
        self.n_sent = self.n_taken = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
        self.map.close()

    def send(self, paths, vteps):
        """Sends them as one set. Returns how it was answered."""
        head = struct.pack("<QHHI", MAGIC, abi_major(), 0, len(paths))
        blob = head + bytes(8) + b"".join(vteps) + b"".join(paths)
        blob = head + struct.pack("<Q", hash64(blob)) + blob[len(head) + 8:]
        self.map[self.arena:self.arena + len(blob)] = blob
        at = self.tx + 128 + self.n_sent % SLOTS * SLOT
        self.n_sent += 1
        self.map[at:at + SLOT] = struct.pack("<IIQQQQQQQ", PATHS, 0, self.n_sent, 0, len(blob), self.n_sent, 0, 0, 0)
        struct.pack_into("<Q", self.map, self.tx, self.n_sent)
        self.sock.send(b"\0")
        return refusals()[self.await_done()]

    def await_done(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if struct.unpack_from("<Q", self.map, self.rx)[0] == self.n_taken:
                time.sleep(0.005)
                continue
            kind, status = struct.unpack_from("<II", self.map, self.rx + 128 + self.n_taken % SLOTS * SLOT)
            self.n_taken += 1
            struct.pack_into("<Q", self.map, self.rx + 64, self.n_taken)
            if kind == BLOB_DONE:
                return status
        raise TimeoutError("no answer")
