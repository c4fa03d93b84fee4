"""Deletions whose lease is lost meanwhile, or whose record fails: what was deleted stays so."""

from collections.abc import Callable

import pytest

from kato_consul._flow import Send
from kato_consul._kato import reads
from kato_consul._kato.execute import settle_call
from kato_consul.errors import OutcomeUnknown
from tests.owning.calling import Calls, observe


@pytest.fixture
def calls() -> Calls:
    """A session with one event, which A is about to delete."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    calls.begin(calls.a, reads.delete)
    calls.step_until(calls.a, to_delete)
    return calls


to_delete: Callable[[Send], bool] = lambda send: send.method == "DELETE"  # noqa: E731


def test_overtaken_before_it_is_sent(calls: Calls) -> None:
    """B continues in another session of KATO's: A deletes that as well."""
    calls.lose(calls.a)
    calls.alone(calls.b, observe("b"))
    calls.end(calls.a)
    assert calls.symbols(calls.a) == calls.symbols(calls.b) == []


def test_overtaken_after_it_was_applied(calls: Calls) -> None:
    """B finds that the session is gone, and begins again: A deletes that as well."""
    calls.a.step()
    calls.lose(calls.a)
    calls.alone(calls.b, observe("b"))
    assert calls.symbols(calls.b) == ["b"]
    calls.end(calls.a)
    assert calls.symbols(calls.b) == []


@pytest.mark.parametrize("dies", [True, False])
def test_cancelled_after_it_was_applied(calls: Calls, dies: bool) -> None:
    """The next owner does not take the session for lost, and `settle` tells that it was deleted."""
    calls.a.step()
    calls.a.cancel()
    if dies:
        calls.lose(calls.a)
    calls.call(calls.b, observe("b"))
    assert calls.symbols(calls.b) == ["b"]
    assert calls.call(calls.a, settle_call) is True


def test_not_announced(calls: Calls) -> None:
    """The directory is away before it is sent: nothing happens."""
    calls.a.cancel()
    calls.call(calls.a, reads.stm)
    calls.begin(calls.a, reads.delete)
    calls.store.down = True
    calls.a.finish([])
    calls.store.down = False
    assert calls.error_of(calls.a).sent is False
    assert calls.call(calls.a, settle_call) is None
    assert calls.symbols(calls.a) == ["a"]


def test_the_session_cannot_be_owned_again(calls: Calls) -> None:
    """The error does not say that nothing was sent."""
    calls.a.step()
    calls.lose(calls.a)
    calls.store.down = True
    calls.a.finish([])
    assert isinstance(calls.error_of(calls.a), OutcomeUnknown)


def test_settled_and_then_the_owner_dies(calls: Calls) -> None:
    """`settle` has told that it was deleted: the next owner does not restore it."""
    calls.a.step()
    calls.store.down = True
    calls.a.finish([])
    calls.store.down = False
    assert calls.call(calls.a, settle_call) is True
    calls.lose(calls.a)
    assert calls.symbols(calls.b) == []


def test_settled_by_a_takeover(calls: Calls) -> None:
    """It was cancelled before it was applied, and B continues the session."""
    calls.a.cancel()
    calls.lose(calls.a)
    calls.call(calls.b, observe("b"))
    assert calls.call(calls.a, settle_call) is False
    assert calls.symbols(calls.a) == ["a", "b"]
