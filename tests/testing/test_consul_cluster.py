"""`ConsulCluster`: it elects a leader, survives failures, and leaves nothing behind."""

import os
from collections.abc import Iterator

import httpx
import pytest

from kato_consul.testing.consul.cluster import ClusterAgent, ConsulCluster
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def cluster() -> Iterator[ConsulCluster]:
    """A small cluster: these tests do not need three servers."""
    with ConsulCluster(servers=1, clients=1) as running:
        yield running


def services(agent: ClusterAgent) -> list[str]:
    """Return the ids of the services that the agent itself has."""
    response = httpx.get(f"{agent.url}/v1/agent/services", trust_env=False)
    return list(response.raise_for_status().json())


def register(agent: ClusterAgent, name: str) -> None:
    """Register a service with the agent."""
    url = f"{agent.url}/v1/agent/service/register"
    httpx.put(url, json={"Name": name}, trust_env=False).raise_for_status()


def test_all_agents_are_members_and_the_server_leads(cluster: ConsulCluster) -> None:
    """All agents are members of one cluster, and the server is its leader."""
    (server,), (client,) = cluster.servers, cluster.clients
    assert cluster.leader() is server
    nodes = httpx.get(f"{client.url}/v1/catalog/nodes", trust_env=False).json()
    assert {node["Node"] for node in nodes} == {server.node, client.node}


def test_a_killed_agent_keeps_its_services_and_a_wiped_one_loses_them(
    cluster: ConsulCluster,
) -> None:
    """A killed agent has its services again after a start. A wiped agent has none, but can still
    use its name."""
    (client,) = cluster.clients
    register(client, "kept")
    client.kill()
    client.start()
    assert services(client) == ["kept"]
    client.wipe()
    assert not client.running
    client.start()
    assert services(client) == []
    register(client, "new")
    url = f"{cluster.servers[0].url}/v1/health/service/new"
    assert eventually(lambda: httpx.get(url, trust_env=False).json() != [])


def test_stop_leaves_no_process_and_no_folder() -> None:
    """After the stop there is no process and no folder."""
    with ConsulCluster(servers=1, clients=0) as running:
        pid, folder = running.servers[0].pid, running._folder.path
        assert folder.exists()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    running.stop()  # again: no effect
