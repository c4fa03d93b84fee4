"""How the demo looks: a live table while it runs, and its verdict in plain words."""

import asyncio
import time
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kato_consul.cli.commands.instances import COLOURS
from kato_consul.cli.demo.report import DemoReport
from kato_consul.cli.demo.workload import Work
from kato_consul.cli.output import print_status

FRAME, LINE = 0.15, 1.0
"""Seconds between looks: of an eye at a table, and of a log that is read later."""


async def tell_progress(work: Work, busy: "asyncio.Task[None]") -> None:
    """Progress as lines, where there is no terminal."""
    began, told = time.monotonic(), 0
    while not busy.done():
        await asyncio.wait({busy}, timeout=LINE)
        for note in work.notes[told:]:
            print_status(note)
        told = len(work.notes)
        print_status(f"{time.monotonic() - began:4.0f} s  {work.line()}")


async def show_progress(
    console: Console, work: Work, busy: "asyncio.Task[None]", seconds: float
) -> None:
    """Progress as a live table, for a work of about so many seconds."""
    began = time.monotonic()
    with Live(console=console, auto_refresh=False) as live:
        while not busy.done():
            await asyncio.wait({busy}, timeout=FRAME)
            live.update(_frame(work, time.monotonic() - began, seconds), refresh=True)


def _frame(work: Work, now: float, seconds: float) -> RenderableType:
    head = Table.grid(padding=(0, 2))
    bar = ProgressBar(
        total=seconds,
        completed=min(now, seconds),
        width=24,
        complete_style="cyan",  # the default is red, and nothing is wrong
        finished_style="green",
    )
    head.add_row(f"{now:4.1f} s", bar)
    notes = [Text.from_markup(f"[dim]{note[:8]}[/]{note[8:]}") for note in work.notes[-4:]]
    return Group("", head, work.line(), "", _table(work), "", *notes)


def _table(work: Work) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("instance")
    table.add_column("Consul says", min_width=11)
    for heading in ("sessions", "calls answered", "in the last second"):
        table.add_column(heading, justify="right")
    for row in _rows(work):
        table.add_row(*row)
    return table


def _rows(work: Work) -> Iterator[tuple[RenderableType, ...]]:
    snapshot = work.client.discovery.current
    homes = work.homes()
    for one in snapshot.instances if snapshot else ():
        health = Text(one.health, COLOURS[one.health])
        lately = work.lately(one.id)
        counts = (str(homes[one.id]), str(work.answered[one.id]), str(lately))
        yield (one.id, health, *(Text(count, "" if lately else "dim") for count in counts))


def in_words(work: Work, verdict: DemoReport, victim: str) -> Text:
    """The verdict for people."""
    tally = work.tally()
    told = [
        ("attempts made again on another instance", tally.failovers),
        ("outcomes unknown, and settled by reading back", tally.settlements),
        ("sessions that had to be put back", tally.repairs),
        ("times that a story was learned, two for each", tally.learned),
        (f"predictions with the right future, of {tally.asked}", tally.predicted),
    ]
    wide = max(len(what) for what, _ in told)
    bad = "" if verdict.good else "\nThat is not what was promised: please report it.\n"
    return Text.assemble(
        f"\n{verdict.observations} observations in {len(work.told)} sessions, while {victim} was "
        f"killed and came back.\n",
        "Read back from KATO itself, every one of them:\n\n",
        (f"  {_zeros(verdict)}\n\n", "bold green" if verdict.good else "bold red"),
        "".join(f"  {what:<{wide}}  {count:>5}\n" for what, count in told),
        (bad, "red"),
    )


def _zeros(verdict: DemoReport) -> str:
    return f"{verdict.failed} failed, {verdict.lost} lost, {verdict.applied_twice} applied twice"
