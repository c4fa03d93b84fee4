"""Two datacenters, joined: the second serves while the first has nobody."""

import pytest

from kato_consul import ConsulUnavailable, Discovery
from kato_consul.testing import ConsulAgent
from tests.discovery.agents import at, critical, http, put, sees, take_out
from tests.testing.waiting import eventually


def test_failing_over() -> None:
    """The first datacenter in the list is used while it has somebody; then the next, and back."""
    with (
        ConsulAgent(config={"datacenter": "east"}) as east,
        ConsulAgent(config={"datacenter": "west"}) as west,
    ):
        (member,) = http(east, "GET", "/v1/agent/members?wan=1")
        west.cli("join", "-wan", f"{member['Addr']}:{member['Port']}")
        assert eventually(lambda: len(http(east, "GET", "/v1/catalog/datacenters")) == 2)
        put(east, "kato", 1)
        put(west, "kato", 2)
        with Discovery(at(east, datacenter="east,west")) as discovery:
            assert sees(discovery, "kato-1")
            critical(east, "kato", 1)
            assert sees(discovery, "kato-2")
            assert discovery.current is not None
            assert [one.datacenter for one in discovery.current.usable] == ["west"]
            put(east, "kato", 1)
            http(east, "PUT", "/v1/agent/check/deregister/service:kato-1")
            assert sees(discovery, "kato-1")
            take_out(east, "kato", 1)
            assert sees(discovery, "kato-2")
            west.kill()  # and with it its datacenter: its last good snapshot stays
            assert eventually(lambda: discovery.last_error is not None)
            assert sees(discovery, "kato-2")
        with Discovery(at(east, datacenter="nowhere")) as discovery:
            assert eventually(lambda: discovery.last_error is not None)
            with pytest.raises(ConsulUnavailable, match="No path to datacenter"):
                discovery.snapshot(0.0)
