#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the smoke tests: every function test_* of test_*.py in this folder, as root.

    tests/smoke/run.py --build BUILD [--sanitizers] [--only PART_OF_A_NAME]... [--long] [--jobs N]

A test takes a function rig(**options) that gives a Rig. What is said of it are attributes of its function:

    not_sanitized   left out of sanitizer runs, and not counted
    long            left out of all but --long runs, and not counted
    alone           beside no other test: it needs a core of its own, or what there is one of in this machine (@alone)
    group           tests of one name run in one process, for they share something that is costly, or that they change
    seconds         about how long it takes, if that is long: the longest begin first (@takes)

With --jobs N, tests run in N lanes (lanes.py): processes, each with one test at a time. Behind them come, one after another,
those that are alone. A test's output, and the line that says how it ended, come in one piece when it has ended.

A test that raises Skipped is counted as such. The last line is "N passed, N failed, N skipped".

A machine with other work makes a test fail now and then that is right. So a test that failed may be run a second time, but
for SECOND_TRIES tests of a run only, and never where a program ended or a sanitizer found something; with lanes, when they have
ended. Each is named, with what its first try said, and the line before the last one says how many there were.
"""
import argparse
import collections
import functools
import importlib
import pathlib
import sys
import time
import traceback

SECOND_TRIES = 2
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import lanes  # noqa: E402
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


def tests(args):
    """{full name: function} of those that are asked for."""
    found = {}
    for path in sorted(HERE.glob("test_*.py")):
        for name, fn in vars(importlib.import_module(path.stem)).items():
            full = f"{path.stem}.{name}"
            if not name.startswith("test_") or not any(part in full for part in args.only or [""]):
                continue
            if (args.sanitizers and getattr(fn, "not_sanitized", False)) or (getattr(fn, "long", False) and not args.long):
                continue
            found[full] = fn
    return found


def units_of(found):
    """The names of {name: function}, those of a group together, the longest first."""
    units = collections.defaultdict(list)
    for name, fn in found.items():
        units[getattr(fn, "group", name)].append(name)
    return sorted(units.values(), key=lambda unit: -sum(getattr(found[name], "seconds", 1) for name in unit))


class Run:
    """How the tests ended so far."""

    def __init__(self, found, make):
        self.found, self.make = found, make
        self.count = collections.Counter()
        self.again = []  # names of the tests that are, or were, run a second time

    def attempt(self, name):
        return attempt(name, self.found[name], self.make)

    def may_run_again(self, outcome):
        return outcome == "FAIL" and len(self.again) < SECOND_TRIES and not rig_module.crashes

    def tell(self, name, outcome, seconds):
        self.count[outcome] += 1
        if outcome != "skip":
            print(f"{outcome:4}  {name} ({seconds:.1f} s)", flush=True)

    def in_lanes(self, n, units):
        first_tries = {}
        for result in lanes.run(n, units, self.attempt):
            print(result.text, end="", flush=True)
            rig_module.crashes.update(result.crashes)
            if self.may_run_again(result.outcome):
                print(f"     {result.name} failed, and is run a second time behind the lanes", flush=True)
                self.again.append(result.name)
                first_tries[result.name] = result.seconds
            else:
                self.tell(result.name, result.outcome, result.seconds)
        for name, seconds in first_tries.items():
            began = time.monotonic()
            if rig_module.crashes:  # since then
                self.again.remove(name)
                self.tell(name, "FAIL", seconds)
            else:
                self.tell(name, self.attempt(name), seconds + time.monotonic() - began)

    def one_by_one(self, names):
        for name in names:
            began = time.monotonic()
            outcome = self.attempt(name)
            if self.may_run_again(outcome):
                print(f"     {name} failed, and is run a second time", flush=True)
                self.again.append(name)
                outcome = self.attempt(name)
            self.tell(name, outcome, time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--sanitizers", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", action="append", metavar="PART_OF_A_NAME")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="tests that run side by side, each in a process of its own; those that need the machine for themselves "
                             "come one by one behind the others (default: 1, all one by one in the order of their names)")
    args = parser.parse_args()
    found = tests(args)
    run = Run(found, functools.partial(rig_module.Rig, args.build, sanitizers=args.sanitizers))
    lanes.end_at_sigterm()
    together = {name: fn for name, fn in found.items() if args.jobs > 1 and not getattr(fn, "alone", False)}
    run.in_lanes(args.jobs, units_of(together))
    run.one_by_one(name for name in found if name not in together)
    if run.again:
        print(f"     run a second time: {len(run.again)} ({', '.join(run.again)})", flush=True)
    passed, failed, skipped = (run.count[outcome] for outcome in ("ok", "FAIL", "skip"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 and passed + skipped > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
