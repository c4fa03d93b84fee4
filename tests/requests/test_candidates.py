"""Whom a call asks: those Consul calls usable, waited for if need be."""

from dataclasses import replace

import pytest

from kato_consul._flow import Outcome, WaitForChange
from kato_consul.errors import ConsulUnreachable, NoInstances, RequestNotSent
from kato_consul.models import Health, Instance
from tests.building import hung, refused, reply, snapshot
from tests.requests.calling import (
    BEGIN,
    FIRST,
    GOOD,
    READ,
    SECOND,
    THIRD,
    WRITE,
    Calling,
    origins,
)


def test_waits_for_the_first_snapshot() -> None:
    """A call made before Consul answered waits until it does."""
    calling = Calling(GOOD, instances=None)
    calling.player.change = lambda step: calling.store.publish(snapshot(FIRST))
    assert calling.call().instance == FIRST
    assert calling.player.steps[0] == WaitForChange(calling.store, None, 30.0)


def test_waits_for_an_instance() -> None:
    """A call made while none is passing waits for one, and not for any change."""
    critical = replace(FIRST, health=Health.CRITICAL)
    calling = Calling(GOOD, instances=(critical,))
    changes = [snapshot(), snapshot(critical, SECOND)]

    def change(step: WaitForChange) -> None:
        calling.clock.advance(1.0)
        calling.store.publish(changes.pop(0))

    calling.player.change = change
    assert calling.call().instance == SECOND
    waits = [step.timeout for step in calling.player.steps if isinstance(step, WaitForChange)]
    assert waits == [30.0, 29.0]


@pytest.mark.parametrize(
    ("instances", "said"),
    [
        (None, "no instance of 'kato' can be used: Consul has not answered yet"),
        ((), "none is registered. 'kato-consul register' puts one in"),
        (
            (
                replace(FIRST, health=Health.CRITICAL, output="redis: refused"),
                replace(SECOND, health=Health.MAINTENANCE, output="upgrade"),
            ),
            f"({FIRST.id} is critical: redis: refused; {SECOND.id} is maintenance: upgrade)",
        ),
    ],
)
def test_nobody_to_ask(instances: tuple[Instance, ...] | None, said: str) -> None:
    """At the deadline the error says why there was nobody, by what Consul said of each."""
    calling = Calling(instances=instances)
    with pytest.raises(NoInstances) as caught:
        calling.call(within=5.0)
    assert said in str(caught.value)
    assert calling.clock.now == BEGIN + 5.0
    assert calling.asked == []


def test_since_when() -> None:
    """The error says for how long there was nobody, by Consul's word, and what was looked for."""
    calling = Calling(instances=())
    calling.store.query_description = " with tag 'v3'"
    calling.store.publish(snapshot(), calling.clock() - 7.0)
    with pytest.raises(NoInstances) as caught:
        calling.call(within=5.0)
    assert "no instance of 'kato' with tag 'v3' can be used: none is registered, for 12 s" in str(
        caught.value
    )


@pytest.mark.parametrize("instances", [None, ()])
def test_nobody_to_ask_for_consul_is_away(instances: tuple[Instance, ...] | None) -> None:
    """When there is nobody because Consul cannot be asked, that is the error."""
    calling = Calling(instances=instances)
    calling.store.record_error(ConsulUnreachable("http://consul.test:8500", "refused"))
    with pytest.raises(ConsulUnreachable, match=r"consul\.test:8500"):
        calling.call(within=5.0)


def test_trouble_is_raised_as_a_copy() -> None:
    """Each caller raises an error of its own: the board's one does not gather their traces."""
    trouble = ConsulUnreachable("http://consul.test:8500", "refused")
    calling = Calling(instances=())
    calling.store.record_error(trouble)
    raised = []
    for _ in range(2):
        with pytest.raises(ConsulUnreachable) as caught:
            calling.call(within=1.0)
        raised.append(caught.value)
    assert len({id(error) for error in (trouble, *raised)}) == 3
    assert {str(error) for error in raised} == {str(trouble)}
    assert trouble.__traceback__ is None
    assert calling.store.last_error is trouble


def test_consul_away_is_no_trouble() -> None:
    """While Consul is away, calls go on with the instances known last."""
    calling = Calling(refused(), GOOD)
    calling.store.record_error(ConsulUnreachable("http://consul.test:8500", "refused"))
    assert calling.call().instance == SECOND


def test_warnings_as_a_last_resort() -> None:
    """Instances with a warning are asked when none is passing; critical ones never are."""
    warned = replace(SECOND, health=Health.WARNING)
    calling = Calling(GOOD, instances=(replace(FIRST, health=Health.CRITICAL), warned))
    assert calling.call().instance == warned


WARNED = replace(FIRST, health=Health.WARNING)


def test_warnings_are_asked_last() -> None:
    """One with a warning is asked after those that pass, however the key ranks it."""
    calling = Calling(refused(), refused(), GOOD, instances=(WARNED, SECOND, THIRD))
    assert calling.call().instance == WARNED
    assert calling.asked == origins(SECOND, THIRD, WARNED)
    assert calling.player.slept == []


def test_failed_lately_is_asked_after_a_warning() -> None:
    """One that just failed is asked last of all: our own eyes count before a check's word."""
    calling = Calling(refused(), GOOD, GOOD, refused(), GOOD, instances=(WARNED, SECOND))
    for expected in (WARNED, WARNED, SECOND):
        assert calling.call().instance == expected
    assert calling.asked == origins(SECOND, WARNED, WARNED, WARNED, SECOND)


def test_critical_ones_are_never_asked() -> None:
    """Those that are critical, or drained, are not asked even when all others failed."""
    critical = replace(FIRST, health=Health.CRITICAL)
    drained = replace(THIRD, health=Health.MAINTENANCE)
    calling = Calling(*[refused()] * 100, instances=(critical, SECOND, drained))
    with pytest.raises(RequestNotSent):
        calling.call(READ, within=5.0)
    assert set(calling.asked) == set(origins(SECOND))


# --- one attempt on one instance ------------------------------------------------------------


@pytest.mark.parametrize("outcome", [GOOD, refused(), hung(), reply(500)])
@pytest.mark.parametrize("health", list(Health))
def test_attempt(outcome: Outcome, health: Health) -> None:
    """One attempt on one instance, however it is; the outcome as it came."""
    calling = Calling(outcome, instances=(FIRST, replace(SECOND, health=health)))
    attempt = calling.failover.attempt(WRITE, SECOND.id, BEGIN + 4.0)
    assert calling.player.play(attempt) == outcome
    assert calling.asked == origins(SECOND)
    assert calling.player.sent[0].timeout == 4.0


@pytest.mark.parametrize("instances", [(), (FIRST,)])
def test_attempt_on_nobody(instances: tuple[Instance, ...]) -> None:
    """An instance that Consul does not list is not asked."""
    calling = Calling(instances=instances)
    assert calling.player.play(calling.failover.attempt(WRITE, SECOND.id, BEGIN + 4.0)) is None
    assert calling.player.steps == []


def test_attempt_waits_for_a_first_snapshot() -> None:
    """Before Consul has answered nobody knows whether it lists the instance: that is waited for."""
    calling = Calling(instances=None)
    assert calling.player.play(calling.failover.attempt(WRITE, SECOND.id, BEGIN + 4.0)) is None
    assert calling.player.clock.now == BEGIN + 4.0
    assert calling.player.sent == []
