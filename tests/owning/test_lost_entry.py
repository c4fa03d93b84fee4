"""Sessions whose entry is gone: it has expired with KATO's session, or the directory lost it."""

import copy
import time
from functools import partial

import pytest

from kato_consul._kato import configuration, reads, repeatable, writes
from kato_consul._kato.execute import settle_call
from kato_consul._kato.learning import learn
from kato_consul._kato.repeated_calls import position_of
from kato_consul._owning.entry_state import DEFAULT_TTL
from kato_consul.errors import OutcomeUnknown, SessionConflict
from kato_consul.models import Position
from tests.owning.calling import Calls, observe, write
from tests.owning.two_owners import KEY


@pytest.fixture
def calls() -> Calls:
    """A session of A's, which B has continued: A's memory of it is outdated."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    calls.call(calls.a, observe("b"))
    calls.call(calls.b, learn)
    calls.call(calls.b, observe("c"))
    return calls


def lose_entry(calls: Calls) -> None:
    """Delete the entry, and end all leases."""
    for owner in (calls.a, calls.b):
        calls.lose(owner)
    calls.store.entries.clear()


def expire(calls: Calls) -> None:
    """Let so much time pass that KATO and the directory have forgotten the session."""
    calls.kato.clock.now += 2 * DEFAULT_TTL + 1
    calls.kato.lose_sessions()
    lose_entry(calls)


def test_expired(calls: Calls) -> None:
    """A process that owned it before others opens a new session: what has been learned since is not
    there again."""
    expire(calls)
    assert calls.symbols(calls.a) == []
    calls.call(calls.a, observe("d"))
    assert calls.symbols(calls.b) == ["d"]


def test_expired_and_opened_again(calls: Calls) -> None:
    """For a process that owned it before it expired, that is no conflict."""
    expire(calls)
    calls.call(calls.b, observe("d"))
    calls.call(calls.a, observe("e"))
    assert calls.symbols(calls.b) == ["d", "e"]


def test_expired_with_a_log(calls: Calls) -> None:
    """A new session has no position."""
    message = repeatable.observe({"strings": ["m"]}, None, Position("log", 0, 5))
    calls.call(calls.a, message)
    expire(calls)
    calls.call(calls.a, message)
    assert calls.symbols(calls.a) == ["m"]


def test_expired_with_a_pending_write(calls: Calls) -> None:
    """Whether it was applied will never be known."""
    calls.call(calls.a, observe("d"))
    calls.begin(calls.a, observe("x"))
    calls.step_until(calls.a, lambda send: send.target.endswith("/observe"))
    calls.a.cancel()
    expire(calls)
    with pytest.raises(OutcomeUnknown):
        calls.call(calls.a, settle_call)
    assert calls.symbols(calls.a) == []


def test_lost_and_an_earlier_owner_comes_first(calls: Calls) -> None:
    """It has given the session up, and continues from what KATO has."""
    lose_entry(calls)
    calls.call(calls.a, observe("d"))
    assert calls.symbols(calls.a) == ["c", "d"]


def test_lost_and_the_session_is_gone(calls: Calls) -> None:
    """An earlier owner is told, since its memory may be outdated, and a new session is opened."""
    calls.kato.lose_sessions()
    lose_entry(calls)
    with pytest.raises(SessionConflict) as caught:
        calls.call(calls.a, reads.stm)
    assert caught.value.expected_stm == [["a"], ["b"]]
    assert calls.symbols(calls.a) == []


def test_lost_and_the_last_owner_comes_first(calls: Calls) -> None:
    """It goes on with its own memory, also if KATO has lost that."""
    calls.kato.lose_sessions()
    lose_entry(calls)
    calls.call(calls.b, observe("d"))
    assert calls.symbols(calls.b) == ["c", "d"]


def test_the_entry_lasts_as_long_as_the_session_was_extended() -> None:
    """Also after it was handed over."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    calls.call(calls.a, write(writes.extend(24 * DEFAULT_TTL)))
    assert lasts(calls) > 24 * DEFAULT_TTL
    calls.call(calls.b, reads.stm)
    assert lasts(calls) > 24 * DEFAULT_TTL


@pytest.mark.parametrize("ttl", [None, 24 * DEFAULT_TTL])
def test_the_entry_lasts_longer_than_the_session(ttl: int | None) -> None:
    """KATO says how long it keeps a session: an instance may have another default."""
    calls = Calls()
    if ttl is not None:
        calls.kato.default_ttl = ttl
    calls.call(calls.a, observe("a"))
    assert lasts(calls) > 1.9 * (ttl or DEFAULT_TTL)


def lasts(calls: Calls) -> float:
    """Return for how many seconds the entry is kept."""
    return calls.store.entries[KEY].expires_at - time.time()


@pytest.mark.parametrize("learns_itself", [False, True])
def test_learned_and_then_expired_with_a_dead_owner(
    calls: Calls, learns_itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner has died, and KATO's session has expired before its entry. What was learned is not
    in the memory again."""
    if learns_itself:
        calls.call(calls.b, partial(configuration.set_config, values={"max_pattern_length": 3}))
    calls.call(calls.a, observe("d"))
    calls.call(calls.b, observe("e") if learns_itself else learn)
    assert calls.kato.patterns.total() == 2
    calls.lose(calls.b)
    calls.kato.lose_sessions()
    later = time.time() + DEFAULT_TTL
    monkeypatch.setattr(time, "time", lambda: later)
    assert calls.symbols(calls.a) == []


def test_expired_with_a_dead_owner(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins again, empty: what the dead owner observed after its last write of the entry is not
    known, and a part of a memory would be no memory."""
    for symbol in "abc":
        calls.call(calls.b, observe(symbol))
    assert calls.store.entries[KEY].events < 3
    calls.lose(calls.b)
    calls.kato.lose_sessions()
    later = time.time() + DEFAULT_TTL
    monkeypatch.setattr(time, "time", lambda: later)
    calls.call(calls.a, observe("d"))
    assert calls.symbols(calls.a) == ["d"]


def test_learned_and_not_saved_by_a_store_and_the_owner_dies() -> None:
    """The memory is what was learned: the next owner does not learn it again."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    calls.call(calls.a, observe("b"))
    before = copy.deepcopy(calls.kato.only_session())
    calls.call(calls.a, learn)
    calls.kato.sessions[before.session_id] = before
    calls.lose(calls.a)
    with pytest.raises(OutcomeUnknown):
        calls.call(calls.b, learn)
    assert calls.kato.patterns.total() == 1


def test_a_learn_of_a_message_is_recorded() -> None:
    """The owner dies after it: the next one knows that the message is applied."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    calls.call(calls.a, observe("b"))
    message = repeatable.learn(None, Position("log", 0, 5))
    answer = calls.call(calls.a, message)
    calls.lose(calls.a)
    assert calls.call(calls.b, message)["pattern_name"] in ("", answer["pattern_name"])
    assert calls.call(calls.b, partial(position_of, log="log")) == Position("log", 0, 5)
    assert calls.kato.patterns.total() == 1
