# SPDX-License-Identifier: Apache-2.0
"""docs/weir.yaml.md is what the program prints: check_reference.py PROGRAM PAGE"""
import subprocess
import sys

printed = subprocess.run([sys.argv[1], "--print-reference"], capture_output=True, check=True, text=True).stdout
page = open(sys.argv[2]).read()
if printed != page or "| `cores` |" not in page:
    sys.exit("the page differs: weir-dataplane --print-reference > docs/weir.yaml.md")
