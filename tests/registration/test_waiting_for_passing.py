"""Waiting until those that were registered pass: each of ours, and nobody else's."""

from dataclasses import replace

import pytest

from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Cause, Failure, Outcome
from kato_consul.errors import NotPassing
from tests.building import refused, reply
from tests.registration.fake_agent import ONE, OTHER, TWO, Agent, Run, catalogued, listed


def test_passing_already() -> None:
    """Who passes at the first look is not waited for."""
    run = Run(Agent(passing={"kato-1", "kato/2"}))
    run.register(wait=60)
    assert run.said[2:] == [("kato-1", "passing"), ("kato/2", "passing")]
    assert run.agent.asked[3:] == ["health/service/kato"]
    assert run.agent.clock.now == 1_000.0


def test_warning_is_enough() -> None:
    """One in warning is used by clients, so it is not waited for, and told as what it is."""
    run = Run(Agent(passing={"kato-1"}, warning={"kato/2"}))
    run.register(wait=60)
    assert run.said[2:] == [("kato-1", "passing"), ("kato/2", "warning")]
    assert run.agent.clock.now == 1_000.0


def test_becomes_passing() -> None:
    """Each is told of when it passes; the wait is a blocking query and ends with the last one."""
    agent = Agent()

    def change() -> bool:
        agent.clock.advance(2.0)
        agent.passing.add("kato/2" if "kato-1" in agent.passing else "kato-1")
        return True

    agent.when_blocked = change
    run = Run(agent)
    run.register(wait=60)
    assert run.said[2:] == [("kato-1", "passing"), ("kato/2", "passing")]
    assert queries(run) == ["", "index=7&wait=60.000s", "index=7&wait=58.000s"]
    blocking = [send for send in run.player.sent if "index=" in send.target]
    assert blocking[0].timeout == 60 + 60 / 16 + 5


def queries(run: Run) -> list[str]:
    """The parameters with which the catalog was asked."""
    targets = [send.target for send in run.player.sent if "/health/" in send.target]
    return [target.partition("?")[2] for target in targets]


def test_several_services() -> None:
    """Instances of several services are all waited for."""
    run = Run(Agent(passing={"kato-1", "memory-1"}), (ONE, OTHER))
    run.register(wait=60)
    assert run.agent.asked[3:] == ["health/service/kato", "health/service/memory"]


def test_not_passing() -> None:
    """Who does not pass in time is named with what its checks say, and all are taken out again."""
    run = Run(Agent(passing={"kato-1"}))
    with pytest.raises(NotPassing) as caught:
        run.register(wait=60)
    assert caught.value.waiting == {"kato/2": "critical, alive: connection refused"}
    assert str(caught.value) == (
        "not passing after 60 s; what this run registered is taken out again:\n"
        "  kato/2: critical, alive: connection refused"
    )
    assert run.agent.services == {}
    assert run.agent.clock.now == pytest.approx(1_060.0)


def test_not_passing_but_there_before() -> None:
    """What was registered before this run stays registered, though it does not pass."""
    run = Run(Agent(services=listed(ONE)))
    with pytest.raises(NotPassing):
        run.register(wait=60)
    assert run.agent.services == listed(ONE)
    assert ("kato-1", "taken out again") not in run.said


def test_not_in_the_catalog() -> None:
    """An instance that clients cannot see at all is told apart from a critical one."""
    agent = Agent()

    def nobody(what: str) -> Outcome | None:
        if not what.startswith("health/"):
            return None
        agent.clock.advance(30.0)
        return reply(200, [], x_consul_index="7")

    agent.bad = nobody
    run = Run(agent, (ONE,))
    with pytest.raises(NotPassing) as caught:
        run.register(wait=60)
    assert caught.value.waiting == {
        "kato-1": "not in the catalog yet, or the token may not read it there "
        "(node:read, service:read)"
    }


@pytest.mark.parametrize("outcome", [refused(), reply(500, b"No cluster leader"), reply(429)])
def test_agent_away_while_waiting(outcome: Outcome) -> None:
    """An agent that is away for a moment while we wait is asked again, and nobody is taken out."""
    agent = Agent(passing={"kato-1", "kato/2"})
    agent.bad = lambda what: outcome if 3 < len(agent.asked) <= 5 else None
    run = Run(agent)
    run.register(wait=60)
    assert run.player.slept == pytest.approx([0.1, 0.2])
    assert agent.services == listed(ONE, TWO)


def test_busy_catalog() -> None:
    """A catalog that changes all the time is looked at ten times at once, then twice a second."""
    run = Run(Agent(when_blocked=lambda: True))
    with pytest.raises(NotPassing):
        run.register(wait=5)
    assert run.player.slept == pytest.approx([0.5] * 10)
    assert run.agent.clock.now == pytest.approx(1_005.0)


def test_last_moment() -> None:
    """Less than a millisecond left is a millisecond: 0 s would be 5 minutes to Consul."""
    agent = Agent()

    def change() -> bool:
        agent.clock.now = 1_059.9997 if agent.clock.now < 1_059 else 1_061.0
        return True

    agent.when_blocked = change
    run = Run(agent, (ONE,))
    with pytest.raises(NotPassing):
        run.register(wait=60)
    assert queries(run) == ["", "index=7&wait=60.000s", "index=7&wait=0.001s"]


HERE = replace(ONE, address="10.0.0.5")


@pytest.mark.parametrize(
    ("one", "seen"),
    [
        (ONE, replace(ONE, port=9999)),
        (ONE, replace(ONE, address="10.0.0.5", port=9999)),
        (HERE, replace(ONE, address="10.0.0.6")),
        (HERE, replace(ONE, address="10.0.0.5", port=9999)),
        (HERE, ONE),  # at its node's address, which is another one
    ],
)
def test_same_id_elsewhere(one: ServiceDefinition, seen: ServiceDefinition) -> None:
    """Another agent's instance with the same id does not pass for ours, wherever it stands."""
    for node in ("elsewhere", "there"):  # listed before ours, and after
        other = catalogued(listed(seen)["kato-1"], "passing", "200 OK", node=node)
        run = Run(Agent(elsewhere=[other]), (one,))
        with pytest.raises(NotPassing):
            run.register(wait=60)
        assert ("kato-1", "passing") not in run.said


@pytest.mark.parametrize("one", [ONE, HERE])
def test_same_id_elsewhere_fails(one: ServiceDefinition) -> None:
    """Ours is seen to pass beside another agent's instance with the same id that does not."""
    seen = listed(replace(ONE, address="10.0.0.6", port=9999))["kato-1"]
    for node in ("elsewhere", "there"):
        other = catalogued(seen, "critical", "refused", node=node)
        run = Run(Agent(passing={"kato-1"}, elsewhere=[other]), (one,))
        run.register(wait=60)
        assert run.said == [("kato-1", "registered"), ("kato-1", "passing")]


def test_a_cut_query_does_not_prolong_the_wait() -> None:
    """A blocking query that was cut is asked again for what is left of the wait, not for all."""
    agent = Agent()

    def cut_the_second(what: str) -> Outcome | None:
        queries = sum(asked.startswith("health/") for asked in agent.asked)
        if what.startswith("health/") and queries == 2:
            agent.clock.advance(50)
            return Failure(Cause.CUT, bytes_sent=True, detail="reset")
        return None

    began = agent.clock.now
    agent.bad = cut_the_second
    run = Run(agent, (ONE,))
    with pytest.raises(NotPassing):
        run.register(wait=60)
    assert agent.clock.now <= began + 61


def test_the_agent_knows_more_than_the_catalog() -> None:
    """The reason is what the agent's check says: the catalog gets an output late."""
    run = Run(Agent(says={"kato-1": "dial tcp: connection\n  refused"}), (ONE,))
    with pytest.raises(NotPassing) as caught:
        run.register(wait=5)
    assert caught.value.waiting == {"kato-1": "critical, dial tcp: connection refused"}
