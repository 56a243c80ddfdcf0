#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Steady traffic, until a file is there: each of some clients asks at its own pace, and every answer is judged.

    steady.py ADDRESS HOST STOP_FILE [--clients N] [--gap SECONDS] [--method GET,POST]

A client keeps its connection for 20 requests. Its last line is JSON: {"ok": N, "failed": [[seconds since the start, method,
what came], ...], "pods": {name: answers}}. A request that the client sent on a kept connection which the server closes in
that moment is the client's to repeat (RFC 9112 9.3.1): once, on a new connection, and only if nothing came of an answer."""
import argparse
import http.client
import json
import pathlib
import threading
import time


class Client(threading.Thread):
    def __init__(self, args, methods, began):
        super().__init__(daemon=True)
        self.args, self.methods, self.began = args, methods, began
        self.ok, self.failed, self.pods, self.slowest, self.repeated = 0, [], {}, 0.0, 0
        self.connection, self.asked = None, 0

    def ask(self, method):
        """(status, body) of a request."""
        body = b"x" * 300 if method == "POST" else None
        is_kept = self.connection is not None
        if not is_kept:
            self.connection = http.client.HTTPConnection(self.args.address, 80, timeout=30)
            self.asked = 0
        self.asked += 1
        try:
            self.connection.request(method, "/steady", body, {"Host": self.args.host})
            answer = self.connection.getresponse()
        except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected):
            self.connection.close()
            self.connection = None
            if not is_kept:
                raise
            self.repeated += 1
            return self.ask(method)
        data = answer.read()
        if answer.will_close or self.asked == 20:
            self.connection.close()
            self.connection = None
        return answer.status, data

    def run(self):
        n = 0
        while not pathlib.Path(self.args.stop).exists():
            method, t0 = self.methods[n % len(self.methods)], time.monotonic()
            n += 1
            try:
                status, body = self.ask(method)
                if status != 200:
                    raise ValueError(f"{status} {body[:100]!r}")
                pod = json.loads(body)["pod"]
                self.pods[pod] = self.pods.get(pod, 0) + 1
                self.ok += 1
            except Exception as e:  # whatever it is, it is a request that failed
                self.failed.append([round(t0 - self.began, 3), method, f"{type(e).__name__}: {e}"])
                if self.connection:
                    self.connection.close()
                self.connection = None
            self.slowest = max(self.slowest, time.monotonic() - t0)
            time.sleep(max(self.args.gap - (time.monotonic() - t0), 0))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("host")
    parser.add_argument("stop")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--gap", type=float, default=0.04)
    parser.add_argument("--method", default="GET,POST")
    args = parser.parse_args()
    began = time.monotonic()
    clients = [Client(args, args.method.split(","), began) for _ in range(args.clients)]
    for c in clients:
        c.start()
        time.sleep(args.gap / args.clients)
    for c in clients:
        c.join()
    pods = {}
    for c in clients:
        for name, n in c.pods.items():
            pods[name] = pods.get(name, 0) + n
    print(json.dumps({"ok": sum(c.ok for c in clients), "failed": sorted(f for c in clients for f in c.failed), "pods": pods,
                      "slowest": round(max(c.slowest for c in clients), 3), "repeated": sum(c.repeated for c in clients)}))


if __name__ == "__main__":
    main()
