#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is the generator fast enough? Its own rate back to back, against what it measures.

    tests/bench/self.py --build BUILD

Back to back: the clients on one memif port, the origin on another, both ends of
the same memif in one process on one core; so it does for each request all that it
does with the proxy between, and both ends of the memory copies. By turns with the
proxy. Where others use the cores too, the rates for a second of CPU time are what
can be compared.
"""
import json
import os
import subprocess
import tempfile

from bench import ORIGIN, ORIGIN_PORT, Bench, arguments, expect_clean, frame_buffers, main_of, print_table, spread, write_json


def back_to_back(args, size):
    with tempfile.TemporaryDirectory(prefix=f"weir-bench{os.getpid()}-") as d:
        p = subprocess.run([f"{args.build}/tests/bench/blast/weir-blast", "--core", "1", "-o", "json", "--slots", "65536", "--descriptors", "2048",
                            "--mtu", str(args.mtu),
                            "--port", f"net_memif0,role=server,socket={d}/s,rsize=11", "--port", f"net_memif1,role=client,socket={d}/s,rsize=11{frame_buffers(args.mtu)}",
                            "--target", f"{ORIGIN}:{ORIGIN_PORT}", f"connect n={args.active}",
                            f"load seconds={args.seconds} active={args.active} size={size}"], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(p.stdout.splitlines()[-1])


def through_weir(args, size):
    with Bench(args.build, idle_us=args.idle_us, mtu=args.mtu) as b:
        b.phase(f"connect n={args.active}")
        return b.measure(f"load seconds={args.seconds} active={args.active} size={size}")


def main():
    args = arguments(__doc__, active=(int, 256, "connections in use"), mtu=(int, 1500, "of the memif"),
                     sizes=(str, "0,1024,65536", "bytes of bodies"), seconds=(float, 2.0, "of each measurement"),
                     rounds=(int, 3, "repetitions"))
    results = []
    rows = []
    for size in map(int, args.sizes.split(",")):
        own, with_weir = [], []
        for _ in range(args.rounds):
            own.append(back_to_back(args, size))
            with_weir.append(through_weir(args, size))
            expect_clean(own[-1], "back to back")
            expect_clean(with_weir[-1], "through Weir")
        own_rate = [r["responses"] / r["cpu_seconds"] for r in own]
        weir_rate = [r["tsc_hz"] / r["weir"]["cycles_per_request"] for r in with_weir]
        rows.append([size, spread([r["requests_per_second"] for r in own], 0), spread([r["requests_per_second"] for r in with_weir], 0),
                     spread(own_rate, 0), spread(weir_rate, 0), spread([a / b for a, b in zip(own_rate, weir_rate)], 1)])
        results.append({"size": size, "back_to_back": own, "through_weir": with_weir})
    print_table(["body bytes", "back to back, requests/s", "through Weir, requests/s", "back to back, for a second of CPU time",
                 "Weir's worker, for a busy second of CPU time", "ratio"], rows)
    write_json(args, results)


main_of(main)
