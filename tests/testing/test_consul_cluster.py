"""A cluster of our own: it elects, survives what it is meant to survive, and leaves nothing."""

import os
from collections.abc import Iterator

import httpx
import pytest

from kato_consul.testing.consul.cluster import ClusterAgent, ConsulCluster
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def cluster() -> Iterator[ConsulCluster]:
    """A small one: what is shown here does not need three."""
    with ConsulCluster(servers=1, clients=1) as running:
        yield running


def services(agent: ClusterAgent) -> list[str]:
    """The ids of the services that the agent itself has."""
    answer = httpx.get(f"{agent.url}/v1/agent/services", trust_env=False)
    return list(answer.raise_for_status().json())


def put(agent: ClusterAgent, name: str) -> None:
    """Register a service with the agent."""
    url = f"{agent.url}/v1/agent/service/register"
    httpx.put(url, json={"Name": name}, trust_env=False).raise_for_status()


def test_members(cluster: ConsulCluster) -> None:
    """All are members of one cluster, and the server leads."""
    (server,), (client,) = cluster.servers, cluster.clients
    assert cluster.leader() is server
    answer = httpx.get(f"{client.url}/v1/catalog/nodes", trust_env=False).json()
    assert {one["Node"] for one in answer} == {server.node, client.node}


def test_what_an_agent_keeps(cluster: ConsulCluster) -> None:
    """An agent that was killed has its services again; one that was wiped has not, and comes back
    under its name all the same."""
    (client,) = cluster.clients
    put(client, "kept")
    client.kill()
    client.start()
    assert services(client) == ["kept"]
    client.wipe()
    assert not client.running
    client.start()
    assert services(client) == []
    put(client, "new")
    url = f"{cluster.servers[0].url}/v1/health/service/new"
    assert eventually(lambda: httpx.get(url, trust_env=False).json() != [])


def test_nothing_is_left() -> None:
    """When it is stopped there is no process and no folder."""
    with ConsulCluster(servers=1, clients=0) as running:
        pid, folder = running.servers[0].pid, running._folder.path
        assert folder.exists()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    running.stop()  # a second time: nothing happens
