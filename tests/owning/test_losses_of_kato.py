"""What KATO has lost of a session, as a takeover finds it."""

import msgspec
import pytest

from kato_consul._kato import reads
from kato_consul.errors import SessionConflict
from tests.kato.model_kato import ModelKato
from tests.owning.model_directory import ModelStore
from tests.owning.overtaking import Overtaken, clear, observe
from tests.owning.two_owners import KEY, OneOwner


@pytest.fixture
def left() -> Overtaken:
    """Two owners. The first one handed x and y over; the second one read them, and has died."""
    result = Overtaken()
    for symbol in ("x", "y"):
        assert "time" in result.call(observe(symbol))
    assert result.of_two(reads.stm) == [["x"], ["y"]]
    result.store.expire("two")
    return result


def test_counter_below_the_one_of_the_entry(left: Overtaken) -> None:
    """The caller is told, and goes on from what KATO has."""
    session = left.kato.session_of(left.two.state)
    session.time, session.stm = 1, [["x"]]
    assert isinstance(left.call(reads.stm), SessionConflict)
    assert left.memory() == [["x"]]


def test_session_that_is_gone(left: Overtaken) -> None:
    """The caller is told, since its owner may have observed more than the entry has. It goes on
    from the entry."""
    left.kato.lose_sessions()
    assert isinstance(left.call(reads.stm), SessionConflict)
    assert left.memory() == [["x"], ["y"]]


def test_session_that_has_expired(left: Overtaken) -> None:
    """It begins again, empty: its owner may have observed more than the entry has."""
    entry = left.store.entries[KEY]
    left.store.entries[KEY] = msgspec.structs.replace(entry, written_at=entry.written_at - 3_600)
    left.kato.lose_sessions()
    assert left.memory() == []


def test_clear_whose_owner_dies_before_it_is_recorded(left: Overtaken) -> None:
    """The entry tells that it was about to be sent: so a counter below the entry's is no loss."""
    left.begin(clear())
    left.one.stop_before("POST", "/clear-stm")
    left.one.step()
    left.store.expire("one")
    assert left.of_two(reads.stm) == []


def test_memory_that_is_not_the_one_of_a_released_entry_without_observations() -> None:
    """The counter and the number of events are right, and the digest of the entry tells."""
    kato = ModelKato()
    store = ModelStore(kato.clock)
    one, two = (OneOwner(name, kato, store, keeps_observations=False) for name in ("one", "two"))
    outcomes: list[object] = []

    def read_by_two(change: str) -> object:
        one.call(observe("x"), lambda result, error: None)
        one.finish([two])
        if change:
            kato.session_of(one.state).stm[-1] = [change]
        two.call(reads.stm, lambda result, error: outcomes.append(error or result))
        two.finish([one])
        return outcomes.pop()

    assert read_by_two("") == [["x"]]
    assert isinstance(read_by_two("foreign"), SessionConflict)


def test_session_that_another_owner_has_left_during_a_hand_over() -> None:
    """The one that acquired it was stopped while it read KATO. Then KATO has that session no more,
    and nothing is lost."""
    kato = ModelKato()
    store = ModelStore(kato.clock)
    one, two = (OneOwner(name, kato, store, keeps_observations=False) for name in ("one", "two"))
    outcomes: list[object] = []

    def ended(result: object, error: BaseException | None) -> None:
        outcomes.append(error or result)

    two.call(observe("x"), ended)
    two.finish([])
    one.call(reads.stm, ended)
    while one.running is not None and not one.is_before("GET", "/cognition-data"):
        one.step()
        two.step() if two.running is not None else two.hand_over_if_wanted()
    store.expire("one")
    two.call(observe("y"), ended)
    two.finish([])
    one.finish([two])
    assert outcomes[-1] == [["x"], ["y"]]
