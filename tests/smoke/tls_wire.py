# SPDX-License-Identifier: Apache-2.0
"""A TLS client whose records pass through our hands: Python's ssl makes them in memory, and what goes out is up to us. Behind the handshake
records of any content can be sealed (RFC 8446 5.2, RFC 5288), with the keys from ssl's log of secrets and the AEADs of libcrypto."""
import atexit
import ctypes
import functools
import hashlib
import hmac
import os
import socket
import ssl
import struct
import tempfile

WAIT = 20.0  # for an answer that must come; nothing is measured by it
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
CLIENT_HELLO, KEY_UPDATE = 1, 24


def record(kind, content, version=0x0303, length=None):
    return struct.pack(">BHH", kind, version, len(content) if length is None else length) + content


def message(kind, body, length=None):
    """Of a handshake (RFC 8446 4)."""
    return bytes([kind]) + (len(body) if length is None else length).to_bytes(3, "big") + body


def vector(width, content):
    return len(content).to_bytes(width, "big") + content


def extension(kind, content):
    return struct.pack(">H", kind) + vector(2, content)


def server_name(*names, kind=0):
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, n) for n in names)))


def hello(extensions=None, name=b"shop.example.com", version=0x0303, session_id=b"", suites=b"\x13\x01\xc0\x2b\xc0\x2f", compressions=b"\x00",
          tail=b""):
    """The body of a ClientHello of our own, which speaks TLS 1.2 (extensions: others than its own, behind the server name)."""
    if extensions is None:
        extensions = extension(10, vector(2, b"\x00\x17\x00\x1d")) + extension(13, vector(2, b"\x04\x03\x08\x04\x04\x01")) + extension(11, b"\x01\x00")
    named = server_name(name) if name is not None else b""
    return (struct.pack(">H", version) + os.urandom(32) + vector(1, session_id) + vector(2, suites) + vector(1, compressions) +
            vector(2, named + extensions) + tail)


def split(records):
    """[(type, content)] of bytes that are whole records."""
    out, at = [], 0
    while at < len(records):
        kind, _, n = struct.unpack_from(">BHH", records, at)
        out.append((kind, records[at + 5:at + 5 + n]))
        at += 5 + n
    return out


def fragments(records, n):
    """The same, with no more than n bytes in a record of the handshake's that is not sealed."""
    out, is_sealed = b"", False
    for kind, content in split(records):
        is_sealed |= kind == CHANGE_CIPHER_SPEC
        step = n if kind == HANDSHAKE and not is_sealed else max(len(content), 1)
        out += b"".join(record(kind, content[at:at + step]) for at in range(0, len(content), step))
    return out


# -- keys

@functools.cache
def libcrypto():
    lib = ctypes.CDLL("libcrypto.so.3")
    for name in ("EVP_CIPHER_CTX_new", "EVP_aes_128_gcm", "EVP_aes_256_gcm", "EVP_chacha20_poly1305"):
        getattr(lib, name).restype = ctypes.c_void_p
    return lib


def aead(cipher, key, nonce, aad, plain):
    lib, n = libcrypto(), ctypes.c_int()
    c = ctypes.c_void_p(lib.EVP_CIPHER_CTX_new())
    out, tag = ctypes.create_string_buffer(len(plain) + 32), ctypes.create_string_buffer(16)
    ok = lib.EVP_EncryptInit_ex(c, ctypes.c_void_p(getattr(lib, cipher)()), None, key, nonce)
    ok &= lib.EVP_EncryptUpdate(c, None, ctypes.byref(n), aad, len(aad))
    ok &= lib.EVP_EncryptUpdate(c, out, ctypes.byref(n), plain, len(plain)) if plain else 1
    end = ctypes.create_string_buffer(32)
    ok &= lib.EVP_EncryptFinal_ex(c, end, ctypes.byref(n))
    ok &= lib.EVP_CIPHER_CTX_ctrl(c, 0x10, 16, tag)  # EVP_CTRL_AEAD_GET_TAG
    lib.EVP_CIPHER_CTX_free(c)
    assert ok == 1
    return out.raw[:len(plain)] + tag.raw


def expand(secret, label, n, digest):
    """HKDF-Expand-Label (RFC 8446 7.1) of one block."""
    info = struct.pack(">H", n) + vector(1, b"tls13 " + label) + b"\0"
    return hmac.new(secret, info + b"\x01", digest).digest()[:n]


def prf(secret, seed, n, digest):
    """RFC 5246 5."""
    out, a = b"", seed
    while len(out) < n:
        a = hmac.new(secret, a, digest).digest()
        out += hmac.new(secret, a + seed, digest).digest()
    return out[:n]


class Sealer13:
    def __init__(self, secret, cipher):
        self.digest = hashlib.sha384 if cipher.endswith("384") else hashlib.sha256
        self.cipher = {"TLS_AES_128_GCM_SHA256": "EVP_aes_128_gcm", "TLS_AES_256_GCM_SHA384": "EVP_aes_256_gcm"}.get(cipher, "EVP_chacha20_poly1305")
        self.take(secret)

    def take(self, secret):
        self.secret, self.seq = secret, 0
        self.key = expand(secret, b"key", 16 if "128" in self.cipher else 32, self.digest)
        self.iv = expand(secret, b"iv", 12, self.digest)

    def update(self):
        self.take(expand(self.secret, b"traffic upd", self.digest().digest_size, self.digest))

    def seal(self, kind, content, padding=0):
        """kind 0: nothing but padding."""
        inner = content + (bytes([kind]) if kind else b"") + bytes(padding)
        head = struct.pack(">BHH", DATA, 0x0303, len(inner) + 16)
        nonce = (int.from_bytes(self.iv, "big") ^ self.seq).to_bytes(12, "big")
        self.seq += 1
        return head + aead(self.cipher, self.key, nonce, head, inner)


class Sealer12:
    """ECDHE with AES-128-GCM and SHA-256 alone; one record, Finished, was sent before."""

    def __init__(self, master, client_random, server_random):
        block = prf(master, b"key expansion" + server_random + client_random, 40, hashlib.sha256)
        self.key, self.iv, self.seq = block[:16], block[32:36], 1

    def seal(self, kind, content, padding=0):
        explicit = struct.pack(">Q", self.seq | 1 << 63)  # unlike Finished's
        aad = struct.pack(">QBHH", self.seq, kind, 0x0303, len(content))
        self.seq += 1
        return record(kind, explicit + aead("EVP_aes_128_gcm", self.key, self.iv + explicit, aad, content))


# -- the client

SUITE12 = "ECDHE-ECDSA-AES128-GCM-SHA256"


@functools.cache
def context(version, ca):
    c = ssl.create_default_context(cafile=ca)
    c.minimum_version = c.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    if version == "1.2":
        c.set_ciphers(SUITE12)
    c.set_alpn_protocols(["http/1.1"])
    fd, c.keylog_filename = tempfile.mkstemp(prefix="weir-keylog-")
    os.close(fd)
    atexit.register(os.unlink, c.keylog_filename)
    return c


class Peer:
    """o: address, port, ca, name, as of tls_client.py."""

    def __init__(self, o, version="1.3"):
        self.o, self.version, self.raw = o, version, b""
        self.sock = socket.create_connection((o["address"], o["port"]), timeout=WAIT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.context = context(version, o["ca"])
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname=o["name"])
        self.random, self.flights = None, 0

    def flight(self):
        """What the client would send next: its hello, then, once the server's flight has come, the rest."""
        while True:
            try:
                self.tls.do_handshake()
                self.flights += 1
                return self.outgoing.read()
            except ssl.SSLWantReadError:
                if out := self.outgoing.read():
                    self.random = self.random or out[11:43]
                    self.flights += 1
                    return out
            self.take()

    def take(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.raw += data
        self.incoming.write(data)

    def send(self, data):
        self.sock.sendall(data)

    def handshake(self, change=lambda records: records):
        """Each flight as change() gives it back."""
        self.send(change(self.flight()))
        self.send(change(self.flight()))
        while self.version == "1.2" and not self.is_finished():
            self.take()
        return self

    def is_finished(self):
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def sealer(self):
        with open(self.context.keylog_filename, encoding="ascii") as f:
            lines = [line.split() for line in f if not line.startswith("#")]
        secrets = {label: bytes.fromhex(secret) for label, random, secret in lines if bytes.fromhex(random) == self.random}
        if self.version == "1.3":
            return Sealer13(secrets["CLIENT_TRAFFIC_SECRET_0"], self.tls.cipher()[0])
        return Sealer12(secrets["CLIENT_RANDOM"], self.random, self.raw[11:43])

    def how_it_ends(self, seconds=WAIT):
        """(what the server's alert says or "", "end", "reset" or "open"); all that comes meanwhile is taken."""
        alert, end = "", "open"
        self.sock.settimeout(seconds)
        try:
            while True:
                self.take()
                alert = alert or self.read_alert()
        except EOFError:
            end = "end"
        except TimeoutError:
            pass
        except OSError:
            end = "reset"
        self.sock.close()
        return alert or self.read_alert(), end

    def read_alert(self):
        """Also where the client's own half has not begun, or has failed."""
        try:
            self.tls.read(65536)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        except ssl.SSLError as e:
            reason = str(e.reason or e).upper()
            if "ALERT" in reason or "UNRECOGNIZED" in reason or "NO_RENEGOTIATION" in reason:
                return reason
        kinds = self.raw[-7:]
        return f"alert {kinds[6]}" if len(kinds) == 7 and kinds[0] == ALERT and kinds[3:5] == b"\0\2" else ""

    def leave(self, how="end"):
        if how == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def ask(self, sealer, path="/"):
        """A request whose records are ours; the status of its answer."""
        self.send(sealer.seal(DATA, f"GET {path} HTTP/1.1\r\nHost: {self.o['name']}\r\n\r\n".encode()))
        got = b""
        while b"\r\n\r\n" not in got:
            try:
                got += self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.take()
        return int(got.split()[1])
