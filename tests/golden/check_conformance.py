#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/conformance.md names each feature that is claimed and each test that waits, and as many of these as there are."""
import pathlib
import re
import sys


def names(path):
    lines = (line.partition("#")[0].split() for line in path.read_text().splitlines())
    return [words[0] for words in lines if words]


def section(page, title):
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def main(root):
    suite = root / "tests/conformance/kube"
    page = (root / "docs/conformance.md").read_text()
    core, extended, waits = (section(page, t) for t in ("Core", "Extended", "Waiting"))
    features, waiting = names(suite / "features.txt"), names(suite / "waiting.txt")
    wrong = []
    rows = re.findall(r"^\| (\w+) \|", extended, re.M)
    wrong += [f"{f} is claimed, and is not in the page" for f in features if f not in rows and not re.search(rf"\b{f}\b", core)]
    wrong += [f"{f} is in the page, and not claimed" for f in rows if f not in [*features, "feature"]]
    told = re.findall(r"\b(?:Gateway|HTTPRoute|ListenerSet)[A-Z]\w+", waits)
    wrong += [f"{t} waits, and is not in the page" for t in waiting if t not in told]
    wrong += [f"{t} is in the page, and does not wait" for t in told if t not in waiting]
    if f"{len(waiting)} tests ([waiting.txt]" not in page:
        wrong.append(f"the page does not say that {len(waiting)} tests wait")
    print("\n".join(wrong) or "agrees")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
