# SPDX-License-Identifier: Apache-2.0
"""weir-blast against its own origin over a ring that loses 1 %: nothing is lost for good, nothing is wrong. check_loop.py PROGRAM"""
import json
import subprocess
import sys

PHASES = ["connect n=300", "load seconds=0.5 warmup=0 active=200 size=0,1000,40000", "load seconds=0.5 warmup=0 active=100 rate=2000",
          "load seconds=0.5 warmup=0 active=0 shots=50 timeout=30", "hold seconds=0.1", "close n=0"]
p = subprocess.run([sys.argv[1], "--port", "net_ring0", "--target", "10.1.0.16:8080", "--core", "0", "--slots", "20000", "--memory", "300",
                    "--idle-us", "50", "--drop", "10000", "-o", "json", *PHASES], capture_output=True, text=True, timeout=120)
if p.returncode != 0:
    sys.exit(f"ended with {p.returncode}: {p.stderr}")
reports = [json.loads(line) for line in p.stdout.splitlines()]
connect, closed, rate, shots, hold, close = reports
wrong = [r for r in reports if r["errors"]]
if wrong:
    sys.exit(f"errors: {wrong}")
checks = {
    "all are opened": connect["connections"] == 300,
    "requests are answered": closed["requests"] > 200 and closed["responses"] == closed["requests_at_origin"] >= closed["requests"],
    # On a loaded machine not all of it could be sent: then it is told.
    "what was due is answered or told": rate["responses"] + rate["not_sent"] >= 1000 and rate["responses"] > 100
                                        and rate["latency_us"]["p99"] >= rate["latency_us"]["p50"],
    "each shot is answered": shots["new"]["begun"] == shots["new"]["good"] > 50 and shots["new"]["failed"] == 0,
    "none is lost": hold["lost"] == 0,
    "all are closed": close["connections"] == 0,
    "frames were lost": sum(r["dropped_on_purpose"] for r in reports) > 20,
    "and sent again": sum(r["retransmits"] for r in reports) > 20,
}
failed = [name for name, ok in checks.items() if not ok]
if failed:
    sys.exit(f"not so: {failed}\n" + p.stdout)
