"""Sidecars, which the agent registers beside instances: lost, changed, not wanted any more."""

from dataclasses import replace

import pytest

from kato_consul import ConnectDefinition, SidecarDefinition
from kato_consul._registration.registrar_state import OWNER_KEY
from tests.flows import TooLong
from tests.registration.fake_agent import ONE, Agent, Run, Services, listed

MESHED = replace(ONE, connect=ConnectDefinition(sidecar_service=SidecarDefinition(port=21000)))

OWNER = "this:registrar"


def sidecar(**changed: object) -> Services:
    """Return the sidecar as the agent lists it. It has the metadata of its instance."""
    record = {"ID": "kato-1-sidecar-proxy", "Service": "kato-sidecar-proxy", "Port": 21000}
    return {"kato-1-sidecar-proxy": {**record, "Meta": {OWNER_KEY: OWNER}, **changed}}


def owned() -> Services:
    """Return the instance as the agent lists it."""
    services = listed(MESHED)
    services["kato-1"]["Meta"] = {OWNER_KEY: OWNER}
    return services


def reconcile(run: Run) -> None:
    """Play the endless flow for some steps."""
    with pytest.raises(TooLong):
        run.player.play(run.reconcile(), most=4)


def test_sidecar_is_not_pruned() -> None:
    """A sidecar without a proxy process is critical, and has the owner's name. It stays."""
    run = Run(Agent(services=owned() | sidecar(), passing={"kato-1"}), (MESHED,), owner=OWNER)
    reconcile(run)
    assert set(run.agent.services) == {"kato-1", "kato-1-sidecar-proxy"}
    assert not [one for one in run.agent.requests if "register" in one]


@pytest.mark.parametrize("services", [owned(), owned() | sidecar(Port=21001)])
def test_lost_or_changed_sidecar_is_registered_again(services: Services) -> None:
    """The instance is registered again, and the agent then makes the sidecar."""
    run = Run(Agent(services=services), (MESHED,), owner=OWNER)
    reconcile(run)
    assert "agent/service/register/kato-1" in run.agent.requests
    assert ("kato-1", "was changed in the agent, registered again") in run.events


def test_sidecar_that_is_not_defined_any_more() -> None:
    """The agent keeps it with its instance, so it is deregistered by its own id."""
    run = Run(Agent(services=owned() | sidecar()), (MESHED,), owner=OWNER)
    run.state.replace([ONE])
    reconcile(run)
    assert set(run.agent.services) == {"kato-1"}
    assert run.state.to_deregister == []
