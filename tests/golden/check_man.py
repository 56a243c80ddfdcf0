# SPDX-License-Identifier: Apache-2.0
"""A man page has the options that --help has, and no others; mandoc finds nothing wrong: check_man.py SOURCE DATAPLANE CTRL WEIRCTL YAML_PAGE"""
import pathlib
import re
import shutil
import subprocess
import sys

source, dataplane, ctrl, weirctl, yaml_page = sys.argv[1:]
source = pathlib.Path(source)
man = source / "docs/man"
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[a-zA-Z])(?![\w-])")
NIC = [sys.executable, source / "scripts/weir-nic"]
HOST = [sys.executable, source / "scripts/weir-host"]
PAGES = {
    "weir-dataplane.8": [[dataplane]], "weir-ctrl.8": [[ctrl]], "weirctl.1": [[weirctl]],
    "weir-nic.8": [[*NIC, c] if c else NIC for c in ("", "list", "plan", "bind", "unbind", "restore")],
    "weir-host.8": [[*HOST, c] if c else HOST for c in ("", "check", "tune")],
}


def helped(argv):
    return set(OPTION.findall(subprocess.run([*argv, "--help"], capture_output=True, check=True, text=True).stdout))


def documented(text):
    """Of the items of lists: what a synopsis names is told there."""
    found = set()
    for line in text.splitlines():
        if line.startswith(".It "):
            found |= {"--" + n for n in re.findall(r"\bFl Fl ([\w-]+)", line)}
            found |= {"-" + n for n in re.findall(r"\bFl ([A-Za-z])\b", line)}
    return found


def main():
    wrong = []
    for name, programs in PAGES.items():
        told, options = set().union(*map(helped, programs)), documented((man / name).read_text())
        if not options or told != options:
            wrong.append(f"{name}: only --help has {sorted(told - options)}, only the page has {sorted(options - told)}")
    rows = len(re.findall(r"^\| `", (source / "docs/weir.yaml.md").read_text(), re.M))
    items = len(re.findall(r"^\.It ", pathlib.Path(yaml_page).read_text(), re.M))
    if rows == 0 or rows != items:
        wrong.append(f"weir.yaml.5 has {items} keys, docs/weir.yaml.md {rows}")
    if shutil.which("mandoc"):
        for page in [*(man / name for name in PAGES), yaml_page]:
            p = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True)
            wrong += p.stdout.splitlines()
    sys.exit("\n".join(wrong) if wrong else 0)


main()
