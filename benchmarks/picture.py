"""The results as a picture: an SVG, drawn from the JSON.

python -m benchmarks.picture results.json docs/performance.svg
"""

import json
import math
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

WIDTH, BAR, PANEL = 760, 20, 190
COLOURS = ("#1f6feb", "#8250df", "#1a7f37", "#9a6700")
OURS = "KatoClient"
FRAME = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
    'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#fff"/>\n'
    "{body}\n</svg>\n"
)
Point = tuple[float, float]


def draw(told: dict[str, Any]) -> str:
    """The picture of a run; of what was measured in it."""
    parts: list[str] = []
    bars = [one for one in told["figures"] if one["unit"] == "calls/s" and "median" in one]
    top = 24
    if bars:
        parts.append(_text(10, top, "calls a second", bold=True))
        parts += _bars(bars, top + 10)
        top += 30 + BAR * len(bars)
    curves = [one for one in told["growth"] if one["unit"] not in {"ms", "calls/s"}]
    for place, by in enumerate(dict.fromkeys(one["by"] for one in curves)):
        of_it = [one for one in curves if one["by"] == by and one["unit"].startswith("µs")]
        parts += _panel(10 + place * (WIDTH // 3), top + 20, by, of_it)
    height = top + (PANEL + 110 if curves else 0)
    return FRAME.format(width=WIDTH + 20, height=height, body="\n".join(parts))


def _bars(figures: Sequence[dict[str, Any]], top: int) -> list[str]:
    left, room = 350, WIDTH - 350 - 70
    most = max(one["median"] for one in figures)
    parts = []
    for place, one in enumerate(figures):
        y = top + place * BAR
        long = max(1.0, room * one["median"] / most)
        colour = COLOURS[0] if OURS in one["name"] else "#8c959f"
        parts.append(_text(10, y + 13, one["name"]))
        parts.append(
            f'<rect x="{left}" y="{y + 3}" width="{long:.0f}" height="13" fill="{colour}"/>'
        )
        parts.append(_text(left + long + 6, y + 13, f"{one['median']:,.0f}"))
    return parts


def _panel(left: float, top: float, by: str, curves: Sequence[dict[str, Any]]) -> list[str]:
    """Curves with both axes by powers of ten."""
    wide = WIDTH // 3 - 60
    points = [[(x, y) for x, y in one["points"] if y] for one in curves]
    sizes = [x for one in points for x, _ in one]
    values = [y for one in points for _, y in one]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    widest = math.log10(max(sizes))
    x0, y0 = left + 40, top + PANEL

    def at(point: Point) -> str:
        x = x0 + wide * math.log10(point[0]) / widest
        y = y0 - (PANEL - 30) * (math.log10(point[1]) - low) / (high - low)
        return f"{x:.1f},{y:.1f}"

    parts = [_text(left, top, f"µs of CPU, by {by}", bold=True)]
    for power in range(low, high + 1):
        y = float(at((1, 10.0**power)).split(",")[1])
        parts.append(f'<line x1="{x0}" x2="{x0 + wide}" y1="{y}" y2="{y}" stroke="#d0d7de"/>')
        parts.append(_text(left, y + 4, f"{10.0**power:,g}"))
    for power in range(math.floor(widest) + 1):
        x = float(at((10.0**power, 10.0**low)).split(",")[0])
        parts.append(
            _text(x - 4, y0 + 16, f"{10**power}" if power < 3 else f"{10**power // 1000}k")
        )
    for place, (one, of_it) in enumerate(zip(curves, points, strict=True)):
        colour = COLOURS[place % len(COLOURS)]
        line = " ".join(at(point) for point in of_it)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(x0, y0 + 36 + 15 * place, one["name"], colour=colour))
    return parts


def _text(x: float, y: float, words: str, *, bold: bool = False, colour: str = "#1f2328") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}"{weight}>{escape(words)}</text>'


if __name__ == "__main__":
    results, picture = map(Path, sys.argv[1:])
    picture.write_text(draw(json.loads(results.read_text(encoding="utf-8"))), encoding="utf-8")
