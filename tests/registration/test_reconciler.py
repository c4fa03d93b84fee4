"""Reconciling the agent with the definitions, and deregistering."""

from dataclasses import replace
from typing import Any

import pytest

from kato_consul._flow import Outcome
from kato_consul._registration.reconciler import RECONCILE_INTERVAL
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

# --- reconciling ----------------------------------------------------------------------------


def reconcile(run: Run, most: int) -> None:
    """Play the endless flow for some steps."""
    with pytest.raises(TooLong):
        run.player.play(run.reconcile(), most=most)


READS = {"agent/services", "agent/checks"}

FULL = replace(TWO, address="10.0.0.5", tags=("a", "b"), meta={"version": "3.10.1"})


def test_without_a_difference_the_agent_is_only_read() -> None:
    """While all instances are registered as defined, the agent is only read, every second."""
    run = Run(Agent(services=listed(ONE, FULL, REDIS)), (ONE, FULL))
    reconcile(run, most=9)
    assert set(run.agent.requests) == READS
    assert set(run.player.waited) == {RECONCILE_INTERVAL}
    assert run.events == []


def test_lost_instance_is_registered_again() -> None:
    """An instance that the agent lost is registered again; no other service is changed."""
    run = Run(Agent(services=listed(ONE, REDIS)))
    reconcile(run, most=5)
    assert run.agent.services == listed(ONE, REDIS, TWO)
    assert "agent/service/register/kato-1" not in run.agent.requests
    assert run.events == [("kato/2", "was missing from the agent, registered again")]


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
def test_changed_instance_is_registered_again(change: dict[str, Any]) -> None:
    """An instance that differs from its definition is registered again, once."""
    services = listed(ONE, FULL)
    services["kato/2"].update(change)
    run = Run(Agent(services=services), (ONE, FULL))
    reconcile(run, most=9)
    assert run.agent.services == listed(ONE, FULL)
    assert run.agent.requests[:5] == [
        "agent/services",
        "agent/checks",
        "agent/service/register/kato/2",
        "agent/services",
        "agent/checks",
    ]
    assert run.events == [("kato/2", "was changed in the agent, registered again")]


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
def test_undefined_differences_are_ignored(change: dict[str, Any]) -> None:
    """Consul returns null for empty values; fields that are not defined may have any value."""
    services = listed(ONE, TWO)
    services["kato-1"].update(change)
    run = Run(Agent(services=services))
    reconcile(run, most=6)
    assert set(run.agent.requests) == READS


@pytest.mark.parametrize(
    "outcome",
    [refused(), NO_LEADER, reply(429), reply(403), reply(404), reply(400), reply(301), reply()],
)
def test_outage_is_reported_once_and_repaired(outcome: Outcome) -> None:
    """Any error of the agent is reported once; when it is over, all instances are registered."""
    agent = Agent()
    agent.override = lambda request: outcome if len(agent.requests) <= 2 else None
    run = Run(agent)
    reconcile(run, most=9)
    assert [subject for subject, _ in run.events] == ["consul", "kato-1", "kato/2", "consul"]
    assert run.events[-1] == ("consul", "answers again")
    assert agent.services == listed(ONE, TWO)


def test_each_new_error_is_reported() -> None:
    """A different error is reported, and so is the same one after a recovery."""
    down, denied = refused(), reply(403)
    outcomes: list[Outcome | None] = [down, down, denied, denied, down, None, None, down, None]
    agent = Agent(
        services=listed(ONE, TWO),
        override=lambda request: (
            outcomes.pop(0) if outcomes and request == "agent/services" else None
        ),
    )
    run = Run(agent)
    reconcile(run, most=2 * len(outcomes) + 3)
    assert [text.partition(":")[0].partition(" at ")[0] for _, text in run.events] == [
        "no answer from Consul",
        "Consul",
        "no answer from Consul",
        "answers again",
        "no answer from Consul",
        "answers again",
    ]


def test_registration_is_retried_while_there_is_no_leader() -> None:
    """While the agent has no leader, registering is retried with growing pauses."""
    agent = Agent()
    agent.override = lambda request: (
        NO_LEADER if "register" in request and len(agent.requests) < 9 else None
    )
    run = Run(agent)
    reconcile(run, most=20)
    assert run.player.waited[:3] == pytest.approx([0.1, 0.2, RECONCILE_INTERVAL])
    assert agent.services == listed(ONE, TWO)


def test_rejected_definition_is_reported_once() -> None:
    """A definition that Consul rejects is reported once; reconciling goes on."""
    run = Run(
        Agent(override=failing("agent/service/register/kato-1", with_=reply(400, b"bad"))), (ONE,)
    )
    reconcile(run, most=9)
    assert run.events == [
        (
            "consul",
            "Consul at http://consul.test:8500 rejected registering 'kato-1': 400 bad",
        )
    ]
    assert set(run.player.waited) == {RECONCILE_INTERVAL}


# --- deregistering --------------------------------------------------------------------------


def test_deregister_all() -> None:
    """All instances are deregistered; other services stay."""
    run = Run(Agent(services=listed(ONE, TWO, REDIS)))
    run.play(run.flows.deregister_all())
    assert run.agent.services == listed(REDIS)
    assert run.events == [("kato-1", "deregistered"), ("kato/2", "deregistered")]


def test_deregister_an_instance_that_is_not_registered() -> None:
    """An instance that is not registered is reported; no request is sent for it."""
    run = Run(Agent(services=listed(ONE)))
    run.play(run.flows.deregister_all())
    assert run.events == [("kato-1", "deregistered"), ("kato/2", "was not registered")]
    assert run.agent.requests == ["agent/services", "agent/service/deregister/kato-1"]


def test_deregister_an_instance_that_was_just_removed() -> None:
    """An instance that was removed after the list was read counts as deregistered."""
    bad = failing("agent/service/deregister/kato-1", with_=reply(404, b"Unknown service"))
    run = Run(Agent(services=listed(ONE, TWO), override=bad))
    run.play(run.flows.deregister_all())
    assert run.events == [("kato-1", "deregistered"), ("kato/2", "deregistered")]


@pytest.mark.parametrize("answered", [0, 1, 2])
@pytest.mark.parametrize("outcome", [refused(), NO_LEADER, reply(429)])
def test_deregister_is_retried(outcome: Outcome, answered: int) -> None:
    """If the agent fails for a moment, at first or in between, the request is retried."""
    agent = Agent(services=listed(ONE, TWO))
    agent.override = lambda request: (
        outcome if answered < len(agent.requests) <= answered + 2 else None
    )
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
def test_deregister_continues_after_an_error(outcome: Outcome, kind: type[ConsulError]) -> None:
    """If one instance cannot be deregistered, the others are; its error is raised at the end."""
    bad = failing("agent/service/deregister/kato-1", with_=outcome)
    run = Run(Agent(services=listed(ONE, TWO), override=bad))
    with pytest.raises(kind):
        run.play(run.flows.deregister_all())
    assert run.agent.services == listed(ONE)
    assert run.events == [("kato/2", "deregistered")]


def test_deregister_raises_the_first_error() -> None:
    """Of several errors, the first is raised."""
    outcomes = {
        "agent/service/deregister/kato-1": reply(403),
        "agent/service/deregister/kato/2": reply(400),
    }
    run = Run(Agent(services=listed(ONE, TWO, OTHER), override=outcomes.get), (ONE, TWO, OTHER))
    with pytest.raises(ConsulDenied, match="kato-1"):
        run.play(run.flows.deregister_all())
    assert run.events == [("memory-1", "deregistered")]


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
def test_deregister_without_an_agent(
    outcome: Outcome, kind: type[ConsulError], took: float
) -> None:
    """If no agent answers, no instance is reported as deregistered."""
    run = Run(Agent(services=listed(ONE, TWO), override=lambda request: outcome))
    with pytest.raises(kind):
        run.play(run.flows.deregister_all())
    assert run.agent.clock.now == pytest.approx(1_000.0 + took)
    assert set(run.agent.requests) == {"agent/services"}
    assert run.events == []


def test_refused_instance_does_not_block_the_others() -> None:
    """A lost instance is registered again although the one before it is refused."""
    run = Run(Agent(override=failing("agent/service/register/kato-1", with_=reply(403))))
    reconcile(run, most=20)
    assert "kato/2" in run.agent.services


def test_null_address_is_not_a_difference() -> None:
    """An agent that returns null for an empty address has what was defined."""
    agent = Agent(services=listed(ONE))
    agent.services["kato-1"]["Address"] = None
    run = Run(agent, (replace(ONE, address=""),))
    reconcile(run, most=4)
    assert run.events == []
