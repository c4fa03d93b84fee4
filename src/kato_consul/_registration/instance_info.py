"""Instance info: the version and the ``base_processor_id`` that an instance reports.

Both are published in Consul as metadata, for clients and for people. Instances that differ in
``base_processor_id`` (derived from KATO's SERVICE_NAME) do not share what they learn, whatever
database they share. So differences within a pool are reported.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from kato_consul._flow import Failure, Flow, Outcome, Reply, Send
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.registrar_state import INFO_FIELDS, ManagedInstance
from kato_consul.models import Instance

INFO_TIMEOUT = 5.0
"""Seconds that ``/status`` may take. It is requested from instances that have just answered."""


def read_info(instance: ManagedInstance, on_event: EventSink) -> Flow[None]:
    """Flow: read an instance's info and store it. A missing field is an event, not an error."""
    origin, service_id = instance.definition.origin, instance.definition.id
    outcome: Outcome = yield Send(origin, "GET", "/status", INFO_TIMEOUT)
    info = {
        name: value
        for name in INFO_FIELDS
        if isinstance(outcome, Reply)
        and isinstance(value := field_of(outcome, name), str)
        and value
    }
    if len(info) < len(INFO_FIELDS):
        why = str(outcome) if isinstance(outcome, Failure) else f"/status returned {outcome.status}"
        on_event(RegistrarEvent.UNKNOWN_VERSION, service_id, why=why)
    elif info != instance.info:
        on_event(RegistrarEvent.INFO, service_id, **info)
    instance.info = {**instance.info, **info}


def differences(mine: Instance, pool: Sequence[Instance]) -> Iterator[tuple[str, Instance]]:
    """Yield each field of `INFO_FIELDS` that differs, with the first instance that differs in it.

    An instance without the field does not differ.
    """
    for name in INFO_FIELDS:
        for other in pool:
            if name in other.meta and name in mine.meta and other.meta[name] != mine.meta[name]:
                yield name, other
                break


def field_of(reply: Reply, name: str) -> Any:
    """Return a field of the JSON object in a reply; None if there is no such field or object."""
    try:
        document = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return document.get(name) if isinstance(document, dict) else None
