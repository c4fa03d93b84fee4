"""Keeping instances in the agent as they are defined, and taking them out."""

from dataclasses import replace
from typing import Any

import pytest

from kato_consul._flow import Outcome
from kato_consul._registration.reconciler import INTERVAL
from kato_consul._registration.registration import CONSUL_WITHIN
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnavailable,
    ConsulUnreachable,
)
from tests.building import refused, reply
from tests.flows import TooLong
from tests.registration.fake_agent import ONE, OTHER, REDIS, TWO, Agent, Run, failing, listed

NO_LEADER = reply(500, b"No cluster leader")

# --- keeping --------------------------------------------------------------------------------


def keep(run: Run, most: int) -> None:
    """Play the endless flow for some steps."""
    with pytest.raises(TooLong):
        run.player.play(run.keep(), most=most)


LOOKS = {"agent/services", "agent/checks"}

FULL = replace(TWO, address="10.0.0.5", tags=("a", "b"), meta={"version": "3.10.1"})


def test_keep_looks_on() -> None:
    """While all are there as defined, the agent is only looked at, every second."""
    run = Run(Agent(services=listed(ONE, FULL, REDIS)), (ONE, FULL))
    keep(run, most=9)
    assert set(run.agent.asked) == LOOKS
    assert set(run.player.waited) == {INTERVAL}
    assert run.said == []


def test_keep_puts_back() -> None:
    """What the agent lost is registered again, and nothing else is touched."""
    run = Run(Agent(services=listed(ONE, REDIS)))
    keep(run, most=5)
    assert run.agent.services == listed(ONE, REDIS, TWO)
    assert "agent/service/register/kato-1" not in run.agent.asked
    assert run.said == [("kato/2", "is gone from the agent, registered again")]


@pytest.mark.parametrize(
    "change",
    [
        {"Service": "memory"},
        {"Address": ""},
        {"Address": "10.0.0.9"},
        {"Port": 9999},
        {"Tags": []},
        {"Tags": None},
        {"Tags": ["a"]},
        {"Meta": {}},
        {"Meta": None},
        {"Meta": {"version": "3.10.2"}},
    ],
    ids=str,
)
def test_keep_puts_right(change: dict[str, Any]) -> None:
    """What the agent has otherwise than it is defined is registered again, once."""
    services = listed(ONE, FULL)
    services["kato/2"].update(change)
    run = Run(Agent(services=services), (ONE, FULL))
    keep(run, most=9)
    assert run.agent.services == listed(ONE, FULL)
    assert run.agent.asked[:5] == [
        "agent/services",
        "agent/checks",
        "agent/service/register/kato/2",
        "agent/services",
        "agent/checks",
    ]
    assert run.said == [("kato/2", "was changed in the agent, registered again")]


@pytest.mark.parametrize(
    "change",
    [
        {"Tags": None},
        {"Meta": None},
        {"Weights": {"Passing": 1, "Warning": 1}},
        {"Datacenter": "x"},
    ],
    ids=str,
)
def test_keep_leaves_alone(change: dict[str, Any]) -> None:
    """Nothing is null to Consul, and what a definition does not say may be as it likes."""
    services = listed(ONE, TWO)
    services["kato-1"].update(change)
    run = Run(Agent(services=services))
    keep(run, most=6)
    assert set(run.agent.asked) == LOOKS


@pytest.mark.parametrize(
    "outcome",
    [refused(), NO_LEADER, reply(429), reply(403), reply(404), reply(400), reply(301), reply()],
)
def test_keep_survives_an_agent_away(outcome: Outcome) -> None:
    """Whatever is wrong with the agent is told, once; when it is back, all are put back."""
    agent = Agent()
    agent.bad = lambda what: outcome if len(agent.asked) <= 2 else None
    run = Run(agent)
    keep(run, most=9)
    assert [who for who, _ in run.said] == ["consul", "kato-1", "kato/2", "consul"]
    assert run.said[-1] == ("consul", "answers again")
    assert agent.services == listed(ONE, TWO)


def test_keep_tells_each_trouble() -> None:
    """Another trouble is told, and so is the same one when it comes back."""
    away, denied = refused(), reply(403)
    looks: list[Outcome | None] = [away, away, denied, denied, away, None, None, away, None]
    agent = Agent(
        services=listed(ONE, TWO),
        bad=lambda what: looks.pop(0) if looks and what == "agent/services" else None,
    )
    run = Run(agent)
    keep(run, most=2 * len(looks) + 3)
    assert [what.partition(":")[0].partition(" at ")[0] for _, what in run.said] == [
        "no answer from Consul",
        "Consul",
        "no answer from Consul",
        "answers again",
        "no answer from Consul",
        "answers again",
    ]


def test_keep_puts_back_patiently() -> None:
    """An agent that is back but has no leader yet is asked again in growing pauses."""
    agent = Agent()
    agent.bad = lambda what: NO_LEADER if "register" in what and len(agent.asked) < 9 else None
    run = Run(agent)
    keep(run, most=20)
    assert run.player.waited[:3] == pytest.approx([0.1, 0.2, INTERVAL])
    assert agent.services == listed(ONE, TWO)


def test_keep_survives_a_rejection() -> None:
    """A definition that Consul will not have is told of, once; the looks go on."""
    run = Run(Agent(bad=failing("agent/service/register/kato-1", with_=reply(400, b"bad"))), (ONE,))
    keep(run, most=9)
    assert run.said == [
        (
            "consul",
            "Consul at http://consul.test:8500 rejected registering 'kato-1': 400 bad",
        )
    ]
    assert set(run.player.waited) == {INTERVAL}


# --- deregistering --------------------------------------------------------------------------


def test_deregister() -> None:
    """All are taken out; others stay."""
    run = Run(Agent(services=listed(ONE, TWO, REDIS)))
    run.play(run.flows.deregister_all())
    assert run.agent.services == listed(REDIS)
    assert run.said == [("kato-1", "deregistered"), ("kato/2", "deregistered")]


def test_deregister_what_is_not_there() -> None:
    """One that is not registered is as good as taken out; Consul is not even asked to."""
    run = Run(Agent(services=listed(ONE)))
    run.play(run.flows.deregister_all())
    assert run.said == [("kato-1", "deregistered"), ("kato/2", "was not registered")]
    assert run.agent.asked == ["agent/services", "agent/service/deregister/kato-1"]


def test_deregister_gone_meanwhile() -> None:
    """One that somebody else took out in between is out."""
    bad = failing("agent/service/deregister/kato-1", with_=reply(404, b"Unknown service"))
    run = Run(Agent(services=listed(ONE, TWO), bad=bad))
    run.play(run.flows.deregister_all())
    assert run.said == [("kato-1", "deregistered"), ("kato/2", "deregistered")]


@pytest.mark.parametrize("good", [0, 1, 2])
@pytest.mark.parametrize("outcome", [refused(), NO_LEADER, reply(429)])
def test_deregister_patiently(outcome: Outcome, good: int) -> None:
    """An agent that cannot serve for a moment, at first or in between, is asked again."""
    agent = Agent(services=listed(ONE, TWO))
    agent.bad = lambda what: outcome if good < len(agent.asked) <= good + 2 else None
    run = Run(agent)
    run.play(run.flows.deregister_all())
    assert run.player.slept == pytest.approx([0.1, 0.2])
    assert agent.services == {}


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (reply(403), ConsulDenied),
        (reply(400), ConsulRejected),
        (reply(301), ConsulRejected),
        (NO_LEADER, ConsulUnavailable),
        (refused(), ConsulUnreachable),
    ],
)
def test_deregister_tries_all(outcome: Outcome, kind: type[ConsulError]) -> None:
    """One that cannot be taken out keeps nobody else in; its error is raised at the end."""
    bad = failing("agent/service/deregister/kato-1", with_=outcome)
    run = Run(Agent(services=listed(ONE, TWO), bad=bad))
    with pytest.raises(kind):
        run.play(run.flows.deregister_all())
    assert run.agent.services == listed(ONE)
    assert run.said == [("kato/2", "deregistered")]


def test_deregister_first_error() -> None:
    """Of several errors it is the first that is raised."""
    answers = {
        "agent/service/deregister/kato-1": reply(403),
        "agent/service/deregister/kato/2": reply(400),
    }
    run = Run(Agent(services=listed(ONE, TWO, OTHER), bad=answers.get), (ONE, TWO, OTHER))
    with pytest.raises(ConsulDenied, match="kato-1"):
        run.play(run.flows.deregister_all())
    assert run.said == [("memory-1", "deregistered")]


@pytest.mark.parametrize(
    ("outcome", "kind", "took"),
    [
        (refused(), ConsulUnreachable, CONSUL_WITHIN),
        (NO_LEADER, ConsulUnavailable, CONSUL_WITHIN),
        (reply(403), ConsulDenied, 0.0),
        (reply(404), ConsulRejected, 0.0),
        (reply(301), ConsulRejected, 0.0),
    ],
)
def test_deregister_nobody_there(outcome: Outcome, kind: type[ConsulError], took: float) -> None:
    """Where no agent answers, nobody is said to be taken out."""
    run = Run(Agent(services=listed(ONE, TWO), bad=lambda what: outcome))
    with pytest.raises(kind):
        run.play(run.flows.deregister_all())
    assert run.agent.clock.now == pytest.approx(1_000.0 + took)
    assert set(run.agent.asked) == {"agent/services"}
    assert run.said == []


def test_one_that_is_refused_does_not_keep_the_others_out() -> None:
    """A lost instance is put back although the one before it is refused."""
    run = Run(Agent(bad=failing("agent/service/register/kato-1", with_=reply(403))))
    keep(run, most=20)
    assert "kato/2" in run.agent.services


def test_an_address_that_is_null_is_no_difference() -> None:
    """An agent that says null for no address has what was defined."""
    agent = Agent(services=listed(ONE))
    agent.services["kato-1"]["Address"] = None
    run = Run(agent, (replace(ONE, address=""),))
    keep(run, most=4)
    assert run.said == []
