"""Result tables for the terminal."""

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.scaling import Curve

MET = {True: "[green]met[/green]", False: "[red]not met[/red]", None: ""}


def print_tables(console: Console, figures: list[Figure], curves: list[Curve]) -> None:
    """Print the goals, the other figures, and how costs scale."""
    goals = [figure for figure in figures if figure.goal]
    if goals:
        table = _table("Goals: median, minimum and maximum of the rounds")
        for heading in ("goal", "median", "min – max", ""):
            table.add_column(heading, justify="right" if heading != "" else "left")
        for figure in goals:
            table.add_row(figure.name, figure.goal, *_measured(figure), MET[figure.met])
        console.print(table)
    others = [figure for figure in figures if not figure.goal]
    if others:
        table = _table("Other figures")
        for heading in ("median", "min – max", ""):
            table.add_column(heading, justify="right" if heading != "" else "left")
        for figure in others:
            table.add_row(figure.name, *_measured(figure), figure.unit)
        console.print(table)
    for by in dict.fromkeys(curve.by for curve in curves):
        console.print(_scaling_table(by, [curve for curve in curves if curve.by == by]))


def format_value(value: float) -> str:
    """Format with three significant digits."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("what")
    return table


def _measured(figure: Figure) -> tuple[str, str]:
    if not figure.values:
        return f"not measured: {figure.not_measured}", ""
    low, high = format_value(min(figure.values)), format_value(max(figure.values))
    return format_value(figure.median), f"{low} – {high}"


def _scaling_table(by: str, curves: list[Curve]) -> Table:
    table = _table(f"By {by}")
    for size, _ in curves[0].points:
        table.add_column(f"{size:,}", justify="right")
    table.add_column("")
    for curve in curves:
        values = ("–" if value is None else format_value(value) for _, value in curve.points)
        table.add_row(curve.name, *values, curve.unit)
    return table
