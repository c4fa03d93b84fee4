"""The results as tables, for people."""

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.growth import Curve

MET = {True: "[green]met[/green]", False: "[red]not met[/red]", None: ""}


def tell(console: Console, figures: list[Figure], curves: list[Curve]) -> None:
    """Goals, everybody's figures, and how cost grows."""
    goals = [one for one in figures if one.goal]
    if goals:
        table = _table("Goals: median of the rounds, and from the least to the most")
        for name in ("goal", "measured", "least to most", ""):
            table.add_column(name, justify="right" if name != "" else "left")
        for one in goals:
            table.add_row(one.name, one.goal, *_measured(one), MET[one.met])
        console.print(table)
    beside = [one for one in figures if not one.goal]
    if beside:
        table = _table("Beside them")
        for name in ("measured", "least to most", ""):
            table.add_column(name, justify="right" if name != "" else "left")
        for one in beside:
            table.add_row(one.name, *_measured(one), one.unit)
        console.print(table)
    for by in dict.fromkeys(one.by for one in curves):
        console.print(_grown(by, [one for one in curves if one.by == by]))


def number(value: float) -> str:
    """Three figures that count, and no more."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("what")
    return table


def _measured(one: Figure) -> tuple[str, str]:
    if not one.values:
        return f"not measured: {one.why_not}", ""
    return number(one.median), f"{number(min(one.values))} – {number(max(one.values))}"


def _grown(by: str, curves: list[Curve]) -> Table:
    table = _table(f"By {by}")
    for size, _ in curves[0].points:
        table.add_column(f"{size:,}", justify="right")
    table.add_column("")
    for one in curves:
        values = ("–" if value is None else number(value) for _, value in one.points)
        table.add_row(one.name, *values, one.unit)
    return table
