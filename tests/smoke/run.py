#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the smoke tests: every function test_* of test_*.py in this folder, as root.

    tests/smoke/run.py --build BUILD [--sanitizers] [--only PART_OF_A_NAME]... [--long]

A test takes a function rig(**options) that gives a Rig. One marked @not_sanitized
is left out of sanitizer runs, one marked @long of all but --long runs; both
are then not counted. One that raises Skipped is counted as such. The last line is "N passed, N failed, N skipped".

A machine with other work makes a test fail now and then that is right. So a test that failed may be run a second time, but
for SECOND_TRIES tests of a run only, and never where a program ended or a sanitizer found something. Each is named, with what
its first try said, and the line before the last one says how many there were.
"""
import argparse
import functools
import importlib
import pathlib
import signal
import sys
import time
import traceback

SECOND_TRIES = 2
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import rig as rig_module  # noqa: E402


def attempt(full, fn, make):
    """One try of a test: "ok", "skip" or "FAIL"."""
    try:
        fn(make)
    except rig_module.Skipped as e:
        print(f"skip  {full}: {e}", flush=True)
        return "skip"
    except Exception:  # a test may fail in any way
        traceback.print_exc(file=sys.stdout)
        return "FAIL"
    return "ok"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--sanitizers", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", action="append")
    args = parser.parse_args()
    make = functools.partial(rig_module.Rig, args.build, sanitizers=args.sanitizers)
    passed = failed = skipped = 0
    again = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves the with-blocks: nothing stays behind
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, fn in vars(module).items():
            if not name.startswith("test_") or not any(part in f"{path.stem}.{name}" for part in args.only or [""]):
                continue
            if (args.sanitizers and getattr(fn, "not_sanitized", False)) or (getattr(fn, "long", False) and not args.long):
                continue
            began = time.monotonic()
            full = f"{path.stem}.{name}"
            outcome = attempt(full, fn, make)
            if outcome == "FAIL" and len(again) < SECOND_TRIES and not rig_module.crashes:
                print(f"     {full} failed, and is run a second time", flush=True)
                again.append(full)
                outcome = attempt(full, fn, make)
            passed += outcome == "ok"
            failed += outcome == "FAIL"
            skipped += outcome == "skip"
            if outcome != "skip":
                print(f"{outcome:4}  {full} ({time.monotonic() - began:.1f} s)", flush=True)
    if again:
        print(f"     run a second time: {len(again)} ({', '.join(again)})", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 and passed + skipped > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
