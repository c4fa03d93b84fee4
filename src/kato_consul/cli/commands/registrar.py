"""A registrar for a command: it tells what it does, and what it is waiting for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kato_consul._registration.events import RegistrarEvent
from kato_consul._sync.registrar import Registrar
from kato_consul.cli.event_output import event_sink
from kato_consul.cli.options.common import no_answer_yet
from kato_consul.cli.options.job_options import JobOptions
from kato_consul.cli.output import print_result, print_status, status_if_slow, timed


@contextmanager
def registrar_for(asked: JobOptions, *, then: str, owner: str | None = None) -> Iterator[Registrar]:
    """A registrar of what was asked; closed with the block."""
    where, count = asked.settings.consul_address, len(asked.definitions)
    progress(asked, f"registering {count} instance{'s'[: count - 1]} with Consul at {where}")
    if asked.wait:
        progress(asked, f"{then} up to {asked.wait:g} s until Consul says passing")
    told = event_sink(as_json=asked.json)
    with status_if_slow(no_answer_yet(asked.settings)) as answered:

        def heard(event: RegistrarEvent, who: str, /, **fields: Any) -> None:
            answered()
            told(event, who, **fields)

        registrar = Registrar(
            asked.definitions,
            asked.settings,
            wait=asked.wait,
            consul_within=asked.wait_consul,
            owner=owner,
            on_event=heard,
        )
        try:
            yield registrar
        finally:
            registrar.close()


def progress(asked: JobOptions, line: str) -> None:
    """A line about the command itself; where machines read the events, it is for people only."""
    (print_status if asked.json else print_result)(timed("kato-consul", line))
