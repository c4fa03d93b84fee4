"""Filters, prepared queries and consistency at a real Consul."""

from typing import Any

import pytest

from kato_consul import ConsulRejected, Discovery, Health
from kato_consul.testing import ConsulAgent
from tests.discovery.agents import (
    deregister,
    discovered,
    discovers,
    http,
    register,
    register_critical,
    settings_for,
)
from tests.testing.waiting import eventually

AWKWARD = 'say "hi" \\ to eu-1'


@pytest.fixture(scope="module", autouse=True)
def services(agent: ConsulAgent) -> None:
    """Register four instances that differ."""
    register(agent, "kato", 1, Tags=["v3", "blue"], Meta={"zone": "eu-1", "my-key": AWKWARD})
    register(agent, "kato", 2, Tags=["v3"], Meta={"zone": "eu-2"})
    register(agent, "kato", 3, Tags=["v4"])
    register_critical(agent, "kato", 4)
    http(agent, "POST", "/v1/query", {"Name": "nearest", "Service": {"Service": "kato"}})
    assert eventually(lambda: len(http(agent, "GET", "/v1/health/service/kato")) == 4)


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ({}, [1, 2, 3, 4]),
        ({"tags": ("v3",)}, [1, 2]),
        ({"tags": ("v3", "blue")}, [1]),
        ({"tags": ("v3", "v4")}, []),
        ({"meta": {"zone": "eu-1"}}, [1]),
        ({"meta": {"my-key": AWKWARD}}, [1]),
        ({"meta": {"zone": "eu-1", "my-key": "x"}}, []),
        ({"filter": "Service.Port >= 8003"}, None),  # Consul has no such operator
        ({"filter": 'v4 in Service.Tags or Service.Meta.zone == "eu-2"'}, [2, 3]),
        ({"meta": {"zone": "eu-2"}, "filter": "v4 in Service.Tags or v3 in Service.Tags"}, [2]),
        ({"tags": ("v3",), "filter": 'Service.Meta.zone == "eu-2"'}, [2]),
        ({"consistency": "stale"}, [1, 2, 3, 4]),
        ({"consistency": "consistent"}, [1, 2, 3, 4]),
        ({"agent_cache": True}, [1, 2, 3, 4]),
        ({"agent_cache": True, "consistency": "stale", "tags": ("v4",)}, [3]),
        ({"query": "nearest"}, [1, 2, 3]),  # a prepared query returns no critical ones
        ({"query": "nearest", "agent_cache": True}, [1, 2, 3]),
        ({"query": "nearest", "datacenter": "dc1"}, [1, 2, 3]),
        ({"query": "no such"}, None),
        ({"datacenter": "dc1"}, [1, 2, 3, 4]),
    ],
)
def test_setting_selects_instances(
    agent: ConsulAgent, given: dict[str, Any], numbers: list[int] | None
) -> None:
    """Each setting selects its instances. An invalid query or filter is an error with Consul's
    message."""
    settings = settings_for(agent, **given)
    if numbers is None:
        with Discovery(settings) as discovery:
            assert eventually(lambda: discovery.last_error is not None)
            with pytest.raises(ConsulRejected, match=r"[Qq]uery|bool"):
                discovery.snapshot(0.0)
    else:
        assert discovered(settings) == [f"kato-{number}" for number in numbers]


def test_zone_is_in_the_metadata(agent: ConsulAgent) -> None:
    """The zone is the metadata's ``zone``, or empty."""
    with Discovery(settings_for(agent)) as discovery:
        assert [one.zone for one in discovery.snapshot().instances] == ["eu-1", "eu-2", "", ""]


def test_prepared_query_is_executed_at_intervals(agent: ConsulAgent) -> None:
    """A prepared query cannot block: it is executed at intervals, and changes are read."""
    with Discovery(settings_for(agent, query="nearest", query_interval=0.1)) as discovery:
        assert discovers(discovery, "kato-1", "kato-2", "kato-3")
        register(agent, "kato", 5)
        assert discovers(discovery, "kato-1", "kato-2", "kato-3", "kato-5")
        deregister(agent, "kato", 5)
        assert discovers(discovery, "kato-1", "kato-2", "kato-3")


@pytest.mark.parametrize(
    "given", [{"consistency": "stale"}, {"consistency": "consistent"}, {"agent_cache": True}]
)
def test_changes_are_read_in_every_consistency_mode(
    agent: ConsulAgent, given: dict[str, Any]
) -> None:
    """In every mode changes are read, and so is the end of the last instance."""
    name = f"kato-{'-'.join(map(str, given.values()))}".lower()
    register(agent, name, 1)
    with Discovery(settings_for(agent, service=name, **given)) as discovery:
        assert discovers(discovery, f"{name}-1")
        register_critical(agent, name, 1)
        assert eventually(
            lambda: (
                discovery.current is not None
                and discovery.current.instances[0].health is Health.CRITICAL
            )
        )
        deregister(agent, name, 1)
        assert discovers(discovery)
        assert discovery.current is not None


def test_next_agent_is_used_when_one_is_down(agent: ConsulAgent) -> None:
    """If one agent of the list is down, another one is used."""
    with ConsulAgent() as stopped:
        settings = settings_for(stopped, agent)
    with Discovery(settings) as discovery:
        assert len(discovery.snapshot().instances) == 4
        assert discovery._service.agents.current.address == agent.url
