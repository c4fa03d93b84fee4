"""A check that another service of the agent has is never taken away from it."""

from dataclasses import replace

import pytest

from kato_consul import (
    CheckDefinition,
    ConnectDefinition,
    DefinitionError,
    ServiceDefinition,
    SidecarDefinition,
)
from kato_consul._registration.check_owners import check_conflict, released_checks
from tests.building import reply
from tests.flows import TooLong
from tests.registration.fake_agent import ONE, TWO, Agent, Run, listed

ALIVE = CheckDefinition(tcp="127.0.0.1:1", id="alive")
MINE = replace(ONE, check=ALIVE)
THEIRS = replace(TWO, id="theirs", check=ALIVE)
WITH_SIDECAR = replace(ONE, connect=ConnectDefinition(sidecar_service=SidecarDefinition()))


@pytest.mark.parametrize(
    ("checks", "released", "owner"),
    [
        ({}, (), None),
        ({"other": {"ServiceID": "theirs"}}, (), None),
        ({"alive": {"ServiceID": "kato-1"}}, (), None),
        ({"alive": {"ServiceID": "theirs"}}, (), "'theirs'"),
        ({"alive": {"ServiceID": "theirs"}}, ("alive",), None),
        ({"alive": {"ServiceID": ""}}, (), '"the agent\'s node"'),
        ({"alive": {}}, (), '"the agent\'s node"'),
    ],
)
def test_conflict(
    checks: dict[str, dict[str, str]], released: tuple[str, ...], owner: str | None
) -> None:
    """An instance's own check is no conflict, nor is one that its service is about to lose."""
    conflict = check_conflict(MINE, checks, released)
    if owner is None:
        assert conflict is None
    else:
        assert conflict is not None
        assert conflict.startswith(
            f"kato-1 is not registered: the check id 'alive' is that of a check of {owner} on "
            f"this agent, which would lose it: give the check its own id"
        )
        assert ("or deregister 'theirs'" in conflict) is (owner == "'theirs'")


@pytest.mark.parametrize(
    ("owner", "changing", "leaving", "released"),
    [
        ("theirs", (), (), set()),
        ("theirs", (MINE,), (), set()),
        ("theirs", (), ("theirs",), {"alive"}),
        ("kato-1", (MINE,), (), set()),
        ("kato-1", (ONE,), (), {"alive"}),
        ("", (ONE,), ("kato/2",), set()),
    ],
)
def test_released(
    owner: str,
    changing: tuple[ServiceDefinition, ...],
    leaving: tuple[str, ...],
    released: set[str],
) -> None:
    """A service loses a check if it is to be deregistered, or registered without it."""
    checks = {"alive": {"ServiceID": owner}}
    assert released_checks(checks, changing, leaving) == released


def test_checks_of_the_own_sidecar() -> None:
    """The checks that the agent made for the sidecar are the instance's own."""
    checks = {"service:kato-1-sidecar-proxy:1": {"ServiceID": "kato-1-sidecar-proxy"}}
    assert check_conflict(WITH_SIDECAR, checks) is None


def agent_where(owner: str, *, known: dict[str, bool]) -> Agent:
    """Return an agent in which the check belongs to this service while ``known["taken"]``."""
    agent = Agent(services=listed(THEIRS))
    agent.override = lambda request: (
        reply(200, {"alive": {"ServiceID": owner, "Status": "passing", "Output": ""}})
        if request == "agent/checks" and known["taken"]
        else None
    )
    return agent


def reconcile(run: Run, most: int) -> None:
    """Play the endless flow for some steps."""
    with pytest.raises(TooLong):
        run.player.play(run.reconcile(), most=most)


def test_registering_is_refused() -> None:
    """Nothing is registered if one instance has the id of another service's check."""
    run = Run(agent_where("theirs", known={"taken": True}), (TWO, MINE))
    with pytest.raises(DefinitionError, match=r"'alive' is that of a check of 'theirs'"):
        run.register(wait=0)
    assert set(run.agent.services) == {"theirs"}
    assert run.agent.requests == ["agent/services", "agent/checks"]


def test_registering_again() -> None:
    """A check that the same service has had before is no conflict."""
    run = Run(agent_where("kato-1", known={"taken": True}), (MINE,))
    run.register(wait=0)
    assert "agent/service/register/kato-1" in run.agent.requests


def test_reconciling() -> None:
    """A running registrar leaves the check, reports it once, and registers when the id is free."""
    known = {"taken": True}
    run = Run(agent_where("theirs", known=known), (TWO, MINE))
    reconcile(run, most=12)
    assert "agent/service/register/kato-1" not in run.agent.requests
    assert "agent/service/register/kato/2" in run.agent.requests  # the others are kept up to date
    reported = [text for _, text in run.events if "'alive'" in text]
    assert len(reported) == 1
    assert "of a check of 'theirs' on this agent" in reported[0]
    known["taken"] = False
    reconcile(run, most=4)
    assert "kato-1" in run.agent.services
