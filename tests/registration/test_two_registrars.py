"""Two registrars of one id: the same definition is no conflict, another one is reported."""

from dataclasses import replace
from typing import Any

import pytest

from kato_consul._definitions.schema import CheckDefinition, ProbeDefinition
from kato_consul._flow import Outcome
from kato_consul._registration.registrar_state import OWNER_KEY, HealthStatus
from kato_consul._registration.ttl_heartbeat import send_heartbeats
from kato_consul.models import Health
from tests.building import reply
from tests.flows import TooLong
from tests.registration.fake_agent import ONE, Agent, Run, listed

CHECKS = "agent/checks"
READS = {"agent/services", CHECKS}
REGISTERS = "agent/service/register/kato-1"


def reconcile(run: Run, most: int) -> None:
    """Play the endless flow for some steps."""
    with pytest.raises(TooLong):
        run.player.play(run.reconcile(), most=most)


@pytest.mark.parametrize(
    "meta",
    [
        {OWNER_KEY: "another"},
        {OWNER_KEY: "another", "version": "3.10.2", "base_processor_id": "kato"},
    ],
    ids=str,
)
def test_same_definition_is_no_conflict(meta: dict[str, str]) -> None:
    """The mark of another registrar, and the info that it published, are left."""
    run = Run(Agent(services=listed(replace(ONE, meta=meta))), (ONE,), owner="me")
    reconcile(run, most=12)
    assert not any("register" in request for request in run.agent.requests)
    assert run.events == []


def test_newer_info_of_this_registrar_is_published() -> None:
    """Info that this registrar has read since its last registration replaces that in the agent."""
    older = replace(ONE, meta={"version": "3.9.0"})
    run = Run(Agent(services=listed(older)), (ONE,))
    run.state.instances["kato-1"].info = {"version": "3.10.1"}
    reconcile(run, most=12)
    assert run.agent.services["kato-1"]["Meta"] == {"version": "3.10.1"}
    assert run.agent.requests.count(REGISTERS) == 1
    assert run.events == []


class Rival(Agent):
    """An agent in which another registrar replaces the registration at each read."""

    theirs = replace(ONE, port=9, meta={OWNER_KEY: "host:other.toml"})

    def __call__(self, send: Any) -> Outcome:
        if send.target == "/v1/agent/services":
            self.services |= listed(self.theirs)
        return super().__call__(send)


def test_other_definition_is_reported_once_and_repaired_rarely() -> None:
    """The first change may be an operator's. At the second, the other definition and its registrar
    are named, and the repairs become rare."""
    run = Run(Rival(), (ONE,), owner="me")
    reconcile(run, most=200)
    (_, repaired), (_, contested) = run.events
    assert repaired == "was changed in the agent, registered again"
    assert contested.startswith(
        "host:other.toml registers it too, but otherwise: port 9 there, 8001 here. Each replaces"
    )
    assert run.agent.requests.count(REGISTERS) < 10


def test_registration_between_two_reads_does_not_name_this_registrar() -> None:
    """The service was read with the mark of this one, and then another one replaced its checks."""
    without_checks = Agent(override=lambda request: reply(200, {}) if request == CHECKS else None)
    run = Run(without_checks, (ONE,), owner="me")
    reconcile(run, most=200)
    assert run.agent.requests.count(REGISTERS) > 1
    assert not any("registers it too" in event for _, event in run.events)


@pytest.mark.parametrize("displaced", [True, False])
def test_health_is_not_reported_for_the_other_definition(displaced: bool) -> None:
    """While the agent has the other definition, its check is not this registrar's to set."""
    run = Run(Agent(), (replace(ONE, check=None, checks=(), probe=ProbeDefinition()),))
    instance = run.state.instances["kato-1"]
    instance.health.set(HealthStatus(Health.PASSING, "fine"))
    instance.displaced = displaced
    with pytest.raises(TooLong):
        run.player.play(send_heartbeats(run.state, instance, run.api, random=lambda: 1.0), most=10)
    assert bool(run.player.sent) is not displaced


def test_reloaded_definition_is_registered_once() -> None:
    """Also if only its check was changed, which the agent does not return; it is an update."""
    run = Run(Agent(services=listed(ONE)), (ONE,))
    flow = run.reconcile()
    run.state.replace([replace(ONE, check=CheckDefinition(interval="1s"))])
    with pytest.raises(TooLong):
        run.player.play(flow, most=20)
    assert run.agent.requests.count(REGISTERS) == 1
    assert run.events == [("kato-1", "registration updated")]


def test_startup_job_names_the_registrar_that_runs() -> None:
    """A registrar that sends heartbeats will put back its own definition: this is said at once."""
    agent = Agent(services=listed(replace(ONE, port=9, meta={OWNER_KEY: "host:kato.toml"})))
    fed = {"kato-probe:kato-1": {"ServiceID": "kato-1", "Type": "ttl", "Status": "passing"}}
    agent.more_checks = fed
    run = Run(agent, (ONE,))
    run.register(wait=0)
    assert run.events[0][1].startswith(
        "host:kato.toml registers it too, but otherwise: port 9 there, 8001 here."
    )
