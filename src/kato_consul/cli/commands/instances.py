"""``instances``: what a client would see."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kato_consul._sync.discovery import Discovery
from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.options.common import Consul, Json, Service, no_answer_yet, settings, told_here
from kato_consul.cli.output import print_status, status_if_slow
from kato_consul.models import Health, Instance, Snapshot, Source

WITHIN = 5.0
"""Seconds to wait for Consul: a person is waiting."""

COLOURS = {
    Health.PASSING: "green",
    Health.WARNING: "yellow",
    Health.CRITICAL: "red",
    Health.MAINTENANCE: "blue",
}

_WHOSE = {
    Source.CONSUL: "as Consul said",
    Source.DISK: "by the copy on disk of what Consul said",
}

_ENDLESS = 10_000
"""The width of what is no terminal: a line there is for grep, and must not be folded."""


def instances(service: Service = None, json_: Json = False, consul: Consul = None) -> None:
    """Show a service's instances as a client sees them.

    "used" is whether a client would send requests there: to those that are
    passing; if none is, to those with a warning. The last line says whose
    word it is: Consul's, or that of the copy in KATO_CONSUL_STATE_DIR, or
    the list in KATO_URL, which clients go by until Consul answers.

      kato-consul instances

      kato-consul instances --json | jq -r '.instances\\[] | select(.used).id'
    """
    with exit_on_error():
        told_here()
        asked = settings(consul, service)
        with Discovery(asked) as discovery, status_if_slow(no_answer_yet(asked)):
            snapshot = discovery.registered_snapshot(WITHIN)
            age, trouble = discovery.age, discovery.last_error
        if json_:
            sys.stdout.write(json.dumps(as_json(snapshot, age)) + "\n")
        else:
            console = Console(highlight=False)
            if not console.is_terminal:
                console.width = _ENDLESS
            console.print(as_table(snapshot))
            console.print(f"{snapshot.service}: {snapshot.summary()}, {by_whom(snapshot, age)}")
        if trouble is not None:
            print_status(f"warning: {trouble}")


def by_whom(snapshot: Snapshot, age: float | None) -> str:
    """Whose word it is, and how old."""
    if snapshot.source is Source.STATIC:
        return "by the list in KATO_URL"
    when = "now" if age is None or age < 1 else f"{_duration(age)} ago"
    return f"{_WHOSE[snapshot.source]} {when}"


def as_json(snapshot: Snapshot, age: float | None) -> dict[str, Any]:
    """The snapshot for machines; ``age`` in seconds."""
    return {
        "service": snapshot.service,
        "source": snapshot.source.value,
        "age": None if age is None else round(age, 3),
        "index": snapshot.index,
        "instances": [_entry(one, used=one in snapshot.usable) for one in snapshot.instances],
    }


def as_table(snapshot: Snapshot) -> Table:
    """The snapshot for people."""
    rows = [
        {
            "id": Text(one.id),
            "address": Text(one.netloc),
            "health": Text(one.health, COLOURS[one.health]),
            "used": Text("yes" if one in snapshot.usable else "no"),
            "zone": Text(one.zone),
            "node": Text(one.node),
            "tags": Text(", ".join(one.tags)),
            "its check says": Text(" ".join(one.output.split())[:200]),
        }
        for one in snapshot.instances
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    # The narrower the table, the more of it fits: what nobody has gets no column.
    headings = [name for name in rows[0] if any(row[name].plain for row in rows)] if rows else []
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in ("id", "health", "used"))
    for row in rows:
        table.add_row(*(row[name] for name in headings))
    return table


def _duration(seconds: float) -> str:
    """In the largest unit that there is one of."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _entry(one: Instance, *, used: bool) -> dict[str, Any]:
    return {
        "id": one.id,
        "address": one.address,
        "port": one.port,
        "health": one.health.value,
        "used": used,
        "zone": one.zone,
        "node": one.node,
        "datacenter": one.datacenter,
        "tags": list(one.tags),
        "meta": dict(one.meta),
        "weight": one.weight,
        "output": one.output,
    }
