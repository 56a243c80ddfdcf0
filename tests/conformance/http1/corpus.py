# SPDX-License-Identifier: Apache-2.0
"""Reads the cases of this folder; README.md says how they are written. Knows nothing of who is tested."""
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
PENDING, EXPLAINED = "pending.txt", "explained.txt"  # lists of names with reasons, not of cases
VERDICTS = {"forwarded": 2, "refused": 2, "answered": 1, "interim": 1, "nothing": 0, "cut": 0, "kept": 0, "closed": 0}


class Malformed(Exception):
    """A line of the corpus that means nothing."""


class Expected:
    """One '=' line and the conditions under it: (kind, text) with kind '+', '-', 'body', 'trailer'."""

    def __init__(self, kind, args):
        self.kind, self.args, self.conditions = kind, args, []


class Case:
    """client: pieces of bytes and ('wait', status); server: answers, one for each request; ends: '=' lines."""

    def __init__(self, theme, name, source):
        self.theme, self.name, self.source = theme, name, source
        self.client, self.server, self.server_closes, self.expected = [], [], False, []
        self.state = None  # 'kept' or 'closed'

    def is_refused(self):
        return any(e.kind == "refused" for e in self.expected)

    def end(self):
        """How the connection is afterwards."""
        if self.state:
            return self.state
        return "closed" if self.is_refused() or any(e.kind in ("nothing", "cut") for e in self.expected) else "kept"

    def bytes(self):
        return b"".join(p for p in self.client if isinstance(p, bytes))


def unescape(text):
    r"""\r \n \t \\ \{ \xNN and {text*count} to bytes."""
    out, i = bytearray(), 0
    while i < len(text):
        c = text[i]
        if c == "\\":
            m = re.match(r"\\(?:x([0-9a-fA-F]{2})|([rntz\\{]))", text[i:])
            if not m:
                raise Malformed(f"escape at {text[i:i + 8]!r}")
            out += bytes([int(m[1], 16)]) if m[1] else {"r": b"\r", "n": b"\n", "t": b"\t", "z": b"", "\\": b"\\", "{": b"{"}[m[2]]
            i += m.end()
        elif c == "{":
            m = re.match(r"\{((?:[^\\{}]|\\.)+)\*(\d+)\}", text[i:])
            if not m:
                raise Malformed(f"repetition at {text[i:i + 12]!r}")
            out += unescape(m[1]) * int(m[2])
            i += m.end()
        else:
            out += c.encode("latin1")
            i += 1
    return bytes(out)


def read_line(case, line):
    sign, _, rest = line.partition(" ")
    if sign == ">":
        case.client.append(unescape(rest))
    elif sign == "~":
        case.client.append(("wait", int(rest)))
    elif sign == "<":
        case.server.append(unescape(rest))
    elif sign == "<close":
        case.server_closes = True
    elif sign == "=":
        kind, *args = rest.split(" ")
        if kind not in VERDICTS or len(args) < VERDICTS[kind]:
            raise Malformed("unknown verdict")
        if kind in ("kept", "closed"):
            case.state = kind
        else:
            case.expected.append(Expected(kind, [unescape(a).decode("latin1") for a in args]))
    elif line.startswith("  ") and case.expected:
        kind, _, text = line.strip().partition(" ")
        if kind not in ("+", "-", "body", "trailer"):
            raise Malformed("unknown condition")
        case.expected[-1].conditions.append((kind, unescape(text)))
    else:
        raise Malformed("unknown line")


def read_text(text, theme):
    cases = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            if line.startswith("== "):
                name, bar, source = line[3:].partition(" | ")
                if not bar or not source.strip() or not re.fullmatch(r"[a-z0-9_]+", name):
                    raise Malformed("'== name | source' is wanted")
                cases.append(Case(theme, name, source))
            elif not cases:
                raise Malformed("a line before the first case")
            else:
                read_line(cases[-1], line)
        except Malformed as e:
            raise Malformed(f"{theme}:{number}: {e}") from None
    return cases


def read_all(folder=HERE):
    """All cases. Two of one name, or of the same bytes both ways, are an error: each must test something of its own."""
    names, contents, out = {}, {}, []
    for path in sorted(folder.glob("*.txt")):
        if path.name in (PENDING, EXPLAINED):
            continue
        for case in read_text(path.read_text(), path.stem):
            content = (tuple(case.client), tuple(case.server), case.server_closes)
            for seen, key in ((names, case.name), (contents, content)):
                if key in seen:
                    raise Malformed(f"{case.theme}: {case.name} is {seen[key]} again")
                seen[key] = case.name
            if not case.expected or not case.client:
                raise Malformed(f"{case.theme}: {case.name} sends or expects nothing")
            out.append(case)
    return out


def read_reasons(path):
    """{name: reason}"""
    out = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, bar, reason = line.partition(" | ")
            if not bar or not reason or name in out:
                raise Malformed(f"{path.name}: {line!r}")
            out[name] = reason
    return out


def read_pending(folder=HERE):
    return read_reasons(folder / PENDING)
