"""``watch``: prints the instances as a client sees them, and each change."""

import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from kato_consul import ConsulDenied, Instance, KatoConsulError, Snapshot, UnknownService
from kato_consul.cli.commands.instances import CONSUL_WITHIN, as_json, describe_source
from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import Consul, Service, settings_from, silence_watch_log
from kato_consul.cli.output import (
    excerpt,
    log_line,
    print_status,
    printable,
    status_if_consul_is_slow,
)
from kato_consul.cli.signals import interrupt_on_signals

if TYPE_CHECKING:
    from kato_consul import Discovery

ERROR_POLL_INTERVAL = 0.5
"""Seconds between checks whether Consul still answers."""

JsonLines = Annotated[bool, flag("--json", help="Print each snapshot as one line of JSON.")]


def watch(service: Service = None, json_: JsonLines = False, consul: Consul = None) -> None:
    """Print a service's instances, and each change.

    Prints the instances as clients see them, and runs until Ctrl-C. When Consul
    stops answering, it prints that and goes on: clients keep using what Consul
    reported last.

      kato-consul watch

      kato-consul watch --json | jq -c '\\[.source, .instances\\[].id]'
    """
    with exit_on_error():
        interrupt_on_signals()
        from kato_consul import Discovery

        silence_watch_log()
        settings = settings_from(consul, service)
        with Discovery(settings) as discovery:
            with status_if_consul_is_slow(settings):
                discovery.snapshot(CONSUL_WITHIN)
                try:
                    discovery.registered_snapshot(CONSUL_WITHIN)
                except (UnknownService, ConsulDenied) as error:  # both may change
                    print_status(f"warning: {error}")
            if json_:
                for snapshot in discovery.changes():
                    _print(json.dumps(_timed_json(snapshot, discovery.age)))
            else:
                _print_changes(discovery)


def differences(before: Snapshot | None, after: Snapshot) -> Iterator[tuple[str, str]]:
    """Yield each instance's uid that differs, with a description of the difference."""
    old = {instance.uid: instance for instance in before.instances} if before else {}
    new = {instance.uid: instance for instance in after.instances}
    for uid in [uid for uid in old if uid not in new]:
        yield uid, "removed"
    for uid, instance in new.items():
        previous = old.get(uid)
        if previous is None:
            yield uid, f"at {instance.netloc}, {_health(instance)}{_unused(instance)}"
        elif instance != previous:
            yield uid, ", ".join(_instance_differences(previous, instance))


def _instance_differences(before: Instance, after: Instance) -> Iterator[str]:
    if before.health is not after.health:
        yield _health(after)
    if before.netloc != after.netloc:
        yield f"now at {after.netloc}{_unused(after)}"
    for name in ("tags", "meta", "weight", "node"):
        if (value := getattr(after, name)) != getattr(before, name):
            yield f"{name} {json.dumps(value)}"


def _unused(instance: Instance) -> str:
    return f", never used: {instance.address_error}" if instance.address_error else ""


def _health(instance: Instance) -> str:
    output = excerpt(instance.output)
    return f"{instance.health}: {output}" if output else instance.health.value


def _timed_json(snapshot: Snapshot, age: float | None) -> dict[str, Any]:
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **as_json(snapshot, age)}


def _print_changes(discovery: "Discovery") -> None:
    printed: Snapshot | None = None
    last_error: KatoConsulError | None = None
    while True:
        snapshot = discovery.wait_for_change(printed, ERROR_POLL_INTERVAL)
        assert snapshot is not None
        if snapshot is not printed:
            for uid, difference in differences(printed, snapshot):
                _print(log_line(uid, difference))
            for entry in snapshot.unreadable:
                if printed is None or entry not in printed.unreadable:
                    line = f"an entry of Consul's list cannot be read: {entry}"
                    _print(log_line(snapshot.service, line))
            source = describe_source(snapshot, discovery.age)
            _print(log_line(snapshot.service, f"{snapshot.summary()}, {source}"))
            printed = snapshot
        previous_error, last_error = last_error, discovery.last_error
        if last_error is None and previous_error is not None:
            _print(log_line("consul", "answers again"))
        if last_error is not None and previous_error is None:
            _print(log_line("consul", str(last_error)))
            source = describe_source(snapshot, discovery.age)
            _print(log_line(snapshot.service, f"clients keep using the instances {source}"))


def _print(line: str) -> None:
    # Not `print_result`: this command only prints, and ends when the reader is gone.
    sys.stdout.write(f"{printable(line)}\n")
    sys.stdout.flush()
