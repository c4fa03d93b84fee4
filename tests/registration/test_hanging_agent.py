"""An agent that hangs: every step of a registrar ends within its time."""

from collections.abc import Callable

import pytest

from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul.errors import ConsulUnreachable
from tests.registration.fake_agent import ONE, Agent, Run, listed


def hanging(agent: Agent, *requests: str) -> Callable[[Send], Outcome]:
    """Return an agent that does not answer these requests, nor any if none is named."""

    def answer(send: Send) -> Outcome:
        if not requests or any(one in send.target for one in requests):
            agent.clock.advance(send.timeout)
            return Failure(Cause.TIMEOUT, bytes_sent=True, detail="timed out")
        return agent(send)

    return answer


@pytest.mark.parametrize(("within", "took"), [(10.0, 10.0), (2.0, 2.0), (0.0, 1.0)])
def test_registering_with_an_agent_that_hangs(within: float, took: float) -> None:
    """A request has only the time that is left, but one second in any case."""
    run = Run(Agent())
    run.player.answer = hanging(run.agent)
    with pytest.raises(ConsulUnreachable):
        run.register(wait=0, consul_within=within)
    assert run.agent.clock.now == pytest.approx(1_000.0 + took)


def test_rollback_with_an_agent_that_hangs() -> None:
    """It takes three seconds, and one for each further request."""
    run = Run(Agent())
    run.play(run.flows.register_all())
    run.player.answer = hanging(run.agent)
    run.play(run.flows.roll_back())
    assert run.agent.clock.now == pytest.approx(1_000.0 + 3.0 + 3 * 1.0)
    assert [text.partition(":")[0] for _, text in run.events[2:]] == [
        "could not be rolled back"
    ] * 2


@pytest.mark.parametrize(
    ("hangs", "took"), [((), 3.0), (("deregister",), 3.0)], ids=["all", "deregister"]
)
def test_end_of_a_registrar_with_an_agent_that_hangs(hangs: tuple[str, ...], took: float) -> None:
    """A registrar that runs does not wait longer than three seconds at its end."""
    run = Run(Agent())
    run.state.long_running = True
    run.play(run.flows.register_all())
    run.player.answer = hanging(run.agent, *hangs)
    with pytest.raises(ConsulUnreachable):
        run.play(run.flows.deregister_all())
    assert run.agent.clock.now == pytest.approx(1_000.0 + took)


def test_deregistration_without_an_answer() -> None:
    """Without a leader an agent deregisters at once and answers too late: the result is read."""
    run = Run(Agent())
    run.state.long_running = True
    run.play(run.flows.register_all())
    hang = hanging(run.agent, "deregister")

    def answer(send: Send) -> Outcome:
        if "deregister" in send.target:
            run.agent(send)
        return hang(send)

    run.player.answer = answer
    run.play(run.flows.deregister_all())
    assert [text for _, text in run.events[2:]] == ["deregistered", "deregistered"]
    assert run.agent.clock.now == pytest.approx(1_003.0)


class LateReconciler(Agent):
    """An agent to which the registrar's reconciler registers an instance after its end."""

    def __call__(self, send: Send) -> Outcome:
        outcome = super().__call__(send)
        if (
            send.target.endswith("/deregister/kato-1")
            and self.requests.count(self.requests[-1]) == 1
        ):
            self.services |= listed(ONE)
        return outcome


def test_registration_in_flight_is_deregistered_again() -> None:
    """If the background work did not end in time, the agent is read again after a moment."""
    agent = LateReconciler()
    run = Run(agent)
    run.play(run.flows.register_all())
    run.play(run.flows.deregister_all(again=True))
    assert agent.services == {}
