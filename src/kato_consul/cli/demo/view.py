"""The demo's output: progress as a live table or as lines, and the outcome as text."""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kato_consul.cli.demo.report import DemoReport
from kato_consul.cli.demo.workload import Workload
from kato_consul.cli.instance_table import COLOURS
from kato_consul.cli.output import print_status

if TYPE_CHECKING:
    from kato_consul.cli.demo.scenario import DemoOutcome

TABLE_INTERVAL, LINE_INTERVAL = 0.15, 1.0
"""Seconds between updates of the live table, and between lines."""


async def show_progress(
    workload: Workload, running: "asyncio.Task[str]", seconds: float, *, quiet: bool
) -> None:
    """Show the progress on standard error until ``running`` is done, after about ``seconds``.

    Shows lines if ``quiet``, or if there is no terminal.
    """
    console = Console(stderr=True, highlight=False)
    if quiet or not console.is_terminal:
        await _print_lines(workload, running)
    else:
        await _show_table(console, workload, running, seconds)


def print_outcome(outcome: "DemoOutcome") -> None:
    """Print the outcome to standard output."""
    Console(highlight=False).print(_as_text(outcome), end="", soft_wrap=True)


async def _print_lines(workload: Workload, running: "asyncio.Task[str]") -> None:
    started, printed = time.monotonic(), 0
    while not running.done():
        await asyncio.wait({running}, timeout=LINE_INTERVAL)
        for note in workload.notes[printed:]:
            print_status(note)
        printed = len(workload.notes)
        print_status(f"{time.monotonic() - started:4.0f} s  {workload.summary()}")


async def _show_table(
    console: Console, workload: Workload, running: "asyncio.Task[str]", seconds: float
) -> None:
    started = time.monotonic()
    with Live(console=console, auto_refresh=False) as live:
        while not running.done():
            await asyncio.wait({running}, timeout=TABLE_INTERVAL)
            live.update(_frame(workload, time.monotonic() - started, seconds), refresh=True)


def _frame(workload: Workload, elapsed: float, seconds: float) -> RenderableType:
    head = Table.grid(padding=(0, 2))
    bar = ProgressBar(
        total=seconds,
        completed=min(elapsed, seconds),
        width=24,
        complete_style="cyan",  # the default is red, which looks like a failure
        finished_style="green",
    )
    head.add_row(f"{elapsed:4.1f} s", bar)
    notes = [Text.from_markup(f"[dim]{note[:8]}[/]{note[8:]}") for note in workload.notes[-4:]]
    return Group("", head, workload.summary(), "", _table(workload), "", *notes)


def _table(workload: Workload) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("instance")
    table.add_column("health", min_width=11)
    for heading in ("sessions", "requests", "in the last second"):
        table.add_column(heading, justify="right")
    for row in _rows(workload):
        table.add_row(*row)
    return table


def _rows(workload: Workload) -> Iterator[tuple[RenderableType, ...]]:
    snapshot = workload.client.discovery.current
    sessions = workload.sessions_by_instance()
    for instance in snapshot.instances if snapshot else ():
        health = Text(instance.health, COLOURS[instance.health])
        recent = workload.answered_in_last_second(instance.id)
        counts = (sessions[instance.id], workload.answered[instance.id], recent)
        style = "" if recent else "dim"
        yield (instance.id, health, *(Text(str(count), style) for count in counts))


def _as_text(outcome: "DemoOutcome") -> Text:
    workload, report = outcome.workload, outcome.report
    tally = workload.tally()
    rows = [
        ("requests retried on another instance", tally.failovers),
        ("unknown outcomes settled by reading back", tally.settlements),
        ("sessions repaired", tally.repairs),
        ("sessions continued elsewhere, for a write that may come late", tally.moves),
        ("sequences learned, each of them twice", tally.learned),
        ("learns whose outcome the client could not tell", tally.doubtful),
        (f"correct predictions, of {tally.prediction_requests}", tally.predicted),
    ]
    width = max(len(label) for label, _ in rows)
    failure = (
        "" if report.passed else "\nThis breaks the guarantees of kato-consul: please report it.\n"
    )
    return Text.assemble(
        f"\n{report.observations} observations in {len(workload.ledgers)} sessions, while "
        f"{outcome.killed} was killed and started again.\n",
        "All of them were read back from KATO directly:\n\n",
        (f"  {_zeros(report)}\n\n", "bold green" if report.passed else "bold red"),
        "".join(f"  {label:<{width}}  {count:>5}\n" for label, count in rows),
        (failure, "red"),
    )


def _zeros(report: DemoReport) -> str:
    return f"{report.failed} failed, {report.lost} lost, {report.applied_twice} applied twice"
