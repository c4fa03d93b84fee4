"""The table of instances that ``instances`` prints, and the colours of their health."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kato_consul import Health, Instance, Snapshot
from kato_consul.cli.output import excerpt, printable

COLOURS = {
    Health.PASSING: "green",
    Health.WARNING: "yellow",
    Health.CRITICAL: "red",
    Health.MAINTENANCE: "blue",
}

_UNLIMITED = 10_000
"""Columns where there is no terminal: grep needs each instance on one line."""


def print_table(snapshot: Snapshot, summary: str) -> None:
    """Print the instances to standard output, with ``summary`` as the last line."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    console.print(_table(snapshot))
    console.print(Text(printable(summary)))


def _table(snapshot: Snapshot) -> Table:
    rows = [
        {
            "id": Text(printable(instance.id)),
            "address": Text(printable(_address(instance))),
            "health": Text(instance.health, COLOURS[instance.health]),
            "used": Text("yes" if instance in snapshot.usable else "no"),
            "zone": Text(printable(instance.zone)),
            "node": Text(printable(instance.node)),
            "tags": Text(printable(", ".join(instance.tags))),
            "check output": Text(excerpt(instance.address_error or instance.output)),
        }
        for instance in snapshot.instances
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    # A column that is empty for all instances is left out, so that the table fits.
    headings = [name for name in rows[0] if any(row[name].plain for row in rows)] if rows else []
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in ("id", "health", "used"))
    for row in rows:
        table.add_row(*(row[name] for name in headings))
    return table


def _address(instance: Instance) -> str:
    """Return ``host:port``, or the whole URL if that is not plain HTTP without a path."""
    plain = instance.scheme == "http" and not instance.path
    return instance.netloc if plain else instance.origin
