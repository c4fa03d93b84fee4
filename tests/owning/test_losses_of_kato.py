"""What KATO has lost of a session, as a takeover finds it."""

import msgspec
import pytest

from kato_consul._kato import reads
from kato_consul.errors import SessionConflict
from tests.owning.overtaking import Overtaken, observe
from tests.owning.two_owners import KEY


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
    """If its owner had observed more, it would have written the entry again."""
    entry = left.store.entries[KEY]
    assert entry.ttl is None
    left.store.entries[KEY] = msgspec.structs.replace(entry, written_at=entry.written_at - 3_600)
    left.kato.lose_sessions()
    assert left.memory() == [["x"], ["y"]]
