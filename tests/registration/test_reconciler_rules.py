"""What the guardian does beside putting back: prune, replace, compare, respect maintenance."""

from dataclasses import replace
from typing import Any

import pytest

from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._registration.registrar_state import OWNER, HealthStatus
from kato_consul.models import Health
from tests.building import refused
from tests.flows import TooLong
from tests.registration.fake_agent import ONE, TWO, Agent, Run, Services, listed

ME = "host:/etc/kato.toml"


def owned(*definitions: ServiceDefinition, by: str = ME) -> Services:
    """What an agent has of a registrar of this name."""
    return listed(*(replace(one, meta={OWNER: by}) for one in definitions))


def keep(run: Run, most: int = 12) -> None:
    """Play the endless flow for some steps."""
    with pytest.raises(TooLong):
        run.player.play(run.keep(), most=most)


@pytest.mark.parametrize(
    ("left", "passing", "kept"),
    [
        (owned(TWO), set(), False),  # ours, not wanted, critical: left behind
        (owned(TWO), {"kato/2"}, True),  # well: somebody with our name may look after it
        (owned(TWO, by="other:/etc/kato.toml"), set(), True),  # somebody else's
        (listed(TWO), set(), True),  # nobody's
    ],
)
def test_pruning(left: Services, passing: set[str], kept: bool) -> None:
    """Only what is ours, not wanted, and critical is taken out."""
    run = Run(Agent(services=owned(ONE) | left, passing=passing), (ONE,), owner=ME)
    keep(run)
    assert ("kato/2" in run.agent.services) is kept
    gone = [("kato/2", "left behind by an earlier run, taken out")]
    assert run.said == ([] if kept else gone)


def test_without_a_name_nothing_is_pruned() -> None:
    """A registrar that has no name owns nothing."""
    run = Run(Agent(services=listed(ONE, TWO)), (ONE,))
    keep(run)
    assert set(run.agent.services) == {"kato-1", "kato/2"}


def test_replacing() -> None:
    """What is no longer wanted is taken out, though it is well; what is new is put in."""
    run = Run(Agent(services=listed(ONE), passing={"kato-1"}), (ONE,))
    flow = run.keep()
    assert run.state.replace([TWO]) == [run.state.instances["kato/2"]]
    with pytest.raises(TooLong):
        run.player.play(flow, most=12)
    assert set(run.agent.services) == {"kato/2"}
    assert run.said == [("kato/2", "registered"), ("kato-1", "deregistered")]


def test_replacing_by_the_same() -> None:
    """What did not change is left as it is, and its flows go on."""
    run = Run(Agent(services=listed(ONE)), (ONE,))
    before = run.state.instances["kato-1"]
    assert run.state.replace([ONE]) == []
    assert run.state.instances["kato-1"] is before
    assert not before.removed


def test_when_ready() -> None:
    """One that is to be put in when it is ready is not, before its probe says so."""
    probed = ServiceDefinition(name="kato", id="kato-1", port=8001)
    run = Run(Agent(), (probed,))
    run.state.when_ready = run.state.stays = True
    one = run.state.instances["kato-1"]
    flow = run.keep()
    one.registered = False
    for verdict in (None, HealthStatus(Health.CRITICAL, "could not connect")):
        one.health.set(verdict)
        with pytest.raises(TooLong):
            run.player.play(run_once(run), most=4)
        assert run.agent.services == {}
    one.health.set(HealthStatus(Health.PASSING, "ok"))
    with pytest.raises(TooLong):
        run.player.play(run_once(run), most=4)
    assert set(run.agent.services) == {"kato-1"}
    flow.close()


def run_once(run: Run) -> Any:
    """The guardian, as one that has not put anything in yet."""
    flow = run.keep()
    for one in run.state.instances.values():
        one.registered = False
    return flow


def test_a_check_that_was_removed() -> None:
    """An entry does not stand without each of its checks; somebody else's checks do not count."""
    both = replace(ONE, checks=(replace(ONE.plain_checks[0], id="second"),))
    entry, there = RegistrationPayload(both), listed(both)["kato-1"]
    assert entry.matches(there, {"service:kato-1:1", "second", "foreign"})
    assert not entry.matches(there, {"service:kato-1:1", "foreign"})
    assert not entry.matches(there, set())
    assert not entry.matches(None, {"service:kato-1:1", "second"})


def test_pool_differs() -> None:
    """An instance that learned to be another than the rest of its pool is told of, once."""
    other = replace(TWO, meta={"version": "3.9.0", "base_processor_id": "kato"})
    run = Run(Agent(services=listed(ONE) | listed(other), passing={"kato-1", "kato/2"}), (ONE,))
    run.state.instances["kato-1"].info = {"version": "3.10.1", "base_processor_id": "kato"}
    keep(run, most=20)
    told = [what for who, what in run.said if "differs" in what]
    assert told == [
        "differs from kato/2 in version: 3.10.1 here, 3.9.0 there. They do not work as one pool"
    ]


def test_hours_without_consul() -> None:
    """Six hours without an agent, which then has forgotten all: asked every 0.4 s when chance is at
    its most, told of once; within a second of its return all are there, each registered once."""
    began, hours = 1_000.0, 6 * 3600.0
    agent = Agent(passing={"kato-1", "kato/2"})
    agent.bad = lambda what: refused() if agent.clock.now < began + hours else None
    run = Run(agent)
    run.state.stays = True
    flow = run.keep()
    with pytest.raises(TooLong):
        run.player.play(flow, most=2 * round(hours) * 3)
    back = next(n for n, what in enumerate(agent.asked) if what == "agent/checks")
    assert back / hours < 2.51
    assert [what for what in agent.asked[back:] if "register" in what] == [
        "agent/service/register/kato-1",
        "agent/service/register/kato/2",
    ]
    (trouble, *rest) = run.said
    assert trouble[0] == "consul"
    assert rest == [
        ("kato-1", "is gone from the agent, registered again"),
        ("kato/2", "is gone from the agent, registered again"),
        ("consul", "answers again"),
    ]
