"""Putting instances in: all or none, by an agent that may not be there yet.

The wait until they pass is in `test_passing`; keeping them and taking them out in `test_keeping`.
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
from tests.registration.fake_agent import ONE, OTHER, REDIS, TWO, Agent, Run, failing, listed

NO_LEADER = reply(500, b"No cluster leader")


def test_register() -> None:
    """All are put in, told of, and nothing else is done when nobody wants to wait."""
    run = Run(Agent())
    run.register(wait=0)
    assert run.agent.services == listed(ONE, TWO)
    assert run.said == [("kato-1", "registered"), ("kato/2", "registered")]
    assert run.agent.asked == [
        "agent/services",
        "agent/service/register/kato-1",
        "agent/service/register/kato/2",
    ]


def test_register_again() -> None:
    """What is there already is registered again: the definition may have changed."""
    before = ServiceDefinition(name="kato", id="kato-1", port=1)
    run = Run(Agent(services=listed(before)))
    run.register(wait=0)
    assert run.agent.services == listed(ONE, TWO)
    assert run.said == [("kato-1", "registered again"), ("kato/2", "registered")]


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
    """When one cannot be put in, those that this run put in are taken out again."""
    run = Run(Agent(bad=failing("agent/service/register/kato/2", with_=outcome)))
    with pytest.raises(kind):
        run.register(wait=0)
    assert run.agent.services == {}
    assert ("kato-1", "taken out again") in run.said
    assert run.flows.added == []


@pytest.mark.parametrize("status", [400, 301])
def test_rejected_was_never_in(status: int) -> None:
    """A definition that Consul would not have is not taken out, nor said to be."""
    run = Run(Agent(bad=failing("agent/service/register/kato-1", with_=reply(status))))
    with pytest.raises(ConsulRejected, match=f"registering 'kato-1': {status}"):
        run.register(wait=0)
    assert run.agent.asked == ["agent/services", "agent/service/register/kato-1"]
    assert run.said == []


def test_what_was_there_stays() -> None:
    """What was in the agent before this run is not taken out when it fails."""
    agent = Agent(
        services=listed(ONE, REDIS),
        bad=failing("agent/service/register/memory-1", with_=reply(400)),
    )
    run = Run(agent, (ONE, TWO, OTHER))
    with pytest.raises(ConsulRejected):
        run.register(wait=0)
    assert run.agent.services == listed(ONE, REDIS)


def test_what_was_there_stays_when_rejected() -> None:
    """A definition that was in before is left as it was when its new words are rejected."""
    before = ServiceDefinition(name="kato", id="kato-1", port=1)
    agent = Agent(
        services=listed(before),
        bad=failing("agent/service/register/kato-1", with_=reply(400)),
    )
    run = Run(agent)
    with pytest.raises(ConsulRejected):
        run.register(wait=0)
    assert agent.services == listed(before)
    assert run.said == []


def test_rolling_back_fails() -> None:
    """The error that made us roll back is raised, not the one met in doing so; that one is told."""
    agent = Agent(
        bad=lambda what: (
            reply(400, b"bad address")
            if what.endswith("register/kato/2")
            else refused()
            if "deregister" in what
            else None
        )
    )
    run = Run(agent)
    with pytest.raises(ConsulRejected, match="bad address"):
        run.register(wait=0)
    assert any(
        who == "kato-1" and what.startswith("could not be taken out again: no answer from Consul")
        for who, what in run.said
    )


class Late(Agent):
    """An agent at which the one that is interrupted lands behind its own deregistration."""

    def __call__(self, send: Send) -> Outcome:
        if send.target.endswith("/deregister/kato-1") and "kato-1" not in self.services:
            super().__call__(send)
            self.services |= listed(ONE)
            return reply(200)
        return super().__call__(send)


def test_interrupted_while_it_registers() -> None:
    """Ctrl-C while a registration is under way: though it lands after it was taken out again, it
    does not stay."""
    agent = Late()
    run = Run(agent)
    flow = run.flows.register_all()
    step = next(flow)
    while not (isinstance(step, Send) and "register" in step.target):
        step = flow.send(agent(step) if isinstance(step, Send) else None)
    flow.close()  # as the driver does when it is interrupted
    run.play(run.flows.roll_back())
    assert agent.services == {}


def test_taken_out_without_a_word() -> None:
    """An agent without a leader takes an instance out and does not answer in time: that it is gone
    is seen, and said."""
    agent = Agent(services={})
    run = Run(agent)
    run.play(run.flows.register_all())

    def silent(what: str) -> Outcome | None:
        if "deregister" in what:
            agent.services.pop(what.rpartition("deregister/")[2], None)
            return Failure(Cause.TIMEOUT, bytes_sent=True, detail="timed out")
        return None

    agent.bad = silent
    run.play(run.flows.roll_back())
    assert run.said[-2:] == [("kato/2", "taken out again"), ("kato-1", "taken out again")]


# --- an agent that is away ------------------------------------------------------------------


@pytest.mark.parametrize("good", [0, 1, 2])
@pytest.mark.parametrize("outcome", [refused(), NO_LEADER, reply(429)])
def test_agent_comes(outcome: Outcome, good: int) -> None:
    """An agent that cannot serve, at first or in between, is waited for, in growing pauses."""
    agent = Agent()
    agent.bad = lambda what: outcome if good < len(agent.asked) <= good + 5 else None
    run = Run(agent)
    run.register(wait=0)
    assert run.player.slept == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4])
    assert agent.services == listed(ONE, TWO)
    assert run.said == [("kato-1", "registered"), ("kato/2", "registered")]


def test_agent_says_when() -> None:
    """What Consul asked for is waited for, plus the jitter."""
    agent = Agent()
    agent.bad = lambda what: reply(429, b"", retry_after="3") if len(agent.asked) <= 1 else None
    run = Run(agent)
    run.register(wait=0)
    assert run.player.slept == pytest.approx([3.1])


@pytest.mark.parametrize(("options", "within"), [({}, 10.0), ({"consul_within": 3.0}, 3.0)])
def test_agent_never_comes(options: dict[str, float], within: float) -> None:
    """After the time given to it, the last error is raised; nothing is to be rolled back."""
    run = Run(Agent(bad=lambda what: refused()))
    with pytest.raises(ConsulUnreachable):
        run.register(wait=0, **options)
    assert run.agent.clock.now == pytest.approx(1_000.0 + within)
    assert set(run.agent.asked) == {"agent/services"}
    assert run.said == []


def test_agent_goes() -> None:
    """An agent that goes in between is given as long, and then all is rolled back."""
    run = Run(Agent(bad=failing("agent/service/register/kato/2", with_=NO_LEADER)))
    with pytest.raises(ConsulUnavailable):
        run.register(wait=0)
    assert run.agent.clock.now == pytest.approx(1_000.0 + CONSUL_WITHIN)
    assert run.agent.services == {}


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(reply(403), ConsulDenied), (reply(404), ConsulRejected), (reply(301), ConsulRejected)],
)
def test_agent_refuses(outcome: Outcome, kind: type[ConsulError]) -> None:
    """A bad token, or something that is no agent, does not get better by waiting."""
    run = Run(Agent(bad=lambda what: outcome))
    with pytest.raises(kind):
        run.register(wait=0)
    assert run.agent.asked == ["agent/services"]
    assert run.said == []


def test_standing() -> None:
    """What stands in the agent can be chosen from, whoever registered it: an address that we would
    refuse keeps nobody from taking that one, or another, out."""
    odd = {"ID": "odd", "Service": "odd", "Address": "http://10.0.0.5:80", "Port": 80}
    nowhere = {"ID": "db", "Service": "db", "Address": "", "Port": 0}
    run = Run(Agent(services=listed(ONE) | {"odd": odd, "db": nowhere}))
    found = run.player.play(run.flows.registered())
    assert [(one.id, one.name, one.address, one.port) for one in found] == [
        ("kato-1", "kato", "", 8001),
        ("odd", "odd", "", 80),
    ]
