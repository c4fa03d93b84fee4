"""Filters, prepared queries and how sure an answer is, as a real Consul understands them."""

from typing import Any

import pytest

from kato_consul import ConsulRejected, Discovery, Health
from kato_consul.testing import ConsulAgent
from tests.discovery.agents import at, critical, found, http, put, sees, take_out
from tests.testing.waiting import eventually

AWKWARD = 'say "hi" \\ to eu-1'


@pytest.fixture(scope="module", autouse=True)
def services(agent: ConsulAgent) -> None:
    """Four instances that differ."""
    put(agent, "kato", 1, Tags=["v3", "blue"], Meta={"zone": "eu-1", "my-key": AWKWARD})
    put(agent, "kato", 2, Tags=["v3"], Meta={"zone": "eu-2"})
    put(agent, "kato", 3, Tags=["v4"])
    critical(agent, "kato", 4)
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
        ({"query": "nearest"}, [1, 2, 3]),  # a prepared query gives no critical ones
        ({"query": "nearest", "agent_cache": True}, [1, 2, 3]),
        ({"query": "nearest", "datacenter": "dc1"}, [1, 2, 3]),
        ({"query": "no such"}, None),
        ({"datacenter": "dc1"}, [1, 2, 3, 4]),
    ],
)
def test_found(agent: ConsulAgent, given: dict[str, Any], numbers: list[int] | None) -> None:
    """Each setting finds what it says; what Consul cannot make sense of is an error of the caller's
    with Consul's words."""
    settings = at(agent, **given)
    if numbers is None:
        with Discovery(settings) as discovery:
            assert eventually(lambda: discovery.last_error is not None)
            with pytest.raises(ConsulRejected, match=r"[Qq]uery|bool"):
                discovery.snapshot(0.0)
    else:
        assert found(settings) == [f"kato-{number}" for number in numbers]


def test_zone(agent: ConsulAgent) -> None:
    """The zone is what the metadata says; without a word it is empty."""
    with Discovery(at(agent)) as discovery:
        assert [one.zone for one in discovery.snapshot().instances] == ["eu-1", "eu-2", "", ""]


def test_query_is_polled(agent: ConsulAgent) -> None:
    """A prepared query cannot block: it is executed now and then, and changes are seen."""
    with Discovery(at(agent, query="nearest", query_interval=0.1)) as discovery:
        assert sees(discovery, "kato-1", "kato-2", "kato-3")
        put(agent, "kato", 5)
        assert sees(discovery, "kato-1", "kato-2", "kato-3", "kato-5")
        take_out(agent, "kato", 5)
        assert sees(discovery, "kato-1", "kato-2", "kato-3")


@pytest.mark.parametrize(
    "given", [{"consistency": "stale"}, {"consistency": "consistent"}, {"agent_cache": True}]
)
def test_changes_are_seen(agent: ConsulAgent, given: dict[str, Any]) -> None:
    """However sure the answers are, changes come, and so does the end of the last instance."""
    name = f"kato-{'-'.join(map(str, given.values()))}".lower()
    put(agent, name, 1)
    with Discovery(at(agent, service=name, **given)) as discovery:
        assert sees(discovery, f"{name}-1")
        critical(agent, name, 1)
        assert eventually(
            lambda: (
                discovery.current is not None
                and discovery.current.instances[0].health is Health.CRITICAL
            )
        )
        take_out(agent, name, 1)
        assert sees(discovery)
        assert discovery.current is not None


def test_a_dead_agent_among_others(agent: ConsulAgent) -> None:
    """Where one agent does not answer, another of the list is asked."""
    with ConsulAgent() as gone:
        settings = at(gone, agent)
    with Discovery(settings) as discovery:
        assert len(discovery.snapshot().instances) == 4
        assert discovery._service.agents.current.address == agent.url
