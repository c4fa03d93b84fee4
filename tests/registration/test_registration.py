"""Registering instances: all or none, on an agent that may not be available yet.

Waiting until they pass is in `test_waiting_for_passing`; reconciling and deregistering are in
`test_reconciler`.
"""

import pytest

from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._registration.registration import CONSUL_WITHIN
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnavailable,
    ConsulUnreachable,
)
from tests.building import refused, reply
from tests.registration.fake_agent import (
    ONE,
    OTHER,
    REDIS,
    TWO,
    Agent,
    Run,
    failing,
    listed,
)

NO_LEADER = reply(500, b"No cluster leader")


def test_register_all() -> None:
    """All instances are registered and reported; without a wait no other request is sent."""
    run = Run(Agent())
    run.register(wait=0)
    assert run.agent.services == listed(ONE, TWO)
    assert run.events == [("kato-1", "registered"), ("kato/2", "registered")]
    assert run.agent.requests == [
        "agent/services",
        "agent/checks",
        "agent/service/register/kato-1",
        "agent/service/register/kato/2",
    ]


def test_existing_instance_is_updated() -> None:
    """An instance that is registered already is registered again: its definition may differ."""
    before = ServiceDefinition(name="kato", id="kato-1", port=1)
    run = Run(Agent(services=listed(before)))
    run.register(wait=0)
    assert run.agent.services == listed(ONE, TWO)
    assert run.events == [("kato-1", "registration updated"), ("kato/2", "registered")]


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (reply(400, b"Invalid service address"), ConsulRejected),
        (reply(403, b"Permission denied"), ConsulDenied),
        (NO_LEADER, ConsulUnavailable),
        (refused(), ConsulUnreachable),
        (reply(404), ConsulRejected),
        (reply(301, b"", location="https://consul.test/"), ConsulRejected),
    ],
)
def test_all_or_none(outcome: Outcome, kind: type[ConsulError]) -> None:
    """If one instance cannot be registered, those that this run added are rolled back."""
    run = Run(Agent(override=failing("agent/service/register/kato/2", with_=outcome)))
    with pytest.raises(kind):
        run.register(wait=0)
    assert run.agent.services == {}
    assert ("kato-1", "rolled back") in run.events


@pytest.mark.parametrize("status", [400, 301])
def test_rejected_instance_is_not_rolled_back(status: int) -> None:
    """An instance that Consul rejected is not deregistered, and not reported as rolled back."""
    run = Run(Agent(override=failing("agent/service/register/kato-1", with_=reply(status))))
    with pytest.raises(ConsulRejected, match=f"registering 'kato-1': {status}"):
        run.register(wait=0)
    assert run.agent.requests == ["agent/services", "agent/checks", "agent/service/register/kato-1"]
    assert run.events == []


def test_existing_instance_is_not_rolled_back() -> None:
    """An instance that was registered before the run stays when the run fails."""
    agent = Agent(
        services=listed(ONE, REDIS),
        override=failing("agent/service/register/memory-1", with_=reply(400)),
    )
    run = Run(agent, (ONE, TWO, OTHER))
    with pytest.raises(ConsulRejected):
        run.register(wait=0)
    assert run.agent.services == listed(ONE, REDIS)


def test_failed_second_run_keeps_what_the_first_one_registered() -> None:
    """A registrar that registers again and fails deregisters only what its last run added."""
    agent = Agent()
    run = Run(agent, (ONE, TWO, OTHER))
    run.play(run.flows.register_all())
    agent.services.pop("kato/2")
    agent.override = failing("agent/service/register/memory-1", with_=reply(400))
    with pytest.raises(ConsulRejected):
        run.play(run.flows.register_all())
    run.play(run.flows.roll_back())
    assert agent.services == listed(ONE, OTHER)
    assert run.events[-1] == ("kato/2", "rolled back")


def test_existing_instance_stays_when_its_update_is_rejected() -> None:
    """An existing registration stays as it was when its new definition is rejected."""
    before = ServiceDefinition(name="kato", id="kato-1", port=1)
    agent = Agent(
        services=listed(before),
        override=failing("agent/service/register/kato-1", with_=reply(400)),
    )
    run = Run(agent)
    with pytest.raises(ConsulRejected):
        run.register(wait=0)
    assert agent.services == listed(before)
    assert run.events == []


def test_failed_rollback_is_reported() -> None:
    """The error that caused the rollback is raised; the error of the rollback is an event."""
    agent = Agent(
        override=lambda request: (
            reply(400, b"bad address")
            if request.endswith("register/kato/2")
            else refused()
            if "deregister" in request
            else None
        )
    )
    run = Run(agent)
    with pytest.raises(ConsulRejected, match="bad address"):
        run.register(wait=0)
    assert any(
        subject == "kato-1" and text.startswith("could not be rolled back: no answer from Consul")
        for subject, text in run.events
    )


class LateAgent(Agent):
    """An agent that applies an interrupted registration after its own deregistration."""

    def __call__(self, send: Send) -> Outcome:
        if send.target.endswith("/deregister/kato-1") and "kato-1" not in self.services:
            super().__call__(send)
            self.services |= listed(ONE)
            return reply(200)
        return super().__call__(send)


def test_interrupted_registration_is_rolled_back() -> None:
    """Ctrl-C during a registration: it is removed even if it is applied after its rollback."""
    agent = LateAgent()
    run = Run(agent)
    flow = run.flows.register_all()
    step = next(flow)
    while not (isinstance(step, Send) and "register" in step.target):
        step = flow.send(agent(step) if isinstance(step, Send) else None)
    flow.close()  # as the driver does when it is interrupted
    run.play(run.flows.roll_back())
    assert agent.services == {}


def test_rollback_without_an_answer() -> None:
    """An agent without a leader deregisters but does not answer in time: the result is read."""
    agent = Agent(services={})
    run = Run(agent)
    run.play(run.flows.register_all())

    def no_answer(request: str) -> Outcome | None:
        if "deregister" in request:
            agent.services.pop(request.rpartition("deregister/")[2], None)
            return Failure(Cause.TIMEOUT, bytes_sent=True, detail="timed out")
        return None

    agent.override = no_answer
    run.play(run.flows.roll_back())
    assert run.events[-2:] == [("kato/2", "rolled back"), ("kato-1", "rolled back")]


# --- an agent that is not available ---------------------------------------------------------


@pytest.mark.parametrize("answered", [0, 1, 2])
@pytest.mark.parametrize("outcome", [refused(), NO_LEADER, reply(429)])
def test_register_is_retried_until_the_agent_is_available(outcome: Outcome, answered: int) -> None:
    """If the agent fails, at first or in between, requests are retried with growing pauses."""
    agent = Agent()
    agent.override = lambda request: (
        outcome if answered < len(agent.requests) <= answered + 5 else None
    )
    run = Run(agent)
    run.register(wait=0)
    assert run.player.slept == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4])
    assert agent.services == listed(ONE, TWO)
    assert run.events == [("kato-1", "registered"), ("kato/2", "registered")]


def test_retry_after_is_respected() -> None:
    """The pause is the agent's Retry-After plus the jitter."""
    agent = Agent()
    agent.override = lambda request: (
        reply(429, b"", retry_after="3") if len(agent.requests) <= 1 else None
    )
    run = Run(agent)
    run.register(wait=0)
    assert run.player.slept == pytest.approx([3.1])


@pytest.mark.parametrize(("options", "within"), [({}, 10.0), ({"consul_within": 3.0}, 3.0)])
def test_unavailable_agent_is_an_error_after_the_time_given(
    options: dict[str, float], within: float
) -> None:
    """After ``consul_within`` the last error is raised; there is nothing to roll back."""
    run = Run(Agent(override=lambda request: refused()))
    with pytest.raises(ConsulUnreachable):
        run.register(wait=0, **options)
    assert run.agent.clock.now == pytest.approx(1_000.0 + within)
    assert set(run.agent.requests) == {"agent/services"}
    assert run.events == []


def test_agent_that_fails_in_between_causes_a_rollback() -> None:
    """An agent that fails in between is given the same time; then all is rolled back."""
    run = Run(Agent(override=failing("agent/service/register/kato/2", with_=NO_LEADER)))
    with pytest.raises(ConsulUnavailable):
        run.register(wait=0)
    assert run.agent.clock.now == pytest.approx(1_000.0 + CONSUL_WITHIN)
    assert run.agent.services == {}


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(reply(403), ConsulDenied), (reply(404), ConsulRejected), (reply(301), ConsulRejected)],
)
def test_refusal_is_not_retried(outcome: Outcome, kind: type[ConsulError]) -> None:
    """A wrong token, or a server that is not an agent, is an error at once."""
    run = Run(Agent(override=lambda request: outcome))
    with pytest.raises(kind):
        run.register(wait=0)
    assert run.agent.requests == ["agent/services"]
    assert run.events == []


def test_registered_returns_instances_of_any_origin() -> None:
    """All instances that the agent has are returned, also one whose address the rules reject."""
    invalid = {"ID": "odd", "Service": "odd", "Address": "http://10.0.0.5:80", "Port": 80}
    without_port = {"ID": "db", "Service": "db", "Address": "", "Port": 0}
    run = Run(Agent(services=listed(ONE) | {"odd": invalid, "db": without_port}))
    found = run.player.play(run.flows.removal.registered())
    assert [(one.id, one.name, one.address, one.port) for one in found] == [
        ("kato-1", "kato", "", 8001),
        ("odd", "odd", "", 80),
    ]
