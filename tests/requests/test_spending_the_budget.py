"""Further attempts come out of a budget, and ``Retry-After`` is obeyed."""

from dataclasses import replace

import pytest

from kato_consul._flow import Outcome
from kato_consul.errors import NoResponse, RequestNotSent
from tests.building import refused, reply
from tests.requests.calling import ALL, FIRST, GOOD, READ, SECOND, THIRD, WRITE, Calling, origins

LIMITED = reply(429, retry_after="4")


def broke(*outcomes: Outcome) -> Calling:
    """A call whose budget is empty."""
    calling = Calling(*outcomes)
    while calling.pool.budget.withdraw(calling.clock()):
        pass
    return calling


def test_first_attempts_are_free() -> None:
    """Without any budget left, each call is still made once."""
    calling = broke(*[GOOD] * 10)
    for _ in range(10):
        calling.call()
    assert calling.player.slept == []


def test_further_attempts_wait() -> None:
    """An attempt that cannot be paid waits until it can, and is then made."""
    calling = broke(refused(), GOOD)
    assert calling.call().instance == SECOND
    assert 0.0 < sum(calling.player.slept) < 2.0
    assert calling.asked == origins(FIRST, SECOND)


def test_one_that_was_answered_is_paid_back() -> None:
    """So any number of calls may be refused once."""
    calling = Calling(*[reply(500), GOOD] * 200)
    for _ in range(200):
        calling.call(READ)
    assert calling.player.slept == []


def test_one_that_failed_is_not() -> None:
    """When everybody fails, further attempts become as rare as the budget's floor."""
    calling = Calling(*[refused()] * 10_000)
    with pytest.raises(RequestNotSent):
        calling.call(within=60.0)
    assert len(calling.asked) <= 1 + 3 * (60 + 10)


def test_follow_ups_are_further_attempts() -> None:
    """What is asked only because something failed before has to be paid from the first on."""
    calling = broke(GOOD)
    calling.call(replace(READ, follow_up=True))
    assert calling.player.slept != []


# --- Retry-After ----------------------------------------------------------------------------


def test_goes_elsewhere() -> None:
    """Who asks to be let alone is, and another one is asked at once."""
    calling = Calling(LIMITED, GOOD, GOOD, GOOD)
    assert calling.call().instance == SECOND
    assert calling.call().instance == SECOND
    assert calling.player.slept == []
    calling.clock.advance(4.0)
    assert calling.call().instance == FIRST


def test_all_ask_for_time() -> None:
    """When all do, the first that may be asked again is waited for, and nobody asked before."""
    calling = Calling(reply(429, retry_after="9"), LIMITED, reply(503, retry_after="9"), GOOD)
    assert calling.call(READ).instance == SECOND
    assert calling.player.slept == pytest.approx([4.0])
    assert calling.asked == origins(FIRST, SECOND, THIRD, SECOND)


@pytest.mark.parametrize("request_", [WRITE, READ], ids=["write", "read"])
def test_more_time_than_there_is(request_: object) -> None:
    """When that is too late, the error comes at once and says when to try again."""
    calling = Calling(*[LIMITED] * len(ALL))
    with pytest.raises(RequestNotSent) as caught:
        calling.call(request_, within=3.0)  # type: ignore[arg-type]
    assert caught.value.retry_after == 4.0
    assert calling.player.slept == []


def test_more_time_than_there_is_for_a_503() -> None:
    """A 503 of the application's may have done something: the error says that it left."""
    calling = Calling(*[reply(503, retry_after="40")] * len(ALL))
    with pytest.raises(NoResponse) as caught:
        calling.call(READ)
    assert caught.value.retry_after == 40.0
