"""What an owner does when it acquires a session again: it goes on from its own memory only if the
entry is as it left it."""

from functools import partial
from typing import Any

import msgspec
import pytest

from kato_consul._kato import reads, repeatable, replacement, writes
from kato_consul._kato.execute import execute_write, settle_call
from kato_consul._kato.types import Observation
from kato_consul._owning.entry_state import DEFAULT_TTL
from kato_consul.errors import OutcomeUnknown, SessionConflict
from tests.kato.model_kato import ModelKato
from tests.owning.model_directory import ModelStore
from tests.owning.overtaking import Overtaken, observe
from tests.owning.two_owners import KEY, OneOwner


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


def test_what_was_lost_is_dropped() -> None:
    """The directory may give it up, though something may refer to it for long."""
    owners = Overtaken()
    owners.call(observe("x"))
    ownership = owners.one.state.ownership
    assert ownership is not None
    before = ownership.held
    owners.overtake("y")
    owners.call(observe("z"))
    assert before is not None
    assert before.dropped
    assert ownership.held is not None
    assert not ownership.held.dropped


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


def test_a_session_that_was_released_and_that_no_other_owner_has_used() -> None:
    """Its owner goes on from its own memory, which has more than an entry without observations."""
    kato = ModelKato()
    one = OneOwner("one", kato, ModelStore(kato.clock), keeps_observations=False)
    answers: list[Any] = []
    one.call(observe("x"), lambda result, error: answers.append(error or result))
    one.finish([])
    one.directory.wanted.set(frozenset({KEY}))
    one.hand_over_if_wanted()
    one.finish([])
    assert one.store.entries[KEY].released
    kato.requests.clear()
    one.call(observe("y"), lambda result, error: answers.append(error or result))
    one.finish([])
    assert [answer["time"] for answer in answers] == [1, 2]
    assert kato.requests == [("POST", "observe")]


@pytest.mark.parametrize("emotives", [{}, {"joy": 0.5}])
def test_emotives_that_a_takeover_cannot_restore(emotives: dict[str, float]) -> None:
    """The entry tells the next owner that there were some, also if it was written again since."""
    kato = ModelKato()
    store = ModelStore(kato.clock)
    one, two = (OneOwner(name, kato, store, keeps_observations=False) for name in ("one", "two"))
    observation: Observation = {"strings": ["x"], "emotives": emotives}
    for flow in (
        partial(execute_write, write=writes.observe(observation)),
        repeatable.observe({"strings": ["y"]}, "key", None),
    ):
        one.call(flow, lambda result, error: None)
        one.finish([])
    store.expire("one")
    two.call(reads.stm, lambda result, error: None)
    two.finish([])
    assert two.state.facts().replayed_without_emotives is bool(emotives)


def test_an_entry_of_a_session_in_use_does_not_expire() -> None:
    """It is written again before half of the time that KATO keeps the session."""
    owners = Overtaken()
    owners.call(observe("x"))
    entry = owners.store.entries[KEY]
    owners.call(observe("y"))
    assert owners.store.entries[KEY] is entry
    owners.kato.clock.advance(DEFAULT_TTL / 2)
    owners.call(observe("z"))
    assert owners.store.entries[KEY].revision == entry.revision + 1
    assert owners.store.entries[KEY].time == 3
