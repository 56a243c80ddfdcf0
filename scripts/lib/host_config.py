# SPDX-License-Identifier: Apache-2.0
"""What weir.yaml needs of the host.

weir-dataplane itself says it where it is installed (--print-needs), and is the judge of what is wrong with the file. On a machine
without it a small reader takes the few keys from the file: it knows block and flow style, quotes and comments, nothing else of YAML.
"""
import json
import re
import shutil
import subprocess

PCI = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")
WORKER_MB, MAIN_MB = 512, 128  # what pools of the default sizes need, about


class ConfigError(Exception):
    """weir.yaml is wrong, or cannot be read. The text says where."""


class Needs:
    """pci: addresses; cores; main_core: None if any; memory_mb, a guess if is_estimate; hugepages; idle: how far workers rest; offload."""

    def __init__(self, said, is_estimate=False):
        self.pci = [a.lower() for a in said["pci"]]
        self.cores = said["cores"]
        self.main_core = said["main_core"]
        self.idle = said["idle"]
        self.hugepages = said["hugepages"]
        self.memory_mb = said["memory_mb"]
        self.offload = said["offload"]
        self.is_estimate = is_estimate


def needs_of(path):
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: {getattr(e, 'strerror', None) or 'it is no text'}") from e
    if shutil.which("weir-dataplane"):
        done = subprocess.run(["weir-dataplane", "--print-needs", "-c", path], capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return Needs(json.loads(done.stdout))
        if done.returncode == 2:
            raise ConfigError(done.stderr.strip())
    return read_needs(text, path)


# ---- the small reader

class Lines:
    """Those of a file that say something, as (number, indentation, text)."""

    def __init__(self, text, path):
        self.path = path
        self.rows = []
        self.at = 0
        for number, line in enumerate(text.splitlines(), 1):
            bare = strip_comment(line).rstrip()
            if bare.strip() and bare.strip() not in ("---", "..."):
                if "\t" in bare[:len(bare) - len(bare.lstrip())]:
                    raise ConfigError(f"{path}:{number}: a tab in the indentation")
                self.rows.append((number, len(bare) - len(bare.lstrip()), bare.strip()))

    def peek(self):
        return self.rows[self.at] if self.at < len(self.rows) else (0, -1, "")

    def fail(self, text):
        number = self.rows[min(self.at, len(self.rows) - 1)][0] if self.rows else 1
        raise ConfigError(f"{self.path}:{number}: {text}")


def strip_comment(line):
    quote = None
    for i, c in enumerate(line):
        if quote:
            quote = None if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c == "#" and (i == 0 or line[i - 1] in " \t"):
            return line[:i]
    return line


def flow_rest(lines, text):
    """A flow value may go on in the next lines: all of it as one text."""
    while sum(text.count(c) for c in "[{") > sum(text.count(c) for c in "]}"):
        if lines.at >= len(lines.rows):
            lines.fail("a bracket is not closed")
        text += " " + lines.rows[lines.at][2]
        lines.at += 1
    return text


TOKEN = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[\[\]{},]|:(?=[\s\[\]{},]|$)|(?:[^\s\[\]{},:]|:(?=[^\s\[\]{},])|[ ](?=[^\s\[\]{},:]))+)""")


def flow_value(lines, tokens):
    word = tokens.pop(0) if tokens else lines.fail("a value is missing")
    if word == "[":
        out = []
        while tokens and tokens[0] != "]":
            out.append(flow_value(lines, tokens))
            if tokens and tokens[0] == ",":
                tokens.pop(0)
    elif word == "{":
        out = {}
        while tokens and tokens[0] != "}":
            key = flow_value(lines, tokens)
            if not tokens or tokens.pop(0) != ":" or not isinstance(key, str):
                lines.fail("expected KEY: VALUE within the braces")
            out[key] = flow_value(lines, tokens)
            if tokens and tokens[0] == ",":
                tokens.pop(0)
    elif word in "]},:":
        lines.fail(f"unexpected {word}")
    else:
        return word[1:-1] if word[0] in "\"'" else word
    if not tokens:
        lines.fail("a bracket is not closed")
    tokens.pop(0)
    return out


def value_of(lines, text):
    """A value that stands on the line of its key; the row is taken already."""
    if text[0] in "[{":
        tokens = TOKEN.findall(flow_rest(lines, text))
        out = flow_value(lines, tokens)
        if tokens:
            lines.fail(f"unexpected {tokens[0]}")
        return out
    return text[1:-1] if text[0] in "\"'" and text[-1] == text[0] else text


def block(lines, indent):
    """The mapping or list whose rows have this indentation."""
    out = None
    while lines.peek()[1] == indent:
        number, _, text = lines.peek()
        if text.startswith("- ") or text == "-":
            out = [] if out is None else out
            rest = text[1:].strip()
            if not isinstance(out, list):
                lines.fail("unexpected item of a list")
            if re.match(r"""[^\s\[{"'][^\s]*:(\s|$)""", rest):  # a mapping that begins behind the dash
                lines.rows[lines.at] = (number, indent + len(text) - len(rest), rest)
                out.append(block(lines, lines.peek()[1]))
                continue
            lines.at += 1
            out.append(value_of(lines, rest) if rest else nested(lines, indent))
            continue
        if isinstance(out, list):
            break  # the next key of the mapping that this list is a value of
        m = re.match(r"""("[^"]*"|'[^']*'|[^\s:\[{]+)\s*:(?:\s+(.*))?$""", text)
        out = {} if out is None else out
        if not m:
            lines.fail("expected KEY: VALUE")
        lines.at += 1
        key = m[1].strip("\"'")
        if key in out:
            lines.at -= 1
            lines.fail(f"{key} a second time")
        out[key] = value_of(lines, m[2]) if m[2] else nested(lines, indent)
    if lines.peek()[1] > indent:
        lines.fail("unexpected indentation")
    return out


def nested(lines, indent):
    _, at, text = lines.peek()
    if at > indent or (at == indent and text.startswith("-")):
        return block(lines, at)
    return None


def number(path, where, value, low, high):
    if not (isinstance(value, str) and re.fullmatch(r"\d+", value) and low <= int(value) <= high):
        raise ConfigError(f"{path}: {where}: expected a number from {low} to {high}, not {value!r}")
    return int(value)


def section(path, top, name):
    found = top.get(name)
    if found is not None and not isinstance(found, dict):
        raise ConfigError(f"{path}: {name}: expected a mapping")
    return found or {}


def boolean(path, where, value):
    if value not in ("true", "false"):
        raise ConfigError(f"{path}: {where}: expected true or false, not {value!r}")
    return value == "true"


def one_of(path, where, value, names):
    if value not in names:
        raise ConfigError(f"{path}: {where}: expected {', '.join(names[:-1])} or {names[-1]}, not {value!r}")
    return value


def read_ports(path, top):
    ports = top.get("ports")
    if not isinstance(ports, list) or not ports or not all(isinstance(p, dict) for p in ports):
        raise ConfigError(f"{path}: ports: expected a list of mappings")
    out = []
    for p in ports:
        if "pci" in p:
            if not isinstance(p["pci"], str) or not PCI.fullmatch(p["pci"]):
                raise ConfigError(f"{path}: pci: expected a PCI address such as 0000:01:00.0, not {p['pci']!r}")
            out.append(p["pci"])
    return out


def read_needs(text, path):
    lines = Lines(text, path)
    top = block(lines, lines.peek()[1]) if lines.rows else None
    if lines.at < len(lines.rows):
        lines.fail("unexpected line")
    if not isinstance(top, dict):
        raise ConfigError(f"{path}:1: expected a mapping")
    workers, memory = section(path, top, "workers"), section(path, top, "memory")
    offload = section(path, section(path, top, "tls"), "offload")
    cores = workers.get("cores", ["0"])
    if not isinstance(cores, list) or not cores:
        raise ConfigError(f"{path}: workers.cores: expected a list of core numbers")
    mb = number(path, "memory.mb", memory.get("mb", "0"), 0, 1048576)
    main = workers.get("main_core")
    return Needs({
        "pci": read_ports(path, top),
        "cores": [number(path, "workers.cores", c, 0, 1023) for c in cores],
        "main_core": None if main is None else number(path, "workers.main_core", main, 0, 1023),
        "idle": one_of(path, "workers.idle", workers.get("idle", "spin"), ("spin", "pause", "sleep", "interrupt")),
        "hugepages": boolean(path, "memory.hugepages", memory.get("hugepages", "true")),
        "memory_mb": mb or MAIN_MB + WORKER_MB * len(cores),
        "offload": offload.get("kind", "software") != "software",
    }, is_estimate=not mb)
