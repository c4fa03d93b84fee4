"""Retries come out of the budget, and ``Retry-After`` is obeyed."""

import pytest
from msgspec import structs

from kato_consul._backoff import MAX_RETRY_AFTER
from kato_consul._flow import Outcome
from kato_consul._requests.request import Request
from kato_consul.errors import NoResponse, RequestNotSent
from tests.building import refused, reply
from tests.requests.scripted_service import (
    ALL,
    FIRST,
    OK,
    READ,
    SECOND,
    THIRD,
    WRITE,
    ScriptedService,
    origins_of,
)

LIMITED = reply(429, retry_after="4")


def without_budget(*outcomes: Outcome) -> ScriptedService:
    """Return a service whose client has an empty retry budget."""
    service = ScriptedService(*outcomes)
    while service.pool.budget.withdraw(service.clock()):
        pass
    return service


def test_first_attempts_need_no_budget() -> None:
    """With an empty budget each call still has its first attempt."""
    service = without_budget(*[OK] * 10)
    for _ in range(10):
        service.call()
    assert service.player.slept == []


def test_retry_waits_for_budget() -> None:
    """With an empty budget a retry waits until there is enough."""
    service = without_budget(refused(), OK)
    assert service.call().instance == SECOND
    assert 0.0 < sum(service.player.slept) < 2.0
    assert service.origins == origins_of(FIRST, SECOND)


def test_answered_retry_is_refunded() -> None:
    """Any number of calls may fail once without exhausting the budget."""
    service = ScriptedService(*[reply(500), OK] * 200)
    for _ in range(200):
        service.call(READ)
    assert service.player.slept == []


def test_failed_retry_is_not_refunded() -> None:
    """If all instances fail, retries are limited to the budget's minimum."""
    service = ScriptedService(*[refused()] * 10_000)
    with pytest.raises(RequestNotSent):
        service.call(within=60.0)
    assert len(service.origins) <= 1 + 3 * (60 + 10)


def test_follow_up_does_not_wait_for_the_retries_of_others() -> None:
    """A request that settles an earlier one has a budget of its own."""
    service = without_budget(OK)
    service.call(structs.replace(READ, follow_up=True))
    assert service.player.slept == []


def test_follow_up_needs_its_own_budget() -> None:
    """The first attempt of a follow-up comes out of the budget for settling."""
    service = ScriptedService(OK)
    while service.failover.pool.budget.withdraw(service.clock(), settling=True):
        pass
    service.call(structs.replace(READ, follow_up=True))
    assert service.player.slept != []


# --- Retry-After ----------------------------------------------------------------------------


def test_retry_after_of_one_instance() -> None:
    """Another instance gets the request at once."""
    service = ScriptedService(LIMITED, OK, OK, OK)
    assert service.call().instance == SECOND
    assert service.call().instance == SECOND
    assert service.player.slept == []
    service.clock.advance(4.0)
    assert service.call().instance == FIRST


def test_retry_after_of_all_instances() -> None:
    """The call waits for the shortest ``Retry-After`` and sends nothing before."""
    service = ScriptedService(reply(429, retry_after="9"), LIMITED, reply(503, retry_after="9"), OK)
    assert service.call(READ).instance == SECOND
    assert service.player.slept == pytest.approx([4.0])
    assert service.origins == origins_of(FIRST, SECOND, THIRD, SECOND)


@pytest.mark.parametrize("request_", [WRITE, READ], ids=["write", "read"])
def test_retry_after_past_the_deadline(request_: Request) -> None:
    """The error is raised at once and has the seconds to wait."""
    service = ScriptedService(*[LIMITED] * len(ALL))
    with pytest.raises(RequestNotSent) as caught:
        service.call(request_, within=3.0)
    assert caught.value.retry_after == 4.0
    assert service.player.slept == []


def test_retry_after_of_503_past_the_deadline() -> None:
    """A 503 of the application may have had an effect: the error is `NoResponse`."""
    service = ScriptedService(*[reply(503, retry_after="40")] * len(ALL))
    with pytest.raises(NoResponse) as caught:
        service.call(READ)
    assert caught.value.retry_after == 40.0


def test_instance_that_asks_for_a_day_is_used_again_after_a_minute() -> None:
    """A ``Retry-After`` is believed up to `MAX_RETRY_AFTER`."""
    service = ScriptedService(reply(503, retry_after="86400"), OK, OK)
    assert service.call(READ).instance == SECOND
    service.clock.advance(MAX_RETRY_AFTER)
    assert service.call(READ).instance == FIRST


def test_refused_request_was_sent() -> None:
    """If every instance refused the request, nothing was applied, but it left this machine."""
    service = ScriptedService(*[LIMITED] * len(ALL))
    with pytest.raises(RequestNotSent) as caught:
        service.call(within=3.0)
    assert (caught.value.sent, caught.value.safe_to_resend) == (True, True)
    service = ScriptedService(*[refused()] * 1_000)
    with pytest.raises(RequestNotSent) as caught:
        service.call(within=3.0)
    assert caught.value.sent is False
