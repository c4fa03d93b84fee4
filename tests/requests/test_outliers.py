"""Those that failed lately are asked last: what counts as that, for how long, what ends it."""

import pytest

from kato_consul._flow import Outcome
from kato_consul.errors import OutcomeUnknown
from tests.building import cut, hung, refused, reply
from tests.requests.calling import (
    BEGIN,
    FIRST,
    GOOD,
    LIMIT,
    READ,
    SECOND,
    THIRD,
    Calling,
    origins,
)


def test_failed_lately() -> None:
    """The next call does not begin with an instance that just failed, and later ones do again."""
    calling = Calling(refused(), GOOD, GOOD, GOOD)
    calling.call(READ)
    calling.call(READ)
    assert calling.asked == origins(FIRST, SECOND, SECOND)
    calling.clock.advance(1.0)
    assert calling.call(READ).instance == FIRST


def test_hung_lately() -> None:
    """One that was waited for in vain is let alone for as long as that took."""
    calling = Calling(hung(), GOOD, GOOD, GOOD)
    assert calling.call(READ).instance == SECOND
    calling.clock.advance(9.9)
    assert calling.call(READ).instance == SECOND
    calling.clock.advance(0.1)
    assert calling.call(READ).instance == FIRST


@pytest.mark.parametrize("outcome", [cut(), reply(502), reply(503), reply(504)])
def test_ailing(outcome: Outcome) -> None:
    """What happens to the best now and then counts when it happens three times in a row."""
    calling = Calling(outcome, GOOD, outcome, GOOD, outcome, GOOD, GOOD)
    for _ in range(3):
        assert calling.call(READ).instance == SECOND
    assert calling.asked[::2] == origins(FIRST, FIRST, FIRST)
    calling.call(READ)
    assert calling.asked[-1:] == origins(SECOND)


@pytest.mark.parametrize("outcome", [reply(500), reply(429), LIMIT])
def test_busy(outcome: Outcome) -> None:
    """Who answers so is there: it is the call's trouble, and the next one begins there again."""
    calling = Calling(*[outcome, GOOD] * 5, GOOD)
    for _ in range(5):
        assert calling.call(READ).instance == SECOND
    assert calling.call(READ).instance == FIRST


@pytest.mark.parametrize("outcome", [reply(500), reply(502), LIMIT])
def test_server_errors_do_not_forgive(outcome: Outcome) -> None:
    """Nor is one that failed lately well for answering so."""
    calling = Calling(refused(), GOOD, outcome)
    calling.call(READ)
    calling.player.play(calling.failover.attempt(READ, FIRST.uid, BEGIN + 5.0))
    assert calling.pool.outliers.is_ejected(FIRST.uid, calling.clock())


@pytest.mark.parametrize("status", [200, 404, 422])
def test_answers_forgive(status: int) -> None:
    """An answer of the application's does, whatever it says."""
    calling = Calling(refused(), GOOD, reply(status))
    calling.call(READ)
    calling.player.play(calling.failover.attempt(READ, FIRST.uid, BEGIN + 5.0))
    assert not calling.pool.outliers.is_ejected(FIRST.uid, calling.clock())


def test_success_forgives() -> None:
    """After a good answer the next failure counts as the first; without one it counts double."""
    calling = Calling(refused(), GOOD, GOOD, refused(), GOOD, refused(), GOOD, GOOD)
    for expected in (SECOND, FIRST, SECOND, SECOND):  # forgiven once, then refused twice in a row
        assert calling.call().instance == expected
        calling.clock.advance(1.0)
    assert calling.call().instance == SECOND


def test_failed_lately_is_not_never() -> None:
    """It is asked after all others failed, before any pause."""
    calling = Calling(refused(), GOOD, cut(), cut(), GOOD)
    calling.call()
    assert calling.call(READ).instance == FIRST
    assert calling.asked[2:] == origins(SECOND, THIRD, FIRST)
    assert calling.player.slept == []


def test_panic() -> None:
    """When more than half failed lately they are asked as if they had not: so many are the rule."""
    calling = Calling(refused(), refused(), GOOD, GOOD)
    assert calling.call().instance == THIRD
    assert calling.call().instance == FIRST


def test_the_only_one_failed_lately() -> None:
    """When there is no other, it is asked."""
    calling = Calling(hung(), GOOD, instances=(FIRST,))
    with pytest.raises(OutcomeUnknown):
        calling.call()
    assert calling.call().instance == FIRST
