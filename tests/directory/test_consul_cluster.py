"""Consul's session directory on a cluster: without its leader, any leader, or an agent."""

import contextlib
from collections.abc import Iterator

import pytest

from kato_consul._directory.directory import LeaseLost
from kato_consul.errors import SessionDirectoryUnavailable
from kato_consul.testing import ConsulCluster
from tests.directory.clients import WITHIN, DirectoryClient
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def cluster() -> Iterator[ConsulCluster]:
    """Three servers and two client agents."""
    with ConsulCluster() as running:
        yield running


@pytest.fixture
def in_cluster(cluster: ConsulCluster, service: str) -> Iterator[list[DirectoryClient]]:
    """A client of each client agent; the other agent is its second one."""
    first, second = (agent.http_addr for agent in cluster.clients)
    with (
        DirectoryClient(f"{first},{second}", service) as one,
        DirectoryClient(f"{second},{first}", service) as two,
    ):
        yield [one, two]


def test_sessions_go_on_with_another_leader(
    cluster: ConsulCluster, in_cluster: list[DirectoryClient]
) -> None:
    """The leader is killed: what was owned is owned after the election, by the same process."""
    one, two = in_cluster
    held, _ = one.acquire("user-1")
    waiting = two.acquiring("user-1")
    assert eventually(lambda: "user-1" in one.directory.wanted.current)
    leader = cluster.leader()
    leader.kill()
    assert one.confirm()
    one.write(held, id="kato-1")
    one.release(held)
    assert waiting.result(WITHIN)[1] == held.entry
    cluster.bring_up([leader])


def test_a_cluster_without_a_leader(
    cluster: ConsulCluster, in_cluster: list[DirectoryClient]
) -> None:
    """Calls end at their deadline and say why. With the next leader the owner goes on, if its lease
    has not ended; another one gets the session after it."""
    one, two = in_cluster
    held, _ = one.acquire("user-1")
    two.release(two.acquire("user-2")[0])
    stopped = cluster.servers[:2]
    for server in stopped:
        server.kill()
    for call in (
        lambda: two.acquire("user-3", within=2.0),
        lambda: one.write(held, within=2.0),
        lambda: one.confirm(within=2.0),
    ):
        with pytest.raises(SessionDirectoryUnavailable, match=r"Consul at 127\.0\.0\.1:\d+"):
            call()
    assert not held.lease.is_valid()
    waiting = two.acquiring("user-1")
    cluster.bring_up(stopped)
    written = False
    # A server that just came back may take the client's agent for dead, which ends the lease.
    with contextlib.suppress(LeaseLost):
        one.write(held, id="kato-1")
        written = True
        one.release(held)
    _, before = waiting.result(WITHIN)
    assert before is not None
    assert (before.owner, before.epoch) == (held.entry.owner, held.entry.epoch)
    assert before.id == "kato-1" or not written


def test_an_agent_of_a_cluster_that_dies(
    cluster: ConsulCluster, in_cluster: list[DirectoryClient]
) -> None:
    """With its agent an owner loses its lease, though the process lives: Consul's failure detection
    ends it. The process goes on at the other agent."""
    one, two = in_cluster
    held, _ = one.acquire("user-1")
    agent = cluster.clients[0]
    agent.kill()
    taken, before = two.acquire("user-1")
    assert before == held.entry
    assert taken.acquired_at > held.lease.end
    two.release(taken)
    again, before = one.acquire("user-1")
    assert held.lease.lost
    assert before == taken.entry
    one.release(again)
    cluster.bring_up([agent])
