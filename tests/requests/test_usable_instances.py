"""A call uses instances that are usable in Consul, and waits for one if there is none."""

from dataclasses import replace

import pytest

from kato_consul._flow import Outcome, WaitForChange
from kato_consul._requests.request import RoutingHint
from kato_consul.errors import ConsulUnreachable, NoInstances, RequestNotSent
from kato_consul.models import Health, Instance
from tests.building import hung, refused, reply, snapshot
from tests.requests.scripted_service import (
    BEGIN,
    FIRST,
    HINT,
    KEY,
    OK,
    READ,
    SECOND,
    THIRD,
    WRITE,
    ScriptedService,
    origins_of,
)


def test_waits_for_the_first_snapshot() -> None:
    """A call made before the first snapshot waits for it."""
    service = ScriptedService(OK, instances=None)
    service.player.change = lambda step: service.store.publish(snapshot(FIRST))
    assert service.call().instance == FIRST
    assert service.player.steps[0] == WaitForChange(service.store, None, 30.0)


def test_waits_for_a_usable_instance() -> None:
    """A call made while no instance is usable waits for one, not only for a change."""
    critical = replace(FIRST, health=Health.CRITICAL)
    service = ScriptedService(OK, instances=(critical,))
    changes = [snapshot(), snapshot(critical, SECOND)]

    def change(step: WaitForChange) -> None:
        service.clock.advance(1.0)
        service.store.publish(changes.pop(0))

    service.player.change = change
    assert service.call().instance == SECOND
    waits = [step.timeout for step in service.player.steps if isinstance(step, WaitForChange)]
    assert waits == [30.0, 29.0]


@pytest.mark.parametrize(
    ("instances", "reason"),
    [
        (None, "no instance of 'kato' can be used: Consul has not answered yet"),
        (
            (),
            "Consul lists none. Register one with 'kato-consul register'. Or Consul has ACLs",
        ),
        (
            (
                replace(FIRST, health=Health.CRITICAL, output="redis: refused"),
                replace(SECOND, health=Health.MAINTENANCE, output="upgrade"),
            ),
            f"none as passing ({FIRST.id} is critical: redis: refused; {SECOND.id} is maintenance",
        ),
    ],
)
def test_no_instances_error_has_the_reason(
    instances: tuple[Instance, ...] | None, reason: str
) -> None:
    """The error has the reason and each instance's health in Consul."""
    service = ScriptedService(instances=instances)
    with pytest.raises(NoInstances) as caught:
        service.call(within=5.0)
    assert reason in str(caught.value)
    assert service.clock.now == BEGIN + 5.0
    assert service.origins == []


def test_response_without_instances_is_an_answer_of_consul() -> None:
    """Also while it is being confirmed, and there is no snapshot yet."""
    service = ScriptedService(instances=None)
    service.store.empty_unconfirmed = True
    with pytest.raises(NoInstances, match="can be used: Consul lists none"):
        service.call(within=0.5)


def test_command_in_the_error_names_the_service() -> None:
    """It can be copied into a shell."""
    service = ScriptedService(instances=())
    service.store.service = "my service"
    with pytest.raises(NoInstances, match="'kato-consul doctor --service 'my service''"):
        service.call(within=5.0)


def test_no_instances_error_of_a_token_that_may_not_read() -> None:
    """If Consul reports that it has left out instances, the token is the reason."""
    service = ScriptedService(instances=())
    service.store.publish(replace(snapshot(), filtered=True))
    with pytest.raises(NoInstances, match="Consul hides instances that the token may not read"):
        service.call(within=5.0)


BAD_PORT = replace(FIRST, port=99_999)
BAD_ADDRESS = replace(SECOND, address="http://10.0.0.5")
CRITICAL = replace(FIRST, health=Health.CRITICAL, output="redis: refused")


@pytest.mark.parametrize("instances", [(), (CRITICAL,), (BAD_PORT,)])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0, None, 60.0])
def test_wait_for_instances_limits_the_wait(
    instances: tuple[Instance, ...], seconds: float | None
) -> None:
    """A call waits so long while Consul lists no usable instance, and never past its deadline."""
    service = ScriptedService(instances=instances)
    service.failover.wait_for_instances = seconds
    with pytest.raises(NoInstances):
        service.call(within=30.0)
    assert service.clock.now == BEGIN + min(30.0 if seconds is None else seconds, 30.0)


def test_no_wait_for_instances_still_waits_for_consul() -> None:
    """The first response of Consul is waited for, and is obeyed."""
    service = ScriptedService(instances=None)
    service.failover.wait_for_instances = 0.0

    def change(step: WaitForChange) -> None:
        assert step.timeout == 30.0
        service.clock.advance(3.0)
        service.store.publish(snapshot(CRITICAL))

    service.player.change = change
    with pytest.raises(NoInstances, match=r"Consul lists none as passing \(kato-\d is critical"):
        service.call(within=30.0)
    assert service.clock.now == BEGIN + 3.0


def test_instance_that_passes_within_the_wait_serves_the_call() -> None:
    """A change that leaves all unusable does not prolong the wait; a usable one ends it."""
    service = ScriptedService(OK, instances=(CRITICAL,))
    service.failover.wait_for_instances = 2.0
    changes = [snapshot(), snapshot(SECOND)]

    def change(step: WaitForChange) -> None:
        service.clock.advance(0.5)
        service.store.publish(changes.pop(0))

    service.player.change = change
    assert service.call().instance == SECOND
    assert service.player.waited == [2.0, 1.5]


def test_instances_that_fail_do_not_change_the_wait() -> None:
    """Only an absence of usable instances is limited: instances that refuse are tried again."""
    service = ScriptedService(*[refused()] * 5, OK)
    service.failover.wait_for_instances = 0.0
    assert service.call().instance in (FIRST, SECOND, THIRD)


def test_no_instances_error_has_duration_and_query() -> None:
    """The error says how long there was no usable instance, and what was queried."""
    service = ScriptedService(instances=())
    service.store.query_description = " with tag 'v3'"
    service.store.publish(snapshot(), service.clock() - 7.0)
    with pytest.raises(NoInstances) as caught:
        service.call(within=5.0)
    assert "no instance of 'kato' with tag 'v3' can be used: Consul lists none, for 12 s" in str(
        caught.value
    )


@pytest.mark.parametrize("instances", [None, ()])
def test_consul_error_is_raised_if_there_is_no_instance(
    instances: tuple[Instance, ...] | None,
) -> None:
    """Without a usable instance, the last error of Consul is raised."""
    service = ScriptedService(instances=instances)
    service.store.record_error(ConsulUnreachable("http://consul.test:8500", "refused"))
    with pytest.raises(ConsulUnreachable, match=r"consul\.test:8500"):
        service.call(within=5.0)


def test_consul_error_is_raised_as_a_copy() -> None:
    """Each caller raises its own copy, so that the store's error does not collect tracebacks."""
    error = ConsulUnreachable("http://consul.test:8500", "refused")
    service = ScriptedService(instances=())
    service.store.record_error(error)
    raised = []
    for _ in range(2):
        with pytest.raises(ConsulUnreachable) as caught:
            service.call(within=1.0)
        raised.append(caught.value)
    assert len({id(each) for each in (error, *raised)}) == 3
    assert {str(each) for each in raised} == {str(error)}
    assert error.__traceback__ is None
    assert service.store.last_error is error


def test_calls_continue_while_consul_is_unreachable() -> None:
    """While Consul is unreachable, calls use the last snapshot."""
    service = ScriptedService(refused(), OK)
    service.store.record_error(ConsulUnreachable("http://consul.test:8500", "refused"))
    assert service.call().instance == SECOND


def test_warning_is_used_if_none_is_passing() -> None:
    """An instance with a warning is used when none is passing."""
    warned = replace(SECOND, health=Health.WARNING)
    service = ScriptedService(OK, instances=(replace(FIRST, health=Health.CRITICAL), warned))
    assert service.call().instance == warned


def test_instance_with_an_invalid_address_is_never_used() -> None:
    """Neither as a session's current instance, nor as its next choice."""
    service = ScriptedService(*[OK] * 3, instances=(BAD_PORT, BAD_ADDRESS, THIRD))
    current = RoutingHint(KEY, current=BAD_PORT.uid)
    for hint in (None, HINT, current):
        flow = service.failover.call(WRITE, service.clock() + 5.0, hint)
        assert service.player.play(flow).instance == THIRD
    assert service.origins == origins_of(THIRD, THIRD, THIRD)


def test_session_on_an_instance_whose_address_became_invalid_moves() -> None:
    """A session is placed on an instance that can be used."""
    service = ScriptedService(instances=(BAD_PORT, THIRD))
    snapshot = service.store.current
    assert snapshot is not None
    placed = service.pool.place_session(KEY, BAD_PORT.uid, BAD_PORT.uid, snapshot)
    assert placed[1] == THIRD.uid


def test_only_invalid_addresses_are_named_in_the_error() -> None:
    """If no address can be used, the error has the reason for each."""
    service = ScriptedService(instances=(BAD_PORT, BAD_ADDRESS))
    with pytest.raises(NoInstances, match=r"its port is 99999.*'http://10\.0\.0\.5'"):
        service.call(within=5.0)


WARNED = replace(FIRST, health=Health.WARNING)


def test_warning_after_passing() -> None:
    """An instance with a warning comes after passing ones, however the key ranks it."""
    service = ScriptedService(refused(), refused(), OK, instances=(WARNED, SECOND, THIRD))
    assert service.call().instance == WARNED
    assert service.origins == origins_of(SECOND, THIRD, WARNED)
    assert service.player.slept == []


def test_ejected_after_warning() -> None:
    """An ejected instance comes last: its own failures count more than a check's warning."""
    service = ScriptedService(refused(), OK, OK, refused(), OK, instances=(WARNED, SECOND))
    for expected in (WARNED, WARNED, SECOND):
        assert service.call().instance == expected
    assert service.origins == origins_of(SECOND, WARNED, WARNED, WARNED, SECOND)


def test_critical_is_never_used() -> None:
    """Critical and drained instances get no request, even when all others failed."""
    critical = replace(FIRST, health=Health.CRITICAL)
    drained = replace(THIRD, health=Health.MAINTENANCE)
    service = ScriptedService(*[refused()] * 100, instances=(critical, SECOND, drained))
    with pytest.raises(RequestNotSent):
        service.call(READ, within=5.0)
    assert set(service.origins) == set(origins_of(SECOND))


# --- one attempt on one instance ------------------------------------------------------------


@pytest.mark.parametrize("outcome", [OK, refused(), hung(), reply(500)])
@pytest.mark.parametrize("health", list(Health))
def test_attempt_returns_the_outcome(outcome: Outcome, health: Health) -> None:
    """An attempt goes to the given instance, whatever its health, and returns the outcome."""
    service = ScriptedService(outcome, instances=(FIRST, replace(SECOND, health=health)))
    attempt = service.failover.attempt(WRITE, SECOND.id, BEGIN + 4.0)
    assert service.player.play(attempt) == outcome
    assert service.origins == origins_of(SECOND)
    assert service.player.sent[0].timeout == 4.0


@pytest.mark.parametrize("instances", [(), (FIRST,)])
def test_attempt_on_an_unlisted_instance(instances: tuple[Instance, ...]) -> None:
    """An instance that Consul does not list gets no request."""
    service = ScriptedService(instances=instances)
    assert service.player.play(service.failover.attempt(WRITE, SECOND.id, BEGIN + 4.0)) is None
    assert service.player.steps == []


def test_attempt_waits_for_a_first_snapshot() -> None:
    """Before the first snapshot an attempt waits, since the instance may be listed in it."""
    service = ScriptedService(instances=None)
    assert service.player.play(service.failover.attempt(WRITE, SECOND.id, BEGIN + 4.0)) is None
    assert service.player.clock.now == BEGIN + 4.0
    assert service.player.sent == []
