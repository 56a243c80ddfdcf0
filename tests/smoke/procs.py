# SPDX-License-Identifier: Apache-2.0
"""What every rig does with its programs: how they are asked, how they end, what they wrote, and what the sanitizers found."""
import os
import pathlib
import signal
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


class NoAnswer(Exception):
    """Who was asked is not there, or not yet: what waits for an answer goes on to wait."""


def debian_has_h2o():
    """Debian 12 has the package, Debian 13 has not."""
    release = pathlib.Path("/etc/os-release")
    return not release.exists() or 'VERSION_ID="13"' not in release.read_text()


def sanitizer_env():
    """The environment of a program that may have been built with sanitizers: it ends at what they find."""
    return dict(os.environ, ASAN_OPTIONS="detect_leaks=1:halt_on_error=1", UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1",
                LSAN_OPTIONS=f"print_suppressions=0:suppressions={HERE}/lsan.supp")


def end_process(p, seconds=60, sig=signal.SIGTERM):
    """Sends a signal to a program, unless it has ended, and returns its exit status. Who stays longer is killed."""
    if p.poll() is None:
        p.send_signal(sig)
    try:
        return p.wait(seconds)
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait(60)
        return "a timeout"


def show_logs(folder, patterns=("*.log",), file=None):
    """Prints the end of each log in a folder that is not empty."""
    for pattern in patterns:
        for log in sorted(folder.glob(pattern)):
            text = log.read_text(errors="replace")
            if text:
                print(f"--- {log.name}\n{text[-4000:]}", file=file, flush=True)


def sanitizer_reports(folder):
    """What the sanitizers wrote to the logs in a folder: a text for each log that has something of them."""
    reports = []
    for log in sorted(folder.glob("*.log")):
        text = log.read_text(errors="replace")
        if "ERROR: AddressSanitizer" in text or "runtime error:" in text or "LeakSanitizer" in text:
            reports.append(f"sanitizer report in {log.name}:\n{text[-6000:]}")
    return reports
