# SPDX-License-Identifier: Apache-2.0
"""What compare.py measured, as tables, targets, JSON and plots."""
import json
import pathlib
import statistics

import svg
from contest import AF_PACKET, AF_XDP, H2O, HAPROXY, MEMIF, NGINX, OVER_VETH

COLOUR = {MEMIF: 0, AF_XDP: 0, AF_PACKET: 6, NGINX: 1, HAPROXY: 2, H2O: 3}
FULL = 0.93 # of a core or of the generator: it was the bottleneck
READ = """How to read it. The proxy has core 1 to itself, clients and origin have core 0. `requests/s` is by the clock, in a closed loop. \
`a core` is what a proxy does with a second of CPU time that its core really used, whatever used it: for the kernel's proxies user, system and \
interrupt time of the core (all of it but idle time); for Weir, whose worker polls, that time without the polls that found nothing (`worker_busy_cycles`). \
So a proxy is not made worse by a generator that was too slow for it. `core used` is the share of that time, `generator` the share of weir-blast's loops that had work \
(with wrk: of core 0). The bottleneck is who had no time left; "latency": nobody, they waited for one another. Figures are medians over the \
rounds with their quartiles; ratios are of pairs within a round."""
VETH = """The wire: two veth pairs, one for clients and one for the origin. weir-blast is on its ends by af_xdp, for all proxies the same. Checksums are computed and checked in \
software by both ends, as af_xdp has no offload of them; the kernel's proxies have GRO and software GSO, and their interrupt work on their own core (receive packet \
steering), apart from the veth driver's. At most 64 KiB are under way on a connection, so that no queue overflows. Their configuration: `tests/bench/peers/`."""


def values_of(results, section, shape, proxy, key):
    return [r[key] for r in results if r["section"] == section and r.get("shape") == shape and r["proxy"] == proxy and r.get(key) is not None]


def median_of(results, section, shape, proxy, key):
    """None: it was not measured."""
    v = values_of(results, section, shape, proxy, key)
    return statistics.median(v) if v else None


def quartiles(values):
    """(lower, median, upper)"""
    if len(values) < 2:
        return (values[0],) * 3 if values else (0.0, 0.0, 0.0)
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def shown(values, digits=0):
    if not values:
        return "-"
    low, mid, high = (f"{v:,.{digits}f}" for v in quartiles(values))
    return mid if len(values) < 2 else f"{mid} ({low} - {high})"


def pairs(results, key, section, shape, a, b, section_b=None, label_b=None):
    """Of each round in which both were measured: a's value over b's."""
    of = {}
    for side, sec, label in (("a", section, a), ("b", section_b or section, label_b or b)):
        for r in results:
            if r["section"] == sec and r.get("shape") == shape and r["proxy"] == label and r.get(key):
                of.setdefault(r["round"], {})[side] = r[key]
    return [v["a"] / v["b"] for v in of.values() if len(v) == 2]


def bottleneck(rows):
    proxy, generator = (statistics.median([r[k] for r in rows]) for k in ("share", "generator_share"))
    return " and ".join(n for n, v in (("proxy", proxy), ("generator", generator)) if v >= FULL) or "latency"


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *("| " + " | ".join(map(str, r)) + " |" for r in rows), ""])


def shapes_of(results, section):
    return dict((r["shape"], r["words"]) for r in results if r["section"] == section and "shape" in r)


def rows_of(results, section, shape, proxy):
    return [r for r in results if r["section"] == section and r.get("shape") == shape and r["proxy"] == proxy]


def proxies_of(results, section):
    return list(dict.fromkeys(r["proxy"] for r in results if r["section"] == section and "shape" in r))


def share(rows, key):
    return f"{100 * statistics.median([r[key] for r in rows]):.0f} %"


def errors_of(rows):
    out = {}
    for r in rows:
        for k, v in r["errors"].items():
            out[k] = out.get(k, 0) + v
    return ", ".join(f"{k} {v:,}" for k, v in out.items()) or "0"


# -- tables

def rates_table(results, section):
    rows = []
    for shape, words in shapes_of(results, section).items():
        for proxy in proxies_of(results, section):
            of = rows_of(results, section, shape, proxy)
            if not of:
                continue
            ratio = pairs(results, "responses_per_used_second", section, shape, AF_XDP, proxy)
            gbit = [r["gbit_per_second"] for r in of]
            rows.append([words, proxy, shown([r["rate"] for r in of]), shown([r["responses_per_used_second"] for r in of]),
                         *([] if section == "memif" else ["1" if proxy == AF_XDP else shown(ratio, 2)]),
                         shown(gbit, 2) if shape.startswith("body") else "-", share(of, "share"), share(of, "generator_share"), bottleneck(of), errors_of(of)])
    ratio = [] if section == "memif" else [f"{AF_XDP} to this, a core"]
    return table(["work", "proxy", "requests/s", "a core", *ratio, "Gbit/s", "core used", "generator", "bottleneck", "errors"], rows)


def proof_table(results):
    rows = []
    for proxy in proxies_of(results, "generator"):
        for shape, words in shapes_of(results, "generator").items():
            own = rows_of(results, "generator", shape, proxy)
            if own:
                ratio = pairs(results, "responses_per_used_second", "generator", shape, proxy, proxy, "memif", proxy)
                verdict = "-" if not ratio else "yes" if statistics.median(ratio) >= 3 else "no"
                rows.append([words, proxy.replace(MEMIF, "MTU 1500") if proxy == MEMIF else proxy.replace(MEMIF + ", ", ""),
                             shown([r["rate"] for r in own]), shown([r["responses_per_used_second"] for r in own]), shown(ratio, 1), verdict])
    return table(["work", "frames", "weir-blast alone, requests/s", "for a second of CPU time", "of what Weir does for one", "3 times"], rows)


def latency_table(results):
    rows = []
    for shape, words in shapes_of(results, "latency").items():
        for proxy in proxies_of(results, "latency"):
            of = rows_of(results, "latency", shape, proxy)
            if not of:
                continue
            rows.append([words, proxy, f"{of[0]['rate_wanted']:,.0f}", shown([r["rate"] for r in of]),
                         *(shown([r["latency_us"][p] for r in of if r["latency_us"]], 0) for p in ("p50", "p99", "p99.9")),
                         share(of, "share"), share(of, "generator_share"), errors_of(of)])
    return table(["work", "proxy", "requests/s wanted", "done", "p50 us", "p99 us", "p99.9 us", "core used", "generator", "errors"], rows)


def limits_table(results):
    rows = []
    for r in (r for r in results if r["section"] == "limits"):
        if "failed" in r:
            rows.append([r["proxy"], "failed: " + r["failed"].splitlines()[0], "-", "-", "-"])
            continue
        section, proxy = ("memif", MEMIF) if r["proxy"] == MEMIF else ("veth", AF_XDP)
        done = median_of(results, section, "keep-128", proxy, "responses_per_used_second")
        rows.append([r["proxy"].replace("Weir, ", ""), f"{r['frames_per_second']:,.0f}", f"{r['requests_per_second']:,.0f}", f"{done:,.0f}" if done else "-",
                     f"{100 * done / r['requests_per_second']:.0f} %" if done else "-"])
    return table(["port", "frames/s forwarded by testpmd", "so requests/s at most", "Weir, keep-alive, 128 bytes, a core", "of that"], rows)


def stages_of(results, shape):
    """[(stage, cycles of a request)], medians over the rounds; idle time is none of a request's."""
    sums = {}
    for r in results:
        if r["section"] != "stages" or r.get("shape") != shape:
            continue
        counters = r["report"]["weir"]["counters"]
        for k, v in counters.items():
            if k.startswith("stage_") and k.endswith("_cycles") and k != "stage_idle_cycles":
                sums.setdefault(k[len("stage_"):-len("_cycles")], []).append(v / max(counters.get("http_requests", 0), 1))
    return [(k, statistics.median(v)) for k, v in sums.items()]


def stages_table(results):
    shapes = shapes_of(results, "stages")
    of = {s: dict(stages_of(results, s)) for s in shapes}
    names = list(dict.fromkeys(n for s in shapes for n in of[s]))
    rows = [[n.replace("_", " "), *(f"{of[s].get(n, 0):,.0f}" for s in shapes)] for n in names]
    rows.append(["all", *(f"{sum(of[s].values()):,.0f}" for s in shapes)])
    return table(["stage: cycles of a request", *shapes.values()], rows)


# -- targets

def target(rows, words, wanted, figure, is_met, unit=""):
    rows.append({"target": words, "wanted": wanted, "figure": figure, "unit": unit, "met": bool(is_met)})


def memif_targets(results, rows):
    keep = [median_of(results, "memif", s, MEMIF, "rate") for s in ("keep-0", "keep-128")]
    if None not in keep:
        target(rows, "memif, keep-alive, 0 and 128 bytes, one worker (the lower of both)", 400000, min(keep), min(keep) >= 400000, "requests/s")
    shots = median_of(results, "memif", "shots", MEMIF, "rate")
    if shots is not None:
        target(rows, "memif, one request per connection, one worker", 100000, shots, shots >= 100000, "requests/s")
    for proxy in proxies_of(results, "memif"):
        for shape, words in (("body-64k", "64 KiB"), ("body-1m", "1 MiB")):
            gbit = median_of(results, "memif", shape, proxy, "gbit_per_second")
            if gbit is not None:
                target(rows, f"memif, {words}, one worker, {'MTU 1500' if proxy == MEMIF else proxy[len(MEMIF) + 2:]}", 20, gbit, gbit >= 20, "Gbit/s")


def veth_targets(results, rows):
    for peer in (NGINX, HAPROXY):
        for words, shapes in (("keep-alive, 0 and 128 bytes (the lower of both)", ("keep-0", "keep-128")), ("one request per connection", ("shots",))):
            ratios = [pairs(results, "responses_per_used_second", "veth", s, AF_XDP, peer) for s in shapes]
            if all(ratios):
                figure = min(statistics.median(r) for r in ratios)
                target(rows, f"veth, {words}: {AF_XDP}, to {peer}, a core", 2, figure, figure >= 2, "times")
    for peer in (NGINX, HAPROXY):
        for shape, words in (("keep-128", "keep-alive"), ("shots", "one request per connection")):
            of = {p: [r["latency_us"]["p99"] for r in rows_of(results, "latency", shape, p) if r["latency_us"]] for p in (AF_XDP, peer)}
            if all(of.values()):
                own, theirs = (statistics.median(of[p]) for p in (AF_XDP, peer))
                target(rows, f"veth, {words}, half of nginx's peak: p99 of {AF_XDP}, below {peer}'s", theirs, own, own < theirs, "us")


def targets(results):
    rows = []
    memif_targets(results, rows)
    for proxy in proxies_of(results, "generator"):
        ratios = {w: pairs(results, "responses_per_used_second", "generator", s, proxy, proxy, "memif", proxy)
                  for s, w in shapes_of(results, "generator").items()}
        ratios = {w: statistics.median(r) for w, r in ratios.items() if r}
        if ratios:
            words, least = min(ratios.items(), key=lambda i: i[1])
            target(rows, f"the generator alone, to {proxy}, a second of CPU time each (the least: {words})", 3, least, least >= 3, "times")
    veth_targets(results, rows)
    return rows


def targets_table(rows):
    def text(v, unit):
        return f"{v:,.2f} {unit}" if unit in ("times", "Gbit/s") else f"{v:,.0f} {unit}"
    return table(["target", "wanted", "figure", "met"], [[t["target"], text(t["wanted"], t["unit"]), text(t["figure"], t["unit"]), "yes" if t["met"] else "no"] for t in rows])


# -- plots

def bar(results, section, shape, proxy, key, pick=lambda v: v):
    v = [pick(x) for x in values_of(results, section, shape, proxy, key)]
    low, mid, high = quartiles(v)
    return {"label": proxy, "value": mid, "low": low if len(v) > 1 else None, "high": high if len(v) > 1 else None,
            "colour": COLOUR.get(proxy, 7)}


def plots(results, note):
    """{name: text of the file}"""
    words = {**shapes_of(results, "memif"), **shapes_of(results, "veth")}
    small = [s for s in ("keep-0", "keep-128", "shots") if s in words]
    bodies = [s for s in ("body-64k", "body-1m") if s in words]
    over_memif = proxies_of(results, "memif")

    def groups(section, shapes, proxies, key):
        return [(words[s], [bar(results, section, s, p, key) for p in proxies]) for s in shapes]

    out = {"veth-per-core": svg.bars("Over veth: requests for a second of CPU time of the proxy's core", "requests", groups("veth", small, OVER_VETH, "responses_per_used_second"), note),
           "veth-bodies": svg.bars("Over veth: large bodies", "Gbit/s", groups("veth", bodies, OVER_VETH, "gbit_per_second"), note),
           "memif": svg.bars("Weir over memif, one worker", "requests a second", groups("memif", small, over_memif, "rate"), note),
           "memif-bodies": svg.bars("Weir over memif, one worker: large bodies", "Gbit/s", groups("memif", bodies, over_memif, "gbit_per_second"), note),
           "wrk": svg.bars("wrk and nginx as the origin: requests for a second of CPU time of the proxy's core", "requests",
                           [(w, [bar(results, "wrk", s, p, "responses_per_used_second") for p in OVER_VETH]) for s, w in shapes_of(results, "wrk").items()], note)}
    for shape, w in shapes_of(results, "latency").items():
        out[f"latency-{shape}"] = svg.bars(f"Latency at half of nginx's peak: {w}", "microseconds, logarithmic",
                                           [(p, [bar(results, "latency", shape, x, "latency_us", lambda v, p=p: v[p]) for x in OVER_VETH])
                                            for p in ("p50", "p99", "p99.9")], note, is_log=True)
    for shape, w in shapes_of(results, "stages").items():
        out[f"stages-{shape}"] = svg.stack(f"Where the cycles of a request go: {w}, memif", "cycles", stages_of(results, shape), note)
    return {k: v for k, v in out.items() if v}


# -- the whole

def irregular(results):
    """What a reader has to know of: failures, errors, frames sent again."""
    lines = [f"{r['section']}, {r['proxy']}, round {r.get('round', 0) + 1}: {r['failed'].strip()}" for r in results if "failed" in r]
    for r in results:
        if r.get("errors"):
            lines.append(f"{r['section']}, {r['proxy']}, {r['words']}, round {r['round'] + 1}: {r['errors']}")
        report = r.get("report", {})
        again = report.get("retransmits", 0)
        if again > 0.001 * report.get("tx_frames", 0) and again > 10:
            lines.append(f"{r['section']}, {r['proxy']}, {r['words']}, round {r['round'] + 1}: weir-blast sent {again:,} of {report['tx_frames']:,} frames again")
    return lines


def markdown(about, results, goals, files):
    def pictures(*names):
        return "".join(f"![{n}]({n}.svg)\n\n" for n in names if n in files)

    out = ["# Weir beside nginx, HAProxy and h2o\n", f"    {about['command']}\n",
           f"{about['date']}; {about['cpu']}, {about['cores']} cores; {about['system']}, Linux {about['kernel']}; {about['rounds']} rounds of {about['seconds']} s "
           f"each, {about['took_seconds']} s in all. " + "; ".join(f"{k}: {v}" for k, v in about["versions"].items()) + ".\n", READ + "\n"]
    if goals:
        out += ["## Targets\n", targets_table(goals)]
    if shapes_of(results, "veth"):
        out += ["## Over veth, at the peak\n", VETH + "\n", rates_table(results, "veth"), pictures("veth-per-core", "veth-bodies")]
    if shapes_of(results, "latency"):
        out += ["## Over veth, at half of nginx's peak\n", "An open loop: each request has a time when it is due, and its latency counts from then, whether it could be "
                "sent or not (no coordinated omission).\n", latency_table(results), pictures(*(f"latency-{s}" for s in shapes_of(results, "latency")))]
    if shapes_of(results, "wrk"):
        out += ["## Over veth, wrk and an origin of the kernel\n", "wrk and nginx (`return 200`, 128 bytes) share core 0, and end before the proxy does.\n",
                rates_table(results, "wrk"), pictures("wrk")]
    if shapes_of(results, "memif"):
        out += ["## Weir over memif\n", rates_table(results, "memif"), pictures("memif", "memif-bodies"), "The generator alone, with its clients on one end of a memif and its origin on the "
                "other, in one process on one core:\n", proof_table(results)]
    if any(r["section"] == "limits" for r in results):
        out += ["## What the ports carry\n", "dpdk-testpmd forwards frames of 192 bytes on the proxy's core, another one makes them on the other. A request takes two frames in each "
                "direction of the proxy.\n", limits_table(results)]
    if shapes_of(results, "stages"):
        out += ["## Cycles of a request by stage\n", "Time stamp counter cycles of the worker, over memif, with `workers: stage_timers: true`, which costs some itself.\n",
                stages_table(results), pictures(*(f"stages-{s}" for s in shapes_of(results, "stages")))]
    problems = irregular(results)
    out += ["## Irregular\n", "\n".join(f"- {p}" for p in problems) + "\n" if problems else "Nothing failed, no error, no frame lost to speak of.\n"]
    return "\n".join(out)


def as_json(head, rows):
    """A measurement is a line."""
    lines = ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows)
    return json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n{lines}\n]}}\n'


def publish(args, about, results):
    """Prints and writes everything. The exit status: 0, or 1 if something failed or was answered wrongly."""
    goals = targets(results)
    note = f"{about['cpu']}, Linux {about['kernel']}, {about['date']}; medians{' and quartiles' * (about['rounds'] > 1)} of {about['rounds']} rounds"
    files = plots(results, note)
    whole = as_json({"about": about, "targets": goals, "irregular": irregular(results)}, results)
    text = markdown(about, results, goals, files)
    print(text, flush=True)
    if args.json:
        pathlib.Path(args.json).write_text(whole)
    if args.out:
        folder = pathlib.Path(args.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "compare.md").write_text(text)
        (folder / "compare.json").write_text(whole)
        for old in folder.glob("*.svg"):
            old.unlink()
        for name, picture in files.items():
            (folder / f"{name}.svg").write_text(picture)
    return 1 if any("failed" in r or r.get("errors") for r in results) else 0
