"""What an owner does when it acquires a session again: it goes on from its own memory only if the
entry is as it left it."""

from typing import Any

import msgspec
import pytest

from kato_consul._kato import reads
from kato_consul.errors import SessionConflict
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
    """The owner's memory is what there is of the session: it goes on in it, and others after it."""
    del overtaken.store.entries[KEY]
    before = overtaken.one.state.id
    assert overtaken.memory() == [["x"]]
    assert overtaken.one.state.id == before
    assert overtaken.store.entries[KEY].id == before
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
