"""What an instance says of itself: its version, and whose memory it has.

Both go into Consul as metadata, where clients and people see them. Instances that differ in
``base_processor_id`` (made of KATO's SERVICE_NAME) do not share what they learn, whatever database
they share; so a pool that differs in either is told of.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from kato_consul._flow import Failure, Flow, Outcome, Reply, Send
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.registrar_state import ManagedInstance
from kato_consul.models import Instance

INFO_FIELDS = ("version", "base_processor_id")
"""Fields of KATO's ``/status``, and keys of the metadata."""

ANSWER_WITHIN = 5.0
"""Seconds. It is asked of instances that just answered."""


def read_info(one: ManagedInstance, on_event: EventSink) -> Flow[None]:
    """Flow: ask the instance, and keep what it said; what it does not say is told, not raised."""
    outcome: Outcome = yield Send(one.definition.origin, "GET", "/status", ANSWER_WITHIN)
    found = {
        name: value
        for name in INFO_FIELDS
        if isinstance(outcome, Reply)
        and isinstance(value := field_of(outcome, name), str)
        and value
    }
    if len(found) < len(INFO_FIELDS):
        why = str(outcome) if isinstance(outcome, Failure) else f"/status says {outcome.status}"
        on_event(RegistrarEvent.UNKNOWN_VERSION, one.definition.id, why=why)
    elif found != one.info:
        on_event(RegistrarEvent.INFO, one.definition.id, **found)
    one.info = {**one.info, **found}


def differences(mine: Instance, pool: Sequence[Instance]) -> Iterator[tuple[str, Instance]]:
    """Which of `LEARNED` differs, and in whom: the first one for each."""
    for name in INFO_FIELDS:
        for other in pool:
            if name in other.meta and name in mine.meta and other.meta[name] != mine.meta[name]:
                yield name, other
                break


def field_of(reply: Reply, name: str) -> Any:
    """A field of a JSON object; None when there is none, or it is no JSON object."""
    try:
        found = msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        return None
    return found.get(name) if isinstance(found, dict) else None
