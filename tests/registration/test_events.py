"""Registrar events: each has a description, which uses only the event's own fields."""

import pytest

from kato_consul._registration.events import DESCRIPTIONS, WARNINGS, RegistrarEvent, describe_event

FIELDS = {
    "cause": "missing from",
    "status": "critical",
    "note": "no answer in time",
    "version": "3.10.1",
    "base_processor_id": "kato",
    "why": "refused",
    "reason": "new disks",
    "other": "kato-2",
    "what": "version",
    "mine": "3.10.1",
    "theirs": "3.9.0",
    "file": "kato.toml",
    "count": 2,
    "command": "uvicorn",
    "pid": 7,
    "seconds": 61,
    "code": 137,
    "port": 8001,
    "lost": "check 'alive' is not known",
}


@pytest.mark.parametrize("event", RegistrarEvent)
def test_every_event_has_a_description(event: RegistrarEvent) -> None:
    """The description is not empty, and all its fields are filled in."""
    assert describe_event(event, FIELDS)
    assert "{" not in describe_event(event, FIELDS)


def test_names_are_stable() -> None:
    """Programs rely on the names (subject and event): none is ever renamed."""
    assert set(DESCRIPTIONS) == set(RegistrarEvent)
    assert set(DESCRIPTIONS) >= WARNINGS
    assert [event.value for event in RegistrarEvent] == [
        "instance.registered",
        "instance.updated",
        "instance.unchanged",
        "instance.re_registered",
        "instance.passing",
        "instance.health",
        "instance.info",
        "instance.unknown_version",
        "instance.contested",
        "instance.rolled_back",
        "instance.restored",
        "instance.rollback_failed",
        "instance.deregistered",
        "instance.left",
        "instance.not_registered",
        "instance.not_on_agent",
        "instance.pruned",
        "instance.draining",
        "instance.drained",
        "instance.still_busy",
        "instance.resumed",
        "pool.differs",
        "locks.unusable",
        "consul.error",
        "consul.recovered",
        "file.reloaded",
        "file.rejected",
        "file.missing",
        "child.started",
        "child.hung",
        "child.ended",
    ]
