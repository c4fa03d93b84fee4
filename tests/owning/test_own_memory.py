"""What an owner does when it acquires a session again: it goes on from its own memory only if the
entry is as it left it."""

from typing import Any

import msgspec
import pytest

from kato_consul._kato import reads, replacement
from kato_consul._kato.execute import settle_call
from kato_consul.errors import OutcomeUnknown, SessionConflict
from tests.owning.overtaking import Overtaken, observe
from tests.owning.two_owners import KEY


@pytest.fixture
def overtaken() -> Overtaken:
    """Two owners; the first one has observed x, and its lease has ended."""
    result = Overtaken()
    assert result.call(observe("x"))["time"] == 1
    result.store.expire("one")
    return result


@pytest.mark.parametrize(
    ("changes", "takeovers"),
    [
        ({}, 0),
        ({"owner": "two"}, 1),
        ({"epoch": 2}, 1),
        ({"revision": 99}, 1),
        ({"incarnation": "two"}, 1),
    ],
    ids=str,
)
def test_an_entry_that_is_not_as_it_was_left(
    overtaken: Overtaken, changes: dict[str, Any], takeovers: int
) -> None:
    """Each of these shows that it was changed since, so that the session is taken over."""
    left = overtaken.store.entries[KEY]
    overtaken.store.entries[KEY] = msgspec.structs.replace(left, **changes)
    outcome = overtaken.call(reads.stm)
    assert overtaken.one.state.facts().takeovers == takeovers
    assert isinstance(outcome, SessionConflict) is ("incarnation" in changes)
    assert overtaken.memory() == [["x"]]


def test_a_lost_entry_is_written_again(overtaken: Overtaken) -> None:
    """The owner's memory is what there is of the session. It goes on in it once the entry is there,
    and others after it."""
    del overtaken.store.entries[KEY]
    before = overtaken.one.state.id
    overtaken.begin(reads.stm)
    overtaken.one.stop_before("GET", "/stm")
    assert overtaken.store.entries[KEY].id == before
    assert overtaken.go_on() == [["x"]]
    assert overtaken.one.state.id == before
    overtaken.overtake("y")
    assert overtaken.memory() == [["x"], ["y"]]


def test_a_lost_entry_that_another_owner_has_made_again(overtaken: Overtaken) -> None:
    """There are two sessions of the key: the owner is told, and goes on in the new one."""
    del overtaken.store.entries[KEY]
    before = overtaken.one.state.id
    overtaken.overtake("y")
    conflict = overtaken.call(observe("z"))
    assert isinstance(conflict, SessionConflict)
    assert str(before) in str(conflict)
    assert str(overtaken.store.entries[KEY].id) in str(conflict)
    assert overtaken.memory() == [["y"]]


def test_an_entry_whose_write_had_no_answer() -> None:
    """The entry has another id than its owner knows, which acquires it again before it goes on. Its
    write landed in the session that was left, and is not applied."""
    owners = Overtaken()
    owners.call(observe("x"))
    before = owners.one.state.id
    owners.hang(observe("late"), "/observe")
    while owners.store.entries[KEY].id == before:
        owners.one.step()
    owners.store.down = True
    assert isinstance(owners.go_on(), OutcomeUnknown)
    owners.store.down = False
    owners.kato.wake()
    assert owners.call(settle_call) is False
    owners.overtake("y")
    assert owners.memory() == [["x"], ["y"]]


def test_an_owner_that_is_interrupted_after_the_write_of_an_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its caller's KeyboardInterrupt comes when the entry has the new id, and its memory the old
    one: it does not go on in that."""

    class InterruptedLog:
        def warning(self, event: str, **details: object) -> None:
            raise KeyboardInterrupt

    owners = Overtaken()
    owners.call(observe("x"))
    owners.hang(observe("late"), "/observe")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(replacement, "log", InterruptedLog())
        owners.go_on()
    owners.one.running = None
    assert owners.one.state.id != owners.store.entries[KEY].id
    owners.kato.wake()
    assert owners.call(settle_call) is False
    owners.overtake("y")
    assert owners.memory() == [["x"], ["y"]]
