#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first inputs of fuzz_tcp: small plays that each reach a part of the stack.

    tests/fuzz/make_tcp_corpus.py tests/fuzz/corpus/tcp
"""
import pathlib
import struct
import sys

ADVANCE, SEGMENT, POLITE, ESTABLISH, SEND, READ, END, ICMP, FAMINE, LISTEN, RAW = range(11)
US, MS1, MS40, MS200, S1, S3, S20, S70 = 1, 3, 5, 6, 7, 8, 9, 10  # steps of time
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SACK_TS_WSCALE = 2 | 4 | 8 | 7 << 4


def advance(step):
    return bytes([ADVANCE, step])


def segment(flags=ACK, slot=0, bases=0, seq=0, ack=0, wnd=65535, length=0, sack=(), more=0, syn=None):
    head = struct.pack("<BBBBBhhHH", SEGMENT, slot, bases, more, flags, seq, ack, wnd, length)
    if flags & SYN:
        bits, mss, wscale = syn or (7, 1460, 7)
        return head + struct.pack("<BHB", bits, mss, wscale)
    return head + bytes([len(sack)]) + b"".join(struct.pack("<hh", *s) for s in sack)


def polite(length=0, slot=0):
    return struct.pack("<BBH", POLITE, slot, length)


def establish(bits=SACK_TS_WSCALE, slot=0, iss=5):
    return struct.pack("<BBBH", ESTABLISH, slot, bits, iss) + (b"\x01" if bits & 1 else b"")


def send(n, slot=0):
    return struct.pack("<BBH", SEND, slot, n)


def read(n=60000, slot=0, mbufs=0):
    return struct.pack("<BBBH", READ, slot, mbufs, n)


def end(how, slot=0):
    return bytes([END, slot, how])


SHUTDOWN, CLOSE, ABORT = range(3)

PLAYS = {
    "request_and_answer": establish() + polite(300) + read() + send(5000) + advance(MS1) + polite() + advance(MS1) + polite(),
    "opened_by_stack": establish(SACK_TS_WSCALE | 1) + send(800) + polite() + polite(1200) + read(mbufs=1) + end(CLOSE),
    "loss_told_by_sack": establish() + send(12000) + segment(ack=-32767, bases=4, sack=[(1448, 1448)]) +
    segment(bases=4, sack=[(1448, 4344)]) + segment(bases=4, sack=[(1448, 7240)]) + advance(MS40) + polite() + advance(S1),
    "loss_told_by_duplicates": establish(0) + send(9000) + segment(bases=4) * 4 + advance(MS200) + polite(),
    "timeout": establish() + send(3000) + advance(S1) + advance(S3) + polite() + advance(S20),
    "gaps": establish() + segment(seq=1000, length=500) + segment(seq=3000, length=500) + segment(seq=2000, length=500) +
    segment(seq=0, length=1000) + segment(seq=1500, length=1500) + read(),
    "overlaps": establish() + segment(seq=100, length=300) + segment(seq=50, length=700) + segment(seq=-20, length=90) + read(mbufs=1),
    "window_shuts": establish(0) + send(9000) + segment(bases=4, wnd=0) + advance(S1) + segment(wnd=0) + advance(S20) + polite(),
    "reader_stops": establish() + b"".join(polite(1400) for _ in range(13)) + advance(MS200) + read() * 12 + polite(1400),
    "peer_closes": establish() + polite(10) + segment(FIN | ACK) + read() + end(CLOSE) + polite() + advance(S3),
    "stack_closes": establish() + send(100) + end(SHUTDOWN) + polite() + polite(50) + read() + segment(FIN | ACK) + advance(S20),
    "both_close": establish() + end(CLOSE) + segment(FIN | ACK, ack=-1) + polite() + advance(S20),
    "closed_with_data_unread": establish() + polite(500) + end(CLOSE),
    "early_fin": establish() + segment(FIN | ACK, seq=100, length=50) + segment(length=100) + read() + end(CLOSE),
    "reset": establish() + segment(RST) + establish(slot=1) + segment(RST, slot=1, seq=5) + end(ABORT, 1),
    "second_syn": establish() + segment(SYN) + segment(SYN | ACK) + polite(10),
    "bare_syns": b"".join(segment(SYN, slot=i % 3, bases=2, seq=i) for i in range(9)) + advance(S3),
    "time_wait_reopened": establish() + end(CLOSE) + segment(FIN | ACK) + segment(SYN, bases=2, seq=9000) + polite(),
    "too_big": establish() + send(9000) + struct.pack("<BBBhH", ICMP, 0, 1, 0, 700) + advance(MS40) + polite(),
    "unreachable": struct.pack("<BBBH", ESTABLISH, 0, 1, 5) + b"\x02" + struct.pack("<BBBhH", ICMP, 0, 0, 0, 0),
    "famine": establish() + bytes([FAMINE, 3]) + send(4000) + polite(100) + advance(MS200) + bytes([FAMINE, 0]) + advance(S1) + polite(),
    "listener_goes": segment(SYN, bases=2) + bytes([LISTEN, 1, 0]) + establish(slot=1) + bytes([LISTEN, 2, 1]) + segment(SYN, slot=2, bases=2),
    "raw": establish() + bytes([RAW, 0, 30]) + bytes(range(50)),
    "keep_alive": establish() + advance(S3) + advance(S3) + polite() + advance(S70),
    "marked": establish() + polite(10) + segment(length=700, more=8) + send(1000) + segment(ACK | 0x40, bases=0) + send(2000) + advance(MS40),
    "three_at_once": b"".join(establish(slot=i, iss=i) + send(2000, i) for i in range(3)) + advance(MS40) +
    b"".join(polite(100, i) + read(50, i) for i in range(3)) + b"".join(end(i, i) for i in range(3)) + advance(S20),
    "split_mbufs": establish() + segment(length=1200, more=4) + bytes([128]) + segment(seq=2400, length=1200, more=4) + bytes([20]) + read(mbufs=1),
}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, play in PLAYS.items():
        for kind in (0x01, 0x3f):
            (folder / f"{name}_{kind:02x}").write_bytes(bytes([kind]) + play)


if __name__ == "__main__":
    main()
