#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/tcp-conformance.md from the scripts' headers: table.py [--check] ROOT PAGE

ROOT is tests/script. The result of a script is what its test holds it to: a
script of pending.txt must fail, every other must pass, in each of its passes.
With --check nothing is written; a page that differs is an error.
"""
import collections
import pathlib
import re
import sys

RFCS = {
    "1122": "Requirements for Internet hosts, TCP",
    "1191": "Path MTU discovery",
    "1337": "TIME-WAIT assassination hazards",
    "2018": "Selective acknowledgement options",
    "2525": "Known TCP implementation problems",
    "2883": "D-SACK",
    "3042": "Limited transmit",
    "3168": "Explicit congestion notification",
    "3522": "The Eifel detection algorithm",
    "3708": "Spurious retransmissions found by D-SACK",
    "4821": "Packetisation layer path MTU discovery",
    "4015": "The Eifel response algorithm",
    "4987": "SYN flooding and its mitigations",
    "5562": "ECN on SYN-ACK",
    "5681": "Congestion control",
    "5682": "F-RTO",
    "5927": "ICMP attacks against TCP",
    "5961": "Robustness against blind in-window attacks",
    "6056": "Port randomisation",
    "6093": "The urgent mechanism",
    "6191": "TIME-WAIT reduced by time stamps",
    "6298": "The retransmission timer",
    "6429": "Zero-window connections that stay",
    "6528": "Initial sequence numbers",
    "6582": "NewReno",
    "6675": "Loss recovery by SACK",
    "6691": "Options and the MSS",
    "6928": "Initial window of ten segments",
    "7323": "Window scale, time stamps, PAWS",
    "7413": "Fast Open",
    "8201": "Path MTU discovery for IPv6",
    "8311": "Relaxing restrictions on ECN",
    "8985": "RACK-TLP",
    "9293": "Transmission Control Protocol",
    "9406": "HyStart++",
    "9438": "CUBIC",
    "9937": "Proportional rate reduction",
}


class Script:
    def __init__(self, path, root):
        self.name = str(path.relative_to(root / "cases").with_suffix(""))
        self.refs, self.title, self.req = [], "", ""
        for m in re.finditer(r"^# (rfc|title|req): (.*)$", path.read_text(), re.M):
            if m[1] == "rfc":
                rfc, section = m[2].split()
                self.refs.append((rfc, section))
            else:
                setattr(self, m[1], m[2].strip())


def section_key(section):
    return [int(p) if p.isdigit() else 0 for p in re.split(r"[.]", section)]


def read_pending(root):
    pending = {}
    for line in (root / "pending.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, reason = line.split(" # ", 1)
            pending[name] = reason
    return pending


def tables(scripts, pending):
    by_rfc = collections.defaultdict(list)
    for s in scripts:
        for rfc, section in s.refs:
            by_rfc[rfc].append((section, s))
    for rfc in sorted(by_rfc, key=int):
        yield f"\n## RFC {rfc}: {RFCS[rfc]}\n"
        yield "| section | requirement | label | script | result |"
        yield "| --- | --- | --- | --- | --- |"
        for section, s in sorted(by_rfc[rfc], key=lambda e: (section_key(e[0]), e[1].name)):
            result = "not done" if s.name in pending else "pass"
            yield f"| {section} | {s.title} | {s.req} | `{s.name}` | {result} |"


def not_done(scripts, pending, root):
    titles = {s.name: s for s in scripts}
    yield "\n## What is not done\n"
    if pending:
        yield "Scripts that fail today, and must (`tests/script/pending.txt`):\n"
        yield "| RFC | requirement | script | what happens instead |"
        yield "| --- | --- | --- | --- |"
        for name, reason in sorted(pending.items()):
            s = titles[name]
            yield f"| {s.refs[0][0]} {s.refs[0][1]} | {s.title} | `{name}` | {reason} |"
        yield ""
    yield "Requirements that no script covers (`tests/script/elsewhere.txt`):\n"
    yield "| RFC | requirement | tested elsewhere, or why not done |"
    yield "| --- | --- | --- |"
    for line in (root / "elsewhere.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            yield "| " + " | ".join(p.strip() for p in line.split("|")) + " |"


def page(root):
    scripts = [Script(p, root) for p in sorted((root / "cases").rglob("*.tcp"))]
    pending = read_pending(root)
    yield "# TCP conformance\n"
    yield "Written by `tests/script/table.py` from the heads of the scripts in `tests/script/cases/`; a test keeps it current."
    yield "Each script runs over IPv4, over IPv6, and once more with sequence numbers and time stamps that wrap, in virtual time, against"
    yield "`dataplane/tcp` alone: `meson test -C BUILD --suite script`. The language is in [tcp-scripts.md](tcp-scripts.md).\n"
    yield f"{len(scripts)} scripts: {len(scripts) - len(pending)} pass, {len(pending)} are of what is not done (at the end of this page)."
    yield from tables(scripts, pending)
    yield from not_done(scripts, pending, root)


def main():
    args = [a for a in sys.argv[1:] if a != "--check"]
    root, out = pathlib.Path(args[0]), pathlib.Path(args[1])
    text = "\n".join(page(root)) + "\n"
    if "--check" not in sys.argv:
        out.write_text(text)
    elif out.read_text() != text:
        sys.exit(f"the page is not current: tests/script/table.py {root} {out}")


if __name__ == "__main__":
    main()
