"""Rules of the reconciler beside repairs: pruning, replacing, waiting for health, comparing."""

from dataclasses import replace
from typing import Any

import pytest

from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Outcome
from kato_consul._registration.registrar_state import OWNER_KEY, HealthStatus
from kato_consul.models import Health
from tests.building import refused, reply
from tests.flows import TooLong
from tests.registration.fake_agent import ONE, TWO, Agent, Run, Services, listed

OWNER_NAME = "host:/etc/kato.toml"


def owned(*definitions: ServiceDefinition, by: str = OWNER_NAME) -> Services:
    """Return the services that an agent has from a registrar with this name."""
    return listed(*(replace(one, meta={OWNER_KEY: by}) for one in definitions))


def reconcile(run: Run, most: int = 12) -> None:
    """Play the endless flow for some steps."""
    with pytest.raises(TooLong):
        run.player.play(run.reconcile(), most=most)


@pytest.mark.parametrize(
    ("existing", "passing", "kept"),
    [
        (owned(TWO), set(), False),  # own, not defined, critical: left behind
        (owned(TWO), {"kato/2"}, True),  # passing: another registrar with this name may manage it
        (owned(TWO, by="other:/etc/kato.toml"), set(), True),  # of another owner
        (listed(TWO), set(), True),  # without an owner
    ],
)
def test_pruning(existing: Services, passing: set[str], kept: bool) -> None:
    """An instance is pruned only if it has this owner, is not defined, and is critical."""
    run = Run(Agent(services=owned(ONE) | existing, passing=passing), (ONE,), owner=OWNER_NAME)
    reconcile(run)
    assert ("kato/2" in run.agent.services) is kept
    pruned = [("kato/2", "left behind by an earlier run, deregistered")]
    assert run.events == ([] if kept else pruned)


def test_without_an_owner_nothing_is_pruned() -> None:
    """A registrar without an owner name prunes nothing."""
    run = Run(Agent(services=listed(ONE, TWO)), (ONE,))
    reconcile(run)
    assert set(run.agent.services) == {"kato-1", "kato/2"}


def test_replace_registers_and_deregisters() -> None:
    """An instance that is not defined any more is deregistered, even if it is passing."""
    run = Run(Agent(services=listed(ONE), passing={"kato-1"}), (ONE,))
    flow = run.reconcile()
    assert run.state.replace([TWO]) == [run.state.instances["kato/2"]]
    with pytest.raises(TooLong):
        run.player.play(flow, most=12)
    assert set(run.agent.services) == {"kato/2"}
    assert run.events == [("kato/2", "registered"), ("kato-1", "deregistered")]


@pytest.mark.parametrize("request_", ["agent/checks", "agent/service/register/kato/2"])
def test_instance_that_is_removed_while_it_is_registered(request_: str) -> None:
    """An instance whose definition is removed during its registration is deregistered."""
    agent = Agent(services=listed(ONE))
    run = Run(agent, (ONE, TWO))

    def override(request: str) -> None:
        if request == request_ and "kato/2" in run.state.instances:
            run.state.replace([ONE])

    agent.override = override
    reconcile(run)
    assert set(agent.services) == {"kato-1"}
    assert run.state.to_deregister == []


def test_instance_that_cannot_be_deregistered_is_tried_again() -> None:
    """An instance that was removed stays listed until the agent has deregistered it."""
    agent = Agent(services=listed(ONE, TWO))
    outcomes: list[Outcome] = [reply(403), refused()]
    agent.override = lambda request: (
        outcomes.pop(0) if outcomes and "deregister" in request else None
    )
    run = Run(agent, (ONE, TWO))
    run.state.replace([ONE])
    reconcile(run, most=14)
    assert set(agent.services) == {"kato-1"}
    assert run.state.to_deregister == []


def test_replace_by_the_same_changes_nothing() -> None:
    """An instance whose definition did not change keeps its flows."""
    run = Run(Agent(services=listed(ONE)), (ONE,))
    before = run.state.instances["kato-1"]
    assert run.state.replace([ONE]) == []
    assert run.state.instances["kato-1"] is before
    assert not before.removed


def test_instance_is_registered_when_its_probe_passes() -> None:
    """With ``when_ready``, an instance is not registered before its probe reports it as usable."""
    probed = ServiceDefinition(name="kato", id="kato-1", port=8001)
    run = Run(Agent(), (probed,))
    run.state.when_ready = run.state.long_running = True
    instance = run.state.instances["kato-1"]
    flow = run.reconcile()
    instance.registered = False
    for health in (None, HealthStatus(Health.CRITICAL, "could not connect")):
        instance.health.set(health)
        with pytest.raises(TooLong):
            run.player.play(reconcile_unregistered(run), most=4)
        assert run.agent.services == {}
    instance.health.set(HealthStatus(Health.PASSING, "ok"))
    with pytest.raises(TooLong):
        run.player.play(reconcile_unregistered(run), most=4)
    assert set(run.agent.services) == {"kato-1"}
    flow.close()


def reconcile_unregistered(run: Run) -> Any:
    """Return the flow of a reconciler that has not registered anything yet."""
    flow = run.reconcile()
    for one in run.state.instances.values():
        one.registered = False
    return flow


def test_payload_does_not_match_without_all_checks() -> None:
    """A registration matches only with all its checks; checks of others are ignored."""
    both = replace(ONE, checks=(replace(ONE.plain_checks[0], id="second"),))
    payload, services = RegistrationPayload(both), listed(both)
    own = ["second", "service:kato-1:1"]
    assert [*payload.differences(services, {*own, "foreign"})] == []
    assert [*payload.differences(services, {own[1], "foreign"})] == [("checks", own, own[1:])]
    assert [*payload.differences(services, set())] == [("checks", own, [])]


def test_difference_in_the_pool_is_reported_once() -> None:
    """An instance whose info differs from the rest of its pool is reported, once."""
    other = replace(TWO, meta={"version": "3.9.0", "base_processor_id": "kato"})
    run = Run(Agent(services=listed(ONE) | listed(other), passing={"kato-1", "kato/2"}), (ONE,))
    run.state.instances["kato-1"].info = {"version": "3.10.1", "base_processor_id": "kato"}
    reconcile(run, most=20)
    reported = [text for _, text in run.events if "differs" in text]
    assert reported == [
        "differs from kato/2 in version: 3.10.1 here, 3.9.0 there. They do not work as one pool"
    ]


def test_six_hours_without_consul() -> None:
    """The agent is down for six hours and loses all registrations.

    With the longest jitter it is read every 0.4 s, and the outage is reported once. Within a second
    of its return all instances are registered, each once.
    """
    started, hours = 1_000.0, 6 * 3600.0
    agent = Agent(passing={"kato-1", "kato/2"})
    agent.override = lambda request: refused() if agent.clock.now < started + hours else None
    run = Run(agent)
    run.state.long_running = True
    flow = run.reconcile()
    with pytest.raises(TooLong):
        run.player.play(flow, most=2 * round(hours) * 3)
    before_return = agent.requests.index("agent/checks")
    assert before_return / hours < 2.51
    assert [one for one in agent.requests[before_return:] if "register" in one] == [
        "agent/service/register/kato-1",
        "agent/service/register/kato/2",
    ]
    (error, *rest) = run.events
    assert error[0] == "consul"
    assert rest == [
        ("kato-1", "was missing from the agent, registered again"),
        ("kato/2", "was missing from the agent, registered again"),
        ("consul", "answers again"),
    ]
