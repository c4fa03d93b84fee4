"""A fleet: how it ends, and how it is repaired, when a test has ended its agent."""

import pytest

from kato_consul.testing import Fleet


def test_result_of_a_test_that_killed_the_agent_stays() -> None:
    """The end of a fleet needs no agent: its own error would hide that of the block."""
    with pytest.raises(ZeroDivisionError), Fleet(1, registered=True) as fleet:
        fleet.agent.kill()
        _ = 1 / 0


@pytest.mark.parametrize("fault", ["kill", "stop", "freeze"])
def test_reset_repairs_the_agent(fault: str) -> None:
    """Its instances are registered and passing again, on the same address."""
    with Fleet(2, registered=True) as fleet:
        address = fleet.agent.http_addr
        getattr(fleet.agent, fault)()
        fleet.reset()
        assert fleet.agent.http_addr == address
        services = fleet.agent.cli("catalog", "services").split()
        assert services == ["consul", "kato"]
