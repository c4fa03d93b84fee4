"""Bad days of a real cluster: three servers, two client agents, three instances, calls all along.

What is held of each of them: no call fails, sync or async, each session reads back as it was told,
and when it is over the clients see what Consul sees.
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
    """One for all: each test leaves it whole."""
    with ConsulCluster() as cluster, Site(cluster, tmp_path_factory.mktemp("site")) as made:
        made.sees(*ALL)
        made.carries_on()
        yield made


def test_leader_is_killed(site: Site) -> None:
    """The leader dies: the others elect, and calls go on before, while and after."""
    leader = site.cluster.leader()
    since = time.monotonic()
    leader.kill()
    site.carries_on()
    assert site.cluster.leader() is not leader
    site.confirmed(since)
    site.carries_on()
    site.cluster.bring_up([leader])
    site.sees(*ALL)


def test_agent_restarts(site: Site) -> None:
    """The agent that is asked takes its leave, its two instances with it, and comes back: another
    agent is asked meanwhile."""
    agent = site.watcher._service.agents.current
    (restarted,) = (one for one in site.cluster.clients if one.url == agent.address)
    since = time.monotonic()
    restarted.restart()
    site.carries_on()
    assert eventually(lambda: site.watcher._service.agents.current is not agent)
    site.confirmed(since)
    site.sees(*ALL)
    site.carries_on()


def test_agent_is_wiped(site: Site) -> None:
    """An agent loses its disk, and every registration with it: the registrar puts them back."""
    wiped = site.cluster.clients[0]
    wiped.wipe()
    site.carries_on()
    wiped.start()
    site.carries_on()
    site.sees(*ALL)


def test_all_servers_gone(site: Site) -> None:
    """All servers are gone, for longer than any request is held, and come back: calls go on with
    the last good snapshot, whose age shows; then Consul's word counts again."""
    for server in site.cluster.servers:
        server.kill()
    assert eventually(lambda: site.watcher.last_error is not None, within=60.0)
    assert eventually(lambda: (site.watcher.age or 0.0) > 10.0, within=60.0)
    site.sees(*ALL)
    site.carries_on()
    since = time.monotonic()
    site.cluster.bring_up(site.cluster.servers)
    site.confirmed(since)
    site.carries_on()
    site.cluster.clients[1].cli("maint", "-enable", "-service=kato-3")
    site.sees("kato-1", "kato-2")
    site.carries_on()
