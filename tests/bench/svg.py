# SPDX-License-Identifier: Apache-2.0
"""Bar charts as SVG, for pages with a light or a dark background.

A chart is a list of groups, each a label and a list of bars; a bar is a dict:
    label, value     what it is and how long
    low, high        ends of its whisker, if it has one
    colour           number of its colour; bars of one kind have the same everywhere
A stack is one bar of parts, for shares of a whole.
"""
import math
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, BAR, GAP, GROUP = 860, 190, 90, 18, 4, 22
COLOURS = ("#3b7dd8", "#d9822b", "#4f9d5b", "#b05cc2", "#8a8f98", "#c94f5d", "#2a9d9d", "#a58a2f",
           "#7a6ff0", "#e07a9b", "#6b8e23", "#b0733c")
STYLE = """<style>
.back { fill: #ffffff } .text { fill: #24292f } .faint { fill: #57606a } .line { stroke: #d0d7de }
.whisker { stroke: #24292f }
@media (prefers-color-scheme: dark) {
.back { fill: #0d1117 } .text { fill: #e6edf3 } .faint { fill: #9da7b3 } .line { stroke: #373e47 }
.whisker { stroke: #e6edf3 } }
text { font: 12px sans-serif }
.title { font: bold 15px sans-serif }
</style>"""


def number(v):
    """So short that a bar can carry it."""
    if v >= 1e6:
        return f"{v / 1e6:.2f} M"
    if v >= 1e4:
        return f"{v / 1e3:,.0f} k"
    return f"{v:,.0f}" if v >= 100 else f"{v:.3g}"


def text(x, y, words, kind="text", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(str(words))}</text>'


def ticks(top, is_log, bottom):
    if is_log:
        return [10.0 ** e for e in range(round(math.log10(bottom)), round(math.log10(top)) + 1)]
    step = 10.0 ** math.floor(math.log10(top / 4))
    step *= next(f for f in (1, 2, 2.5, 5, 10) if top / (step * f) <= 6)
    return [i * step for i in range(int(top / step) + 1)]


class Scale:
    """From values to places."""

    def __init__(self, values, is_log):
        self.is_log = is_log
        least, most = min(values), max(values)
        self.bottom = 10.0 ** math.floor(math.log10(least)) if is_log else 0.0
        self.top = 10.0 ** math.ceil(math.log10(most) + 1e-9) if is_log else most * 1.05
        if self.top <= self.bottom:
            self.top = self.bottom * 10 if is_log else 1.0

    def __call__(self, v):
        room = WIDTH - LEFT - RIGHT
        if self.is_log:
            v = max(v, self.bottom)
            return LEFT + room * math.log10(v / self.bottom) / math.log10(self.top / self.bottom)
        return LEFT + room * v / self.top


def whisker(scale, bar, y):
    if bar.get("low") is None:
        return ""
    a, b, mid = scale(bar["low"]), scale(bar["high"]), y + BAR / 2
    return f'<path d="M{a:.1f} {mid - 4}V{mid + 4}M{a:.1f} {mid}H{b:.1f}M{b:.1f} {mid - 4}V{mid + 4}" class="whisker" fill="none"/>'


def frame(height, title, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">'
            f"<title>{escape(title)}</title>{STYLE}"
            f'<rect class="back" width="{WIDTH}" height="{height}"/>{text(12, 24, title, "title text")}' + "".join(parts) + "</svg>\n")


def bars(title, unit, groups, note="", is_log=False):
    """The text of an SVG file, or None if there is nothing to show."""
    groups = [(label, [b for b in items if b["value"] > 0]) for label, items in groups]
    groups = [(label, items) for label, items in groups if items]
    values = [v for _, items in groups for b in items for v in (b["value"], b.get("high") or b["value"], b.get("low") or b["value"])]
    if not values:
        return None
    scale, y, parts, rows = Scale([v for v in values if v > 0], is_log), 44.0, [], []
    for label, items in groups:
        rows.append(text(12, y + 13, label, "text"))
        y += 20
        for b in items:
            x = scale(b["value"])
            rows.append(text(LEFT - 8, y + 13, b["label"], "faint", "end"))
            rows.append(f'<rect x="{LEFT}" y="{y}" width="{max(x - LEFT, 1):.1f}" height="{BAR}" fill="{COLOURS[b["colour"] % len(COLOURS)]}"/>')
            rows.append(whisker(scale, b, y))
            rows.append(text(max(x, scale(b.get("high") or b["value"])) + 6, y + 13, number(b["value"])))
            y += BAR + GAP
        y += GROUP - GAP
    for t in ticks(scale.top, is_log, scale.bottom):
        parts.append(f'<path d="M{scale(t):.1f} 40V{y - 8:.1f}" class="line"/>{text(scale(t), y + 8, number(t), "faint", "middle")}')
    parts += rows
    parts.append(text(LEFT + (WIDTH - LEFT - RIGHT) / 2, y + 28, unit, "text", "middle"))
    if note:
        parts.append(text(12, y + 48, note, "faint"))
    return frame(round(y + (60 if note else 40)), title, parts)


def stack(title, unit, items, note=""):
    """One bar of parts: [(label, value)]."""
    total = sum(v for _, v in items)
    if total <= 0:
        return None
    x, room, parts = 20.0, WIDTH - 40, []
    for i, (label, v) in enumerate(items):
        w = room * v / total
        parts.append(f'<rect x="{x:.1f}" y="44" width="{w:.1f}" height="40" fill="{COLOURS[i % len(COLOURS)]}"/>')
        x += w
        row = 108 + 20 * i
        parts.append(f'<rect x="20" y="{row - 11}" width="12" height="12" fill="{COLOURS[i % len(COLOURS)]}"/>'
                     + text(40, row, label.replace("_", " ")) + text(330, row, f"{v:,.0f} {unit}", "text", "end") + text(400, row, f"{100 * v / total:.1f} %", "faint", "end"))
    bottom = 108 + 20 * len(items)
    parts.append(text(330, bottom, f"{total:,.0f} {unit}", "text", "end") + text(40, bottom, "all"))
    if note:
        parts.append(text(20, bottom + 22, note, "faint"))
    return frame(bottom + 40, title, parts)
