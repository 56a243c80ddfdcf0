#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the smoke tests: every function test_* of test_*.py in this folder, as root.

    tests/smoke/run.py --build BUILD [--sanitizers] [--only PART_OF_A_NAME] [--long]

A test takes a function rig(**options) that gives a Rig. One marked @not_sanitized
is left out of sanitizer runs, one marked @long of all but --long runs; both
are then not counted. One that raises Skipped is counted as such. The last line is "N passed, N failed, N skipped".
"""
import argparse
import functools
import importlib
import pathlib
import signal
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import rig as rig_module  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--sanitizers", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    make = functools.partial(rig_module.Rig, args.build, sanitizers=args.sanitizers)
    passed = failed = skipped = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves the with-blocks: nothing stays behind
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, fn in vars(module).items():
            if not name.startswith("test_") or args.only not in f"{path.stem}.{name}":
                continue
            if (args.sanitizers and getattr(fn, "not_sanitized", False)) or (getattr(fn, "long", False) and not args.long):
                continue
            began = time.monotonic()
            try:
                fn(make)
            except rig_module.Skipped as e:
                skipped += 1
                print(f"skip  {path.stem}.{name}: {e}", flush=True)
            except Exception:  # a test may fail in any way
                failed += 1
                traceback.print_exc(file=sys.stdout)
                print(f"FAIL  {path.stem}.{name} ({time.monotonic() - began:.1f} s)", flush=True)
            else:
                passed += 1
                print(f"ok    {path.stem}.{name} ({time.monotonic() - began:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 and passed + skipped > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
