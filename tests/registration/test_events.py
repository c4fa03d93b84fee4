"""Events: each has words, and the words need no field that is not told."""

import pytest

from kato_consul._registration.events import WARNINGS, WORDS, Event, words

FIELDS = {
    "lost": "is gone from",
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
    "code": 137,
}


@pytest.mark.parametrize("event", Event)
def test_words(event: Event) -> None:
    """Each event can be said to people."""
    assert words(event, FIELDS)
    assert "{" not in words(event, FIELDS)


def test_names_are_stable() -> None:
    """The names are a promise to machines: of whom, and what happened. None is ever renamed."""
    assert set(WORDS) == set(Event)
    assert set(WORDS) >= WARNINGS
    assert [event.value for event in Event] == [
        "instance.registered",
        "instance.registered_again",
        "instance.put_back",
        "instance.passing",
        "instance.health",
        "instance.learned",
        "instance.unknown_version",
        "instance.taken_out_again",
        "instance.not_taken_out",
        "instance.deregistered",
        "instance.was_not_registered",
        "instance.pruned",
        "instance.draining",
        "instance.drained",
        "instance.still_busy",
        "instance.resumed",
        "pool.differs",
        "consul.trouble",
        "consul.back",
        "file.read_again",
        "file.rejected",
        "file.gone",
        "child.started",
        "child.ended",
    ]
