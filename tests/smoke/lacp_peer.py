# SPDX-License-Identifier: Apache-2.0
"""A switch's side of LACP (IEEE 802.1AX 6.4), on interfaces that are ports of a bridge: one aggregator, active, fast.

    lacp_peer.py INTERFACE...

Answers each LACPDU with what it learned of its sender, and sends one a second by itself. Prints "INTERFACE up" when both
ends say that they collect and distribute, and "INTERFACE down" when they do not any more.
"""
import selectors
import socket
import struct
import sys
import time

SLOW = bytes.fromhex("0180c2000002")
ACTIVE, SHORT, AGGREGATABLE, IN_SYNC, COLLECTING, DISTRIBUTING, DEFAULTED, EXPIRED = (1 << i for i in range(8))
SYSTEM = bytes.fromhex("020000aabbcc")
PARTNER_SECONDS = 3.0


class Port:
    def __init__(self, number, name):
        self.number, self.name = number, name
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x8809))
        self.socket.bind((name, 0x8809))
        self.socket.setblocking(False)
        self.partner = bytes(15)  # priority, system, key, priority of the port, its number, state
        self.heard = 0.0
        self.is_up = False

    def state(self):
        if not self.is_heard():
            return ACTIVE | SHORT | AGGREGATABLE | DEFAULTED
        return ACTIVE | SHORT | AGGREGATABLE | IN_SYNC | (COLLECTING | DISTRIBUTING if self.partner[14] & IN_SYNC else 0)

    def is_heard(self):
        return time.monotonic() - self.heard < PARTNER_SECONDS + 27  # Weir's end sends each 30 seconds if it likes

    def send(self):
        actor = struct.pack("!H6sHHHB", 0x8000, SYSTEM, 1, 0x80, self.number, self.state())
        pdu = b"\x01\x01" + b"\x01\x14" + actor + bytes(3) + b"\x02\x14" + self.partner + bytes(3) + b"\x03\x10" + bytes(14) + b"\x00\x00" + bytes(50)
        source = self.socket.getsockname()[4]
        try:
            self.socket.send(SLOW + source + b"\x88\x09" + pdu)
        except OSError:  # the link is down
            self.heard = 0.0

    def receive(self):
        try:
            frame, where = self.socket.recvfrom(2048)
        except OSError:
            return
        if where[2] == socket.PACKET_OUTGOING or len(frame) < 110 or frame[14] != 1:
            return
        before = self.partner
        self.partner, self.heard = frame[18:33], time.monotonic()
        if self.partner != before:
            self.send()

    def tell(self):
        is_up = self.is_heard() and self.partner[14] & (COLLECTING | DISTRIBUTING) == COLLECTING | DISTRIBUTING
        if is_up != self.is_up:
            self.is_up = is_up
            print(self.name, "up" if is_up else "down", flush=True)


def main():
    ports = [Port(i + 1, name) for i, name in enumerate(sys.argv[1:])]
    selector = selectors.DefaultSelector()
    for port in ports:
        selector.register(port.socket, selectors.EVENT_READ, port)
    due = 0.0
    while True:
        for key, _ in selector.select(0.1):
            key.data.receive()
        if time.monotonic() >= due:
            due = time.monotonic() + 1
            for port in ports:
                port.send()
        for port in ports:
            port.tell()


if __name__ == "__main__":
    main()
