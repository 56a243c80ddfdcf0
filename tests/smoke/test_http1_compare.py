# SPDX-License-Identifier: Apache-2.0
"""Weir beside five other proxies: it forwards nothing that any two of them understand differently."""
import pathlib
import sys

from rig import expect, expect_eq, takes

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "conformance" / "http1"))
import compare  # noqa: E402
import corpus  # noqa: E402
import proxies  # noqa: E402

FLOOR = 480  # cases, and below that are understood differently by some: fewer, and the comparison does not see
DIFFERENT = 25


@takes(15)
def test_weir_forwards_nothing_that_proxies_understand_differently(make):
    expect_eq(proxies.missing(), [], "proxies that are not installed")
    cases, explained = compare.distinct(corpus.read_all()), compare.read_explained()
    with make(manifests=compare.manifests()) as rig:
        results = compare.Comparison(rig).run_all(cases, explained)
    print(f"     {compare.summary(results, cases)}")
    names = {c.name for c in cases}
    expect_eq(compare.judge(results, names, explained), [], "forwarded, but not understood alike")
    expect(len(cases) >= FLOOR, f"{len(cases)} cases of at least {FLOOR}")
    expect(sum(compare.differs(results, n) for n in names) >= DIFFERENT, "too few differences to believe")
    for p in compare.NAMES:
        expect(sum(bool(r["seen"]) for r in results[p].values()) >= 100, f"{p} forwards next to nothing")


test_weir_forwards_nothing_that_proxies_understand_differently.not_sanitized = True
