"""Ejection during calls: which outcomes eject an instance, for how long, and what ends it."""

import pytest

from kato_consul._flow import Outcome
from kato_consul.errors import OutcomeUnknown
from tests.building import cut, hung, refused, reply
from tests.requests.scripted_service import (
    BEGIN,
    FIRST,
    LIMIT,
    OK,
    READ,
    SECOND,
    THIRD,
    ScriptedService,
    origins_of,
)


def test_refused_instance_is_ejected() -> None:
    """The next call avoids an instance that just failed; later calls use it again."""
    service = ScriptedService(refused(), OK, OK, OK)
    service.call(READ)
    service.call(READ)
    assert service.origins == origins_of(FIRST, SECOND, SECOND)
    service.clock.advance(1.0)
    assert service.call(READ).instance == FIRST


def test_timeout_ejects_for_its_duration() -> None:
    """An instance that timed out is ejected for as long as the attempt took."""
    service = ScriptedService(hung(), OK, OK, OK)
    assert service.call(READ).instance == SECOND
    service.clock.advance(9.9)
    assert service.call(READ).instance == SECOND
    service.clock.advance(0.1)
    assert service.call(READ).instance == FIRST


@pytest.mark.parametrize("outcome", [cut(), reply(502), reply(503), reply(504)])
def test_three_failures_in_a_row_eject(outcome: Outcome) -> None:
    """A cut connection, 502, 503 or 504 ejects when it happens three times in a row."""
    service = ScriptedService(outcome, OK, outcome, OK, outcome, OK, OK)
    for _ in range(3):
        assert service.call(READ).instance == SECOND
    assert service.origins[::2] == origins_of(FIRST, FIRST, FIRST)
    service.call(READ)
    assert service.origins[-1:] == origins_of(SECOND)


@pytest.mark.parametrize("outcome", [reply(500), reply(429), LIMIT])
def test_busy_instance_is_not_ejected(outcome: Outcome) -> None:
    """The next call uses the instance again."""
    service = ScriptedService(*[outcome, OK] * 5, OK)
    for _ in range(5):
        assert service.call(READ).instance == SECOND
    assert service.call(READ).instance == FIRST


@pytest.mark.parametrize("outcome", [reply(500), reply(502), LIMIT])
def test_server_error_does_not_end_the_ejection(outcome: Outcome) -> None:
    """An ejected instance that answers with a server error stays ejected."""
    service = ScriptedService(refused(), OK, outcome)
    service.call(READ)
    service.player.play(service.failover.attempt(READ, FIRST.uid, BEGIN + 5.0))
    assert service.pool.outliers.is_ejected(FIRST.uid, service.clock())


@pytest.mark.parametrize("status", [200, 404, 422])
def test_answer_ends_the_ejection(status: int) -> None:
    """Any answer of the application ends the ejection."""
    service = ScriptedService(refused(), OK, reply(status))
    service.call(READ)
    service.player.play(service.failover.attempt(READ, FIRST.uid, BEGIN + 5.0))
    assert not service.pool.outliers.is_ejected(FIRST.uid, service.clock())


def test_success_restarts_the_count() -> None:
    """After a success the next failure counts as the first; without one it counts double."""
    service = ScriptedService(refused(), OK, OK, refused(), OK, refused(), OK, OK)
    for expected in (SECOND, FIRST, SECOND, SECOND):  # one success, then refused twice in a row
        assert service.call().instance == expected
        service.clock.advance(1.0)
    assert service.call().instance == SECOND


def test_ejected_instance_is_tried_last() -> None:
    """An ejected instance is tried after all others failed, before any pause."""
    service = ScriptedService(refused(), OK, cut(), cut(), OK)
    service.call()
    assert service.call(READ).instance == FIRST
    assert service.origins[2:] == origins_of(SECOND, THIRD, FIRST)
    assert service.player.slept == []


def test_panic_ignores_ejections() -> None:
    """If more than half are ejected, instances are used as if none was."""
    service = ScriptedService(refused(), refused(), OK, OK)
    assert service.call().instance == THIRD
    assert service.call().instance == FIRST


def test_only_instance_is_used_although_ejected() -> None:
    """A single instance is used although it failed."""
    service = ScriptedService(hung(), OK, instances=(FIRST,))
    with pytest.raises(OutcomeUnknown):
        service.call()
    assert service.call().instance == FIRST
