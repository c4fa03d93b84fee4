"""Failures of a real cluster: three servers, two client agents, three instances, continuous calls.

Each test asserts that no call fails, sync or async, that each session reads back as it was written,
and that at the end the clients have Consul's snapshot.
"""

import time
from collections.abc import Iterator

import pytest

from kato_consul.testing import ConsulCluster
from tests.discovery.site import Site
from tests.testing.waiting import eventually

ALL = ("kato-1", "kato-2", "kato-3")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all tests: each restores it."""
    with ConsulCluster() as cluster, Site(cluster, tmp_path_factory.mktemp("site")) as made:
        made.wait_until_usable(*ALL)
        made.assert_calls_succeed()
        yield made


def test_calls_succeed_while_the_leader_is_killed(site: Site) -> None:
    """The leader is killed and another one elected: calls succeed before, during and after."""
    leader = site.cluster.leader()
    since = time.monotonic()
    leader.kill()
    site.assert_calls_succeed()
    assert site.cluster.leader() is not leader
    site.wait_until_confirmed(since)
    site.assert_calls_succeed()
    site.cluster.bring_up([leader])
    site.wait_until_usable(*ALL)


def test_calls_succeed_while_an_agent_restarts(site: Site) -> None:
    """The agent in use leaves with its two instances, and returns: another agent is used
    meanwhile."""
    agent = site.watcher._service.agents.current
    (restarted,) = (one for one in site.cluster.clients if one.url == agent.address)
    since = time.monotonic()
    restarted.restart()
    site.assert_calls_succeed()
    assert eventually(lambda: site.watcher._service.agents.current is not agent)
    site.wait_until_confirmed(since)
    site.wait_until_usable(*ALL)
    site.assert_calls_succeed()


def test_instances_of_a_wiped_agent_are_registered_again(site: Site) -> None:
    """An agent loses its data directory and all registrations: the registrar restores them."""
    wiped = site.cluster.clients[0]
    wiped.wipe()
    site.assert_calls_succeed()
    wiped.start()
    site.assert_calls_succeed()
    site.wait_until_usable(*ALL)


def test_calls_succeed_without_any_server(site: Site) -> None:
    """All servers are down for longer than any request is held: calls use the last good snapshot,
    whose age grows. After their return Consul's snapshot is used."""
    for server in site.cluster.servers:
        server.kill()
    assert eventually(lambda: site.watcher.last_error is not None, within=60.0)
    assert eventually(lambda: (site.watcher.age or 0.0) > 10.0, within=60.0)
    site.wait_until_usable(*ALL)
    site.assert_calls_succeed()
    since = time.monotonic()
    site.cluster.bring_up(site.cluster.servers)
    site.wait_until_confirmed(since)
    site.assert_calls_succeed()
    site.cluster.clients[1].cli("maint", "-enable", "-service=kato-3")
    site.wait_until_usable("kato-1", "kato-2")
    site.assert_calls_succeed()
