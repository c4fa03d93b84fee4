"""Waiting until the registered instances pass, and only these instances."""

from dataclasses import replace

import pytest

from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Cause, Failure, Outcome
from kato_consul._registration.passing import longest_block
from kato_consul.errors import ConsulUnreachable, NotPassing
from tests.building import refused, reply
from tests.registration.fake_agent import ONE, OTHER, TWO, Agent, Run, catalogued, listed


def test_passing_at_the_first_read() -> None:
    """Instances that pass at the first read are not waited for."""
    run = Run(Agent(passing={"kato-1", "kato/2"}))
    run.register(wait=60)
    assert run.events[2:] == [("kato-1", "passing"), ("kato/2", "passing")]
    assert run.agent.requests[4:] == ["health/service/kato", "agent/checks"]
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
    assert queries(run) == ["", "index=7&wait=56.000s", "index=7&wait=54.118s"]
    blocking = [send for send in run.player.sent if "index=" in send.target]
    assert [send.timeout for send in blocking] == [60.0, 58.0]


def queries(run: Run) -> list[str]:
    """Return the parameters of the requests to the catalog."""
    targets = [send.target for send in run.player.sent if "/health/" in send.target]
    return [target.partition("?")[2] for target in targets]


def test_several_services_are_waited_for() -> None:
    """The instances of all services are waited for."""
    run = Run(Agent(passing={"kato-1", "memory-1"}), (ONE, OTHER))
    run.register(wait=60)
    read = [f"health/service/{name}" for name in ("kato", "memory")]
    assert run.agent.requests[4:] == [read[0], "agent/checks", read[1], "agent/checks"]


def test_not_passing_in_time_is_rolled_back() -> None:
    """The error has the output of the checks that do not pass; all instances are rolled back."""
    run = Run(Agent(passing={"kato-1"}))
    with pytest.raises(NotPassing) as caught:
        run.register(wait=60)
    assert caught.value.waiting == {"kato/2": "critical, alive: connection refused"}
    assert str(caught.value) == (
        "not passing after 60 s; the run is rolled back:\n"
        "  kato/2: critical, alive: connection refused"
    )
    assert run.agent.services == {}
    assert run.agent.clock.now == pytest.approx(1_060.0)


NOT_FOUND = "HTTP GET http://10.0.0.1:80/sessions/kato-consul-probe/exists: 404 Not Found"
UNTRUSTED = 'Get "https://a/health": x509: certificate signed by unknown authority'
PAGE = "HTTP GET http://10.0.0.1:80/health: 404 Not Found"


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (f"{NOT_FOUND} Output: <!DOCTYPE HTML>\n<html>", f"{NOT_FOUND}. Is this not KATO?"),
        ("not KATO: /health returned 404", "/health returned 404. Is this not KATO?"),
        (f"{PAGE} Output: <html>", PAGE),
        (f"{PAGE} Output: no\nroute", f"{PAGE} Output: no route"),
        ("HTTP GET http://a/: 500 Internal Server Error", "500 Internal Server Error"),
        (UNTRUSTED, f"{UNTRUSTED}. It is Consul's agent that does not trust"),
    ],
)
def test_output_of_a_check_and_what_to_do(output: str, reason: str) -> None:
    """The reason is one line without a web page, with a hint if the output does not say enough."""
    run = Run(Agent(outputs={"kato-1": output}), (ONE,))
    with pytest.raises(NotPassing) as caught:
        run.register(wait=1)
    shown = caught.value.waiting["kato-1"]
    assert reason in shown
    assert "<" not in shown
    assert "\n" not in shown
    assert (". I" in shown) == (". I" in reason)


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
    assert len(queries(run)) == 10 + 10
    assert run.agent.clock.now == pytest.approx(1_005.0)


@pytest.mark.parametrize(
    ("remaining", "blocks"), [(60.0, 56.0), (9.0, 8.0), (0.5, 0.0), (0.2, 0.0), (0.0, 0.0)]
)
def test_blocking_query_is_answered_in_time(remaining: float, blocks: float) -> None:
    """The server adds up to a sixteenth; half a second is for the answer."""
    assert longest_block(remaining) == pytest.approx(blocks)
    assert blocks * 17 / 16 + 0.5 <= remaining or not blocks


def test_end_of_the_wait_is_polled() -> None:
    """An instance that passes in the last moment is found, without a blocking query of 0 s, which
    Consul takes as one of 5 minutes."""
    agent = Agent()

    def pass_at_last(request: str) -> None:
        if agent.clock.now > 1_059.8:
            agent.passing.add("kato-1")

    agent.override = pass_at_last
    run = Run(agent, (ONE,))
    run.register(wait=60)
    assert run.events[-1] == ("kato-1", "passing")
    assert queries(run)[:2] == ["", "index=7&wait=56.000s"]
    assert all(query == "" or "wait=0.000s" not in query for query in queries(run))


@pytest.mark.parametrize("answers", [0, 1])
def test_hanging_consul_ends_the_wait_in_time(answers: int) -> None:
    """Each request has only the time that is left: with a Consul that hangs, the wait ends in time,
    with this as its error."""
    agent = Agent()

    def hang(request: str) -> Outcome | None:
        if "health/" in request:
            asked = [one for one in agent.requests if "health/" in one]
            if len(asked) > answers:
                agent.clock.advance(run.player.sent[-1].timeout)
                return Failure(Cause.TIMEOUT, bytes_sent=True, detail="timed out")
        return None

    agent.override = hang
    run = Run(agent, (ONE,))
    with pytest.raises(ConsulUnreachable):
        run.register(wait=60)
    assert agent.clock.now == pytest.approx(1_060.0, abs=0.2)


def test_agent_has_to_agree_with_the_catalog() -> None:
    """After a changed registration, the catalog has the former status for a moment: it is not
    believed while the agent has the instance as critical."""
    agent = Agent()
    agent.still_listed.add("kato-1")

    def pass_now() -> bool:
        agent.passing.add("kato-1")
        return False

    agent.when_blocked = pass_now
    run = Run(agent, (ONE,))
    run.register(wait=60)
    assert run.events[-1] == ("kato-1", "passing")
    assert queries(run) == ["", "index=7&wait=0.500s"]


def test_instance_that_another_registrar_replaced() -> None:
    """The reason names the other definition and its registrar, and not the token."""
    agent = Agent()
    theirs = listed(replace(ONE, port=9, address="10.0.0.9", meta={"registrar": "host:other.toml"}))

    def replace_it() -> bool:
        agent.services.update(theirs)
        return False

    agent.when_blocked = replace_it
    run = Run(agent, (ONE,))
    with pytest.raises(NotPassing) as caught:
        run.register(wait=5)
    reason = caught.value.waiting["kato-1"]
    assert reason.startswith(
        "host:other.toml has registered this id again, with 10.0.0.9:9 instead"
    )


def test_instance_that_was_deregistered_meanwhile() -> None:
    """An instance that the agent does not have any more is not a matter of the token."""
    agent = Agent()

    def deregister_it() -> bool:
        agent.services.clear()
        return False

    agent.when_blocked = deregister_it
    run = Run(agent, (ONE,))
    with pytest.raises(NotPassing) as caught:
        run.register(wait=5)
    assert "something has deregistered it" in caught.value.waiting["kato-1"]


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
