"""Waiting until the registered instances pass, and only these instances."""

from dataclasses import replace

import pytest

from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Cause, Failure, Outcome
from kato_consul.errors import NotPassing
from tests.building import refused, reply
from tests.registration.fake_agent import ONE, OTHER, TWO, Agent, Run, catalogued, listed


def test_passing_at_the_first_read() -> None:
    """Instances that pass at the first read are not waited for."""
    run = Run(Agent(passing={"kato-1", "kato/2"}))
    run.register(wait=60)
    assert run.events[2:] == [("kato-1", "passing"), ("kato/2", "passing")]
    assert run.agent.requests[3:] == ["health/service/kato"]
    assert run.agent.clock.now == 1_000.0


def test_warning_is_enough() -> None:
    """Clients use an instance in warning, so it is not waited for; it is reported as warning."""
    run = Run(Agent(passing={"kato-1"}, warning={"kato/2"}))
    run.register(wait=60)
    assert run.events[2:] == [("kato-1", "passing"), ("kato/2", "warning")]
    assert run.agent.clock.now == 1_000.0


def test_each_instance_is_reported_when_it_passes() -> None:
    """The wait is a blocking query and ends when the last instance passes."""
    agent = Agent()

    def change() -> bool:
        agent.clock.advance(2.0)
        agent.passing.add("kato/2" if "kato-1" in agent.passing else "kato-1")
        return True

    agent.when_blocked = change
    run = Run(agent)
    run.register(wait=60)
    assert run.events[2:] == [("kato-1", "passing"), ("kato/2", "passing")]
    assert queries(run) == ["", "index=7&wait=60.000s", "index=7&wait=58.000s"]
    blocking = [send for send in run.player.sent if "index=" in send.target]
    assert blocking[0].timeout == 60 + 60 / 16 + 5


def queries(run: Run) -> list[str]:
    """Return the parameters of the requests to the catalog."""
    targets = [send.target for send in run.player.sent if "/health/" in send.target]
    return [target.partition("?")[2] for target in targets]


def test_several_services_are_waited_for() -> None:
    """The instances of all services are waited for."""
    run = Run(Agent(passing={"kato-1", "memory-1"}), (ONE, OTHER))
    run.register(wait=60)
    assert run.agent.requests[3:] == ["health/service/kato", "health/service/memory"]


def test_not_passing_in_time_is_rolled_back() -> None:
    """The error has the output of the checks that do not pass; all instances are rolled back."""
    run = Run(Agent(passing={"kato-1"}))
    with pytest.raises(NotPassing) as caught:
        run.register(wait=60)
    assert caught.value.waiting == {"kato/2": "critical, alive: connection refused"}
    assert str(caught.value) == (
        "not passing after 60 s; what this run added is deregistered:\n"
        "  kato/2: critical, alive: connection refused"
    )
    assert run.agent.services == {}
    assert run.agent.clock.now == pytest.approx(1_060.0)


def test_existing_instance_that_does_not_pass_stays() -> None:
    """An instance that was registered before the run stays, although it does not pass."""
    run = Run(Agent(services=listed(ONE)))
    with pytest.raises(NotPassing):
        run.register(wait=60)
    assert run.agent.services == listed(ONE)
    assert ("kato-1", "rolled back") not in run.events


def test_instance_that_is_not_in_the_catalog() -> None:
    """An instance that is not in the catalog has another reason than a critical one."""
    agent = Agent()

    def empty_catalog(request: str) -> Outcome | None:
        if not request.startswith("health/"):
            return None
        agent.clock.advance(30.0)
        return reply(200, [], x_consul_index="7")

    agent.override = empty_catalog
    run = Run(agent, (ONE,))
    with pytest.raises(NotPassing) as caught:
        run.register(wait=60)
    assert caught.value.waiting == {
        "kato-1": "not in the catalog yet, or the token may not read it there "
        "(node:read, service:read)"
    }


@pytest.mark.parametrize("outcome", [refused(), reply(500, b"No cluster leader"), reply(429)])
def test_wait_survives_a_failing_agent(outcome: Outcome) -> None:
    """If the agent fails for a moment during the wait, the query is retried without a rollback."""
    agent = Agent(passing={"kato-1", "kato/2"})
    agent.override = lambda request: outcome if 3 < len(agent.requests) <= 5 else None
    run = Run(agent)
    run.register(wait=60)
    assert run.player.slept == pytest.approx([0.1, 0.2])
    assert agent.services == listed(ONE, TWO)


def test_queries_of_a_busy_catalog_are_limited() -> None:
    """A catalog that changes all the time is read ten times at once, then twice a second."""
    run = Run(Agent(when_blocked=lambda: True))
    with pytest.raises(NotPassing):
        run.register(wait=5)
    assert run.player.slept == pytest.approx([0.5] * 10)
    assert run.agent.clock.now == pytest.approx(1_005.0)


def test_shortest_blocking_query_is_a_millisecond() -> None:
    """With less than a millisecond left, the query waits 1 ms: Consul takes 0 s as 5 minutes."""
    agent = Agent()

    def change() -> bool:
        agent.clock.now = 1_059.9997 if agent.clock.now < 1_059 else 1_061.0
        return True

    agent.when_blocked = change
    run = Run(agent, (ONE,))
    with pytest.raises(NotPassing):
        run.register(wait=60)
    assert queries(run) == ["", "index=7&wait=60.000s", "index=7&wait=0.001s"]


WITH_ADDRESS = replace(ONE, address="10.0.0.5")


@pytest.mark.parametrize(
    ("definition", "listed_instance"),
    [
        (ONE, replace(ONE, port=9999)),
        (ONE, replace(ONE, address="10.0.0.5", port=9999)),
        (WITH_ADDRESS, replace(ONE, address="10.0.0.6")),
        (WITH_ADDRESS, replace(ONE, address="10.0.0.5", port=9999)),
        (WITH_ADDRESS, ONE),  # listed with its node's address, which is another one
    ],
)
def test_same_id_on_another_agent_is_not_accepted(
    definition: ServiceDefinition, listed_instance: ServiceDefinition
) -> None:
    """Another agent's instance with the same id does not end the wait."""
    for node in ("elsewhere", "there"):  # sorted before "here", and after
        other = catalogued(listed(listed_instance)["kato-1"], "passing", "200 OK", node=node)
        run = Run(Agent(elsewhere=[other]), (definition,))
        with pytest.raises(NotPassing):
            run.register(wait=60)
        assert ("kato-1", "passing") not in run.events


@pytest.mark.parametrize("definition", [ONE, WITH_ADDRESS])
def test_same_id_on_another_agent_does_not_block(definition: ServiceDefinition) -> None:
    """The wait ends although another agent's instance with the same id is critical."""
    service = listed(replace(ONE, address="10.0.0.6", port=9999))["kato-1"]
    for node in ("elsewhere", "there"):
        other = catalogued(service, "critical", "refused", node=node)
        run = Run(Agent(passing={"kato-1"}, elsewhere=[other]), (definition,))
        run.register(wait=60)
        assert run.events == [("kato-1", "registered"), ("kato-1", "passing")]


def test_cut_query_does_not_prolong_the_wait() -> None:
    """A blocking query that was cut is retried for the rest of the wait, not for all of it."""
    agent = Agent()

    def cut_the_second(request: str) -> Outcome | None:
        queries = sum(one.startswith("health/") for one in agent.requests)
        if request.startswith("health/") and queries == 2:
            agent.clock.advance(50)
            return Failure(Cause.CUT, bytes_sent=True, detail="reset")
        return None

    started = agent.clock.now
    agent.override = cut_the_second
    run = Run(agent, (ONE,))
    with pytest.raises(NotPassing):
        run.register(wait=60)
    assert agent.clock.now <= started + 61


def test_reason_is_the_output_of_the_agents_check() -> None:
    """The reason is the output that the agent has: the catalog receives outputs late."""
    run = Run(Agent(outputs={"kato-1": "dial tcp: connection\n  refused"}), (ONE,))
    with pytest.raises(NotPassing) as caught:
        run.register(wait=5)
    assert caught.value.waiting == {"kato-1": "critical, dial tcp: connection refused"}
