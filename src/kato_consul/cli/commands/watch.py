"""``watch``: what a client sees, change by change."""

import json
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

from kato_consul._sync.discovery import Discovery
from kato_consul.cli.commands.instances import WITHIN, as_json, by_whom
from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import Consul, Service, no_answer_yet, settings, told_here
from kato_consul.cli.output import status_if_slow, timed
from kato_consul.cli.signals import interrupt_on_signals
from kato_consul.errors import KatoConsulError
from kato_consul.models import Instance, Snapshot

GLANCE = 0.5
"""Seconds between looks at whether Consul still answers."""

JsonLines = Annotated[bool, flag("--json", help="A JSON object for each snapshot, a line each.")]


def watch(service: Service = None, json_: JsonLines = False, consul: Consul = None) -> None:
    """Show a service's instances as a client sees them, and each change.

    Stays until Ctrl-C, while Consul is away, too: that is told, and clients
    go on with what it said last.

      kato-consul watch

      kato-consul watch --json | jq -c '\\[.source, .instances\\[].id]'
    """
    with exit_on_error():
        interrupt_on_signals()
        told_here()
        asked = settings(consul, service)
        with Discovery(asked) as discovery:
            with status_if_slow(no_answer_yet(asked)):
                discovery.snapshot(WITHIN)
            if json_:
                for snapshot in discovery.changes():
                    _tell(json.dumps(for_machines(snapshot, discovery.age)))
            else:
                _watch(discovery)


def for_machines(snapshot: Snapshot, age: float | None) -> dict[str, Any]:
    """A snapshot, and when it was seen."""
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **as_json(snapshot, age)}


def differences(before: Snapshot | None, after: Snapshot) -> Iterator[tuple[str, str]]:
    """What changed, in words: which instance, and what of it."""
    old = {one.uid: one for one in before.instances} if before else {}
    new = {one.uid: one for one in after.instances}
    for uid in [uid for uid in old if uid not in new]:
        yield uid, "gone"
    for uid, one in new.items():
        was = old.get(uid)
        if was is None:
            yield uid, f"at {one.netloc}, {_state(one)}"
        elif one != was:
            yield uid, ", ".join(_of_instance(was, one))


def _of_instance(was: Instance, now: Instance) -> Iterator[str]:
    if was.health is not now.health:
        yield _state(now)
    if was.netloc != now.netloc:
        yield f"now at {now.netloc}"
    for name in ("tags", "meta", "weight", "node"):
        if (value := getattr(now, name)) != getattr(was, name):
            yield f"{name} {json.dumps(value)}"


def _state(one: Instance) -> str:
    said = " ".join(one.output.split())[:200]
    return f"{one.health}: {said}" if said else one.health.value


def _watch(discovery: Discovery) -> None:
    seen: Snapshot | None = None
    trouble: KatoConsulError | None = None
    while True:
        snapshot = discovery.wait_for_change(seen, GLANCE)
        assert snapshot is not None
        if snapshot is not seen:
            for who, what in differences(seen, snapshot):
                _tell(timed(who, what))
            summary = f"{snapshot.summary()}, {by_whom(snapshot, discovery.age)}"
            _tell(timed(snapshot.service, summary))
            seen = snapshot
        before, trouble = trouble, discovery.last_error
        if trouble is None and before is not None:
            _tell(timed("consul", "answers again"))
        if trouble is not None and before is None:
            _tell(timed("consul", str(trouble)))
            _tell(timed(snapshot.service, f"clients go on {by_whom(snapshot, discovery.age)}"))


def _tell(line: str) -> None:
    # Not as a job tells: this only prints, and ends when nobody reads.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
