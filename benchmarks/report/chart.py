"""SVG chart of the results: ``python -m benchmarks.report.chart results.json FILE.svg``."""

import json
import math
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

WIDTH, BAR, PANEL = 760, 20, 190
COLOURS = ("#1f6feb", "#8250df", "#1a7f37", "#9a6700")
HIGHLIGHTED = "KatoClient"
FRAME = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
    'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#fff"/>\n'
    "{body}\n</svg>\n"
)
Point = tuple[float, float]


def draw(results: dict[str, Any]) -> str:
    """Return the chart of a run's JSON. Rows that were not measured are left out."""
    parts: list[str] = []
    bars = [
        figure
        for figure in results["figures"]
        if figure["unit"] == "calls/s" and "median" in figure
    ]
    top = 24
    if bars:
        parts.append(_text(10, top, "calls per second", bold=True))
        parts += _bars(bars, top + 10)
        top += 30 + BAR * len(bars)
    curves = [curve for curve in results["scaling"] if curve["unit"] not in {"ms", "calls/s"}]
    for index, by in enumerate(dict.fromkeys(curve["by"] for curve in curves)):
        panel = [curve for curve in curves if curve["by"] == by and curve["unit"].startswith("µs")]
        parts += _panel(10 + index * (WIDTH // 3), top + 20, by, panel)
    height = top + (PANEL + 110 if curves else 0)
    return FRAME.format(width=WIDTH + 20, height=height, body="\n".join(parts))


def _bars(figures: Sequence[dict[str, Any]], top: int) -> list[str]:
    left, longest = 350, WIDTH - 350 - 70
    largest = max(figure["median"] for figure in figures)
    parts = []
    for index, figure in enumerate(figures):
        y = top + index * BAR
        length = max(1.0, longest * figure["median"] / largest)
        colour = COLOURS[0] if HIGHLIGHTED in figure["name"] else "#8c959f"
        parts.append(_text(10, y + 13, figure["name"]))
        parts.append(
            f'<rect x="{left}" y="{y + 3}" width="{length:.0f}" height="13" fill="{colour}"/>'
        )
        parts.append(_text(left + length + 6, y + 13, f"{figure['median']:,.0f}"))
    return parts


def _panel(left: float, top: float, by: str, curves: Sequence[dict[str, Any]]) -> list[str]:
    """Draw curves with both axes logarithmic."""
    width = WIDTH // 3 - 60
    points = [[(x, y) for x, y in curve["points"] if y] for curve in curves]
    sizes = [x for curve in points for x, _ in curve]
    values = [y for curve in points for _, y in curve]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    widest = math.log10(max(sizes))
    x0, y0 = left + 40, top + PANEL

    def position(point: Point) -> str:
        x = x0 + width * math.log10(point[0]) / widest
        y = y0 - (PANEL - 30) * (math.log10(point[1]) - low) / (high - low)
        return f"{x:.1f},{y:.1f}"

    parts = [_text(left, top, f"µs of CPU, by {by}", bold=True)]
    for power in range(low, high + 1):
        y = float(position((1, 10.0**power)).split(",")[1])
        parts.append(f'<line x1="{x0}" x2="{x0 + width}" y1="{y}" y2="{y}" stroke="#d0d7de"/>')
        parts.append(_text(left, y + 4, f"{10.0**power:,g}"))
    for power in range(math.floor(widest) + 1):
        x = float(position((10.0**power, 10.0**low)).split(",")[0])
        parts.append(
            _text(x - 4, y0 + 16, f"{10**power}" if power < 3 else f"{10**power // 1000}k")
        )
    for index, (curve, curve_points) in enumerate(zip(curves, points, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        line = " ".join(position(point) for point in curve_points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(x0, y0 + 36 + 15 * index, curve["name"], colour=colour))
    return parts


def _text(x: float, y: float, text: str, *, bold: bool = False, colour: str = "#1f2328") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}"{weight}>{escape(text)}</text>'


if __name__ == "__main__":
    results_file, chart_file = map(Path, sys.argv[1:])
    results = json.loads(results_file.read_text(encoding="utf-8"))
    chart_file.write_text(draw(results), encoding="utf-8")
