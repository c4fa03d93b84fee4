"""The registrar of ``register`` and ``run``, which prints its events and what it waits for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kato_consul import RegistrarEvent
from kato_consul.cli.event_output import event_sink
from kato_consul.cli.options.job_options import JobOptions
from kato_consul.cli.output import PROGRAM, log_line, print_event, print_status, status_if_slow

if TYPE_CHECKING:
    from kato_consul import Registrar


@contextmanager
def job_registrar(
    options: JobOptions, *, owner: str | None = None, statuses: dict[str, str] | None = None
) -> Iterator["Registrar"]:
    """Create a registrar for the options; it is closed at the end of the block.

    ``statuses`` is filled with the last status of each instance, by their ids.
    """
    from kato_consul import Registrar

    statuses = {} if statuses is None else statuses
    address, count = options.settings.consul_address, len(options.definitions)
    print_progress(
        options, f"registering {count} instance{'s'[: count - 1]} with Consul at {address}"
    )
    if options.wait:
        print_progress(options, f"waiting up to {options.wait:g} s until Consul reports passing")
    print_event = event_sink(as_json=options.json)
    with status_if_slow(f"Consul at {address}") as consul_answered:

        def on_event(event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
            consul_answered()
            if event in (RegistrarEvent.PASSING, RegistrarEvent.HEALTH):
                statuses[subject] = fields["status"]
            print_event(event, subject, **fields)

        registrar = Registrar(
            options.definitions,
            options.settings,
            wait=options.wait,
            consul_within=options.wait_consul,
            owner=owner,
            on_event=on_event,
        )
        try:
            yield registrar
        finally:
            registrar.close()


def print_progress(options: JobOptions, line: str) -> None:
    """Print a line about the command itself; with --json, to standard error."""
    (print_status if options.json else print_event)(log_line(PROGRAM, line))
