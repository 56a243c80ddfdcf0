# SPDX-License-Identifier: Apache-2.0
"""docs/weir.yaml.md is what the program prints, and a wrong weir.yaml ends it with status 2: check_reference.py PROGRAM PAGE"""
import pathlib
import subprocess
import sys
import tempfile

program, page = sys.argv[1:]
printed = subprocess.run([program, "--print-reference"], capture_output=True, check=True, text=True).stdout
text = open(page).read()
if printed != text or "| `cores` |" not in text:
    sys.exit("the page differs: weir-dataplane --print-reference > docs/weir.yaml.md")

good = "ports: [{vdev: net_tap0, addresses: [10.0.0.2/24]}]\n"
with tempfile.TemporaryDirectory() as d:
    path = pathlib.Path(d) / "weir.yaml"
    for content, status, words in ((good, 0, ""), (good + "colour: red\n", 2, "weir.yaml:2:1: unknown key 'colour'; expected one of"),
                                   (good + "workers: {cores: [x]}\n", 2, "weir.yaml:2:19: cores: expected a core number")):
        path.write_text(content)
        p = subprocess.run([program, "-c", path, "--check"], capture_output=True, text=True)
        if p.returncode != status or words not in p.stderr:
            sys.exit(f"{content!r}: status {p.returncode}, {p.stderr}")
    p = subprocess.run([program, "-c", path], capture_output=True, text=True)
    if p.returncode != 2:
        sys.exit(f"a wrong file did not keep it from starting: {p.returncode}")
