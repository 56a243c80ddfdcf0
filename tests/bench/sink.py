#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Downloads over some connections at once, each for a time, and prints what came as JSON.

    sink.py SPEC        SPEC is JSON: {"seconds", "interval_ms", "content", "path", "flows": [{"addr", "port", "local_port",
                        "start_ms"}, ...]}

content is the file that the path gives: every byte that comes is compared with it, by digest. A connection that has got it
all asks again. Its time begins with the first byte of its first response. The sockets are read each 0.3 ms: more often would cost
more than the packets do, less often would make the kernel acknowledge only when they are read, many packets at once.
"""
import hashlib
import json
import mmap
import select
import socket
import sys
import time

PATIENCE_S = 20  # until the first byte
TURN_S = 0.0003
LOOK_S = 0.005  # at what is due by time
buffer = bytearray(1 << 18)
view = memoryview(buffer)


class Flow:
    def __init__(self, spec, path, content):
        self.spec, self.path, self.content = spec, path, content
        self.sock = None
        self.head = b""
        self.in_body = False
        self.error = None
        self.first_s = None  # of the first byte
        self.done = 0        # bytes of responses that are complete
        self.n = 0           # bytes of this one
        self.digest = hashlib.sha256()
        self.series = []     # bytes at each interval

    def total(self):
        return self.done + self.n

    def open(self):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.setblocking(False)
        self.sock.bind(("", self.spec["local_port"]))
        self.sock.connect_ex((self.spec["addr"], self.spec["port"]))

    def ask(self):
        self.sock.send(f"GET {self.path} HTTP/1.1\r\nHost: {self.spec['host']}\r\n\r\n".encode())

    def close(self):
        self.sock.close()
        self.check()

    def check(self):
        if self.n and self.digest.digest() != hashlib.sha256(self.content[:self.n]).digest():
            self.error = self.error or f"wrong bytes among the first {self.n} of a response"

    def take_head(self, data):
        """The bytes of the body that follow the head in data."""
        self.head += data
        head, blank, body = self.head.partition(b"\r\n\r\n")
        if not blank:
            return b""
        lines = head.lower().split(b"\r\n")
        if not lines[0].startswith(b"http/1.1 200") or f"content-length: {len(self.content)}".encode() not in lines:
            self.error = f"answered {head[:200]!r}"
            return b""
        self.head, self.in_body = b"", True
        return body

    def take_body(self, data):
        self.digest.update(data)
        self.n += len(data)
        if self.n > len(self.content):
            self.error = "more bytes than the length said"
        elif self.n == len(self.content):
            self.check()
            self.done += self.n
            self.n, self.in_body, self.digest = 0, False, hashlib.sha256()
            self.ask()

    def read(self, now):
        """Takes what is there. False when the connection is over."""
        for _ in range(16):
            try:
                n = self.sock.recv_into(buffer)
            except BlockingIOError:
                return True
            except OSError as e:
                self.error = str(e)
                return False
            if n == 0:
                self.error = "closed by the peer"
                return False
            if self.first_s is None:
                self.first_s = now
            if self.in_body:
                self.take_body(view[:n])
            else:
                body = self.take_head(bytes(view[:n]))
                if body:
                    self.take_body(body)
            if self.error:
                return False
        return True


class Sink:
    def __init__(self, spec):
        self.seconds, self.interval_s = spec["seconds"], spec["interval_ms"] / 1000
        with open(spec["content"], "rb") as f:
            content = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        self.flows = [Flow(f, spec["path"], content) for f in spec["flows"]]
        self.epoll = select.epoll()
        self.by_fd = {}
        self.waiting = sorted(self.flows, key=lambda f: f.spec["start_ms"])
        self.connecting = set()

    def end(self, flow):
        del self.by_fd[flow.sock.fileno()]
        self.epoll.unregister(flow.sock)
        flow.close()

    def on_event(self, flow, event, now):
        if flow in self.connecting and event & select.EPOLLOUT:
            self.connecting.discard(flow)
            error = flow.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                flow.error = f"connect: error {error}"
                self.end(flow)
                return
            flow.ask()
            self.epoll.modify(flow.sock, select.EPOLLIN)
        elif not flow.read(now):
            self.end(flow)

    def open_due(self, now):
        while self.waiting and now - self.began >= self.waiting[0].spec["start_ms"] / 1000:
            flow = self.waiting.pop(0)
            flow.open()
            flow.opened_s = now
            self.by_fd[flow.sock.fileno()] = flow
            self.connecting.add(flow)
            self.epoll.register(flow.sock, select.EPOLLOUT)

    def end_due(self, now):
        for flow in list(self.by_fd.values()):
            if flow.first_s is None and now - flow.opened_s > PATIENCE_S:
                flow.error = f"no answer within {PATIENCE_S} s"
                self.end(flow)
            elif flow.first_s is not None and now - flow.first_s >= self.seconds:
                flow.last_s = now
                self.end(flow)

    def run(self):
        began = self.began = time.monotonic()
        next_s = look_s = last = began
        asleep_s = 0  # the longest time between two turns
        while self.waiting or self.by_fd:
            now = time.monotonic()
            asleep_s = max(asleep_s, now - last)
            last = now
            for fd, event in self.epoll.poll(0):
                self.on_event(self.by_fd[fd], event, now)
            if now >= look_s:
                look_s = now + LOOK_S
                self.open_due(now)
                self.end_due(now)
            while now >= next_s:
                for flow in self.flows:
                    flow.series.append(flow.total())
                next_s += self.interval_s
            time.sleep(TURN_S)
        return [{"bytes": f.total(), "seconds": getattr(f, "last_s", 0) - f.first_s if f.first_s and not f.error else 0,
                 "first_s": f.first_s - began if f.first_s else None, "error": f.error, "series": f.series, "asleep_s": asleep_s,
                 **f.spec} for f in self.flows]


if __name__ == "__main__":
    json.dump(Sink(json.loads(sys.argv[1])).run(), sys.stdout)
