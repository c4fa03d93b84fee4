"""Two joined datacenters: the second is used while the first has no usable instance."""

import pytest

from kato_consul import ConsulUnavailable, Discovery
from kato_consul.testing import ConsulAgent
from tests.discovery.agents import (
    deregister,
    discovers,
    http,
    register,
    register_critical,
    settings_for,
)
from tests.testing.waiting import eventually


def test_failover_and_failback() -> None:
    """The first datacenter is used while it has a usable instance; then the next, and back."""
    with (
        ConsulAgent(config={"datacenter": "east"}) as east,
        ConsulAgent(config={"datacenter": "west"}) as west,
    ):
        (member,) = http(east, "GET", "/v1/agent/members?wan=1")
        west.cli("join", "-wan", f"{member['Addr']}:{member['Port']}")
        assert eventually(lambda: len(http(east, "GET", "/v1/catalog/datacenters")) == 2)
        register(east, "kato", 1)
        register(west, "kato", 2)
        with Discovery(settings_for(east, datacenter="east,west")) as discovery:
            assert discovers(discovery, "kato-1")
            register_critical(east, "kato", 1)
            assert discovers(discovery, "kato-2")
            assert discovery.current is not None
            assert [one.datacenter for one in discovery.current.usable] == ["west"]
            register(east, "kato", 1)
            http(east, "PUT", "/v1/agent/check/deregister/service:kato-1")
            assert discovers(discovery, "kato-1")
            deregister(east, "kato", 1)
            assert discovers(discovery, "kato-2")
            west.kill()  # the datacenter is unreachable: its last good snapshot stays
            assert eventually(lambda: discovery.last_error is not None)
            assert discovers(discovery, "kato-2")
        with Discovery(settings_for(east, datacenter="nowhere")) as discovery:
            assert eventually(lambda: discovery.last_error is not None)
            with pytest.raises(ConsulUnavailable, match="No path to datacenter"):
                discovery.snapshot(0.0)
