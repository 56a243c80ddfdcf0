# SPDX-License-Identifier: Apache-2.0
"""Lanes: processes in which smoke tests run side by side. run.py decides what runs in them, and what is said of it.

A lane is a fork of the runner, which has imported all tests. It gets one name of a test at a time, and answers with a Result, in
which is all that the test, and what it started, wrote to standard output and error: no line of one test is amid those of another.
What tests share within a process (an authority's certificates, a Kubernetes) each lane has of its own, and drops when it ends.
"""
import atexit
import collections
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import time

import rig as rig_module

Result = collections.namedtuple("Result", "name outcome seconds text crashes")


def end_at_sigterm():
    """By an exception, which leaves the with-blocks: nothing stays behind. A second signal does not disturb that."""
    def end(*_):
        signal.signal(signal.SIGTERM, lambda *_: None)
        sys.exit(143)
    signal.signal(signal.SIGTERM, end)


def _text_of(output):
    return os.pread(output, os.fstat(output).st_size, 0).decode(errors="replace")


def _serve(connection, attempt, output):
    """The life of a lane: attempt(name) for each name that comes, until the runner closes its end."""
    for fd in (1, 2):
        os.dup2(output, fd)
    while True:
        try:
            name = connection.recv()
        except EOFError:
            return
        os.ftruncate(output, 0)
        os.lseek(output, 0, os.SEEK_SET)
        known, began = set(rig_module.crashes), time.monotonic()
        outcome = attempt(name)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        connection.send(Result(name, outcome, time.monotonic() - began, _text_of(output), rig_module.crashes - known))


def _live(connection, number, attempt, output, others):
    """What is to be done at the end of this process is its own alone, not the runner's."""
    atexit._clear()
    for other in others:  # else a lane would not see that the runner has gone
        other.close()
    end_at_sigterm()
    signal.signal(signal.SIGINT, lambda *_: None)  # the runner gets it, too, and ends its lanes
    rig_module.begin_lane(number)
    try:
        _serve(connection, attempt, output)
    finally:
        atexit._run_exitfuncs()


class Lane:
    def __init__(self, number, attempt, lanes, unit=()):
        context = multiprocessing.get_context("fork")
        self.number, self.unit, self.name = number, collections.deque(unit), None
        self.connection, far = context.Pipe()
        self.output = tempfile.TemporaryFile()
        others = [self.connection, *(lane.connection for lane in lanes)]
        self.process = context.Process(target=_live, args=(far, number, attempt, self.output.fileno(), others))
        self.process.start()
        far.close()

    def next(self, units):
        """Begins its next test, or is told that there is none: False."""
        if not self.unit and units:
            self.unit.extend(units.popleft())
        if not self.unit:
            return False
        self.name, self.began = self.unit.popleft(), time.monotonic()
        self.connection.send(self.name)
        return True

    def result(self):
        """Of the test that has ended, or of the one with which the lane has."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            told = f"the lane of {self.name} ended with {self.process.exitcode}"
            text = _text_of(self.output.fileno()) + told + "\n"
            return Result(self.name, "FAIL", time.monotonic() - self.began, text, {told})

    def has_ended(self):
        return self.process.exitcode is not None

    def end(self):
        self.connection.close()
        self.process.join()
        self.output.close()


def run(n, units, attempt):
    """Runs units, which are lists of names: those of a unit one after another in one lane, the units side by side in n lanes, in
    the order of the list. Yields a Result for each, as it ends. A lane that ends by itself is a test that failed, and a crash."""
    units, lanes = collections.deque(units), []
    try:
        for number in range(min(n, len(units))):
            lanes.append(Lane(number, attempt, lanes))
            lanes[-1].next(units)
        while lanes:
            ready = multiprocessing.connection.wait([lane.connection for lane in lanes])
            for lane in [lane for lane in lanes if lane.connection in ready]:
                yield lane.result()
                if lane.has_ended():
                    lanes.remove(lane)
                    lane.end()
                    lane = Lane(lane.number, attempt, lanes, lane.unit)
                    lanes.append(lane)
                if not lane.next(units):
                    lanes.remove(lane)
                    lane.end()  # the others' tests go on meanwhile
    finally:
        for lane in lanes:
            lane.process.terminate()
        for lane in lanes:
            lane.end()
