"""The directory restarted with and without its data, wiped, or replaced by a replica."""

from collections.abc import Iterator

import pytest

from kato_consul.errors import SessionConflict
from kato_consul.testing import ConsulAgent, ConsulCluster
from kato_consul.testing.redis import RedisServer
from tests.shared_sessions.callers import Callers, has_lost, other, owns, unavailable
from tests.shared_sessions.clients import SHELLS, WITHIN, Shell
from tests.shared_sessions.site import Deployment, Kind, Site
from tests.testing.waiting import eventually


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> Shell:
    """Each shell, as that of the first client."""
    shell: Shell = request.param
    return shell


def test_wiped_and_the_owner_goes_on(site: Site, shell: Shell) -> None:
    """All entries are deleted. An owner writes its own again, and others continue from that."""
    one = site.client(shell).session("user-1")
    two = site.client(other(shell)).session("user-1")
    one.observe(["a"])
    one.observe(["b"])
    site.wipe()
    one.clear_stm()  # it is recorded in the entry
    one.observe(["c"])
    two.observe(["d"])
    assert (two.symbols(), two.id) == (["c", "d"], one.id)
    assert one.symbols() == ["c", "d"]


def test_wiped_and_another_process_opens_a_session(site: Site, shell: Shell) -> None:
    """Another process finds no entry, and opens another session. The owner is told, with both ids,
    as soon as it acquires the session again, and goes on in the other one."""
    one = site.client(shell).session("user-1")
    two = site.client(other(shell)).session("user-1")
    one.observe(["a"])
    left = one.id
    site.wipe()
    two.observe(["b"])
    assert two.id != left
    with pytest.raises(SessionConflict) as caught:
        one.clear_stm()
    conflict = caught.value
    assert conflict.session_id == left
    assert str(two.id) in str(conflict)
    assert str(left) in str(conflict)
    assert "directory has lost" in str(conflict)
    assert conflict.call_applied is False
    one.observe(["c"])
    assert (one.id, one.symbols()) == (two.id, ["b", "c"])
    assert site.stored_symbols(left) == ["a"]


def test_wiped_and_the_owner_only_observes(site: Site, shell: Shell) -> None:
    """An owner finds out without writing to its entry: it must not go on in a session that others
    do not read."""
    one = site.client(shell).session("user-1")
    two = site.client(other(shell)).session("user-1")
    one.observe(["a"])
    site.wipe()
    two.observe(["b"])
    assert eventually(lambda: has_lost(one))
    with pytest.raises(SessionConflict, match="directory has lost"):
        one.observe(["c"])
    one.observe(["c"])
    assert two.symbols() == ["b", "c"]


def test_restarted_without_its_data(deployment: Deployment, kind: Kind, shell: Shell) -> None:
    """An owner goes on with its own memory, and writes its entry again."""
    server = ConsulAgent() if kind == "consul" else RedisServer()
    with server:
        site = Site(deployment, kind, port_of(server))
        try:
            one = site.client(shell).session("user-1")
            two = site.client(other(shell)).session("user-1")
            one.observe(["a"])
            server.restart()
            if kind == "consul":
                site.register()
            assert eventually(lambda: not owns(one))  # Redis is back before the lease has ended
            one.observe(["b"])
            two.observe(["c"])
            assert (two.symbols(), two.id) == (["a", "b", "c"], one.id)
            assert one.symbols() == ["a", "b", "c"]
        finally:
            site.close()


def test_redis_restarted_with_its_data(deployment: Deployment, shell: Shell) -> None:
    """Leases end with the server; callers go on, and each event is there once."""
    with RedisServer(persistent=True) as server:
        site = Site(deployment, "redis", server.port)
        try:
            sessions = [site.client(one).session("user-1") for one in (shell, other(shell))]
            callers = Callers(*sessions)
            assert callers.progress()
            server.restart()
            assert callers.progress()
            callers.finish(site)
        finally:
            site.close()


def test_redis_fails_over_to_a_replica(deployment: Deployment, shell: Shell) -> None:
    """The master is killed and the replica promoted. Callers go on; each event is there once."""
    with RedisServer() as master, RedisServer(replica_of=master) as replica:
        site = Site(deployment, "redis", master.port)
        try:
            sessions = [site.client(one).session("user-1") for one in (shell, other(shell))]
            callers = Callers(*sessions)
            assert callers.progress()
            master.kill()
            replica.promote()
            for link in site.links:
                link.target = replica.port
                link.cut_all()
            assert callers.progress()
            callers.finish(site)
        finally:
            site.close()


@pytest.fixture
def cluster() -> Iterator[ConsulCluster]:
    """Three servers and one client agent."""
    with ConsulCluster(3, 1) as running:
        yield running


def test_consul_without_a_leader(
    deployment: Deployment, cluster: ConsulCluster, shell: Shell
) -> None:
    """Calls end as not sent while there is no leader; callers with more time go on after it."""
    (agent,) = cluster.clients
    site = Site(deployment, "consul", port_of(agent))
    try:
        one = site.client(shell, deadline=3.0).session("user-1")
        two = site.client(other(shell), deadline=3.0).session("user-1")
        patient = site.client(shell, deadline=WITHIN).session("user-1")
        one.observe(["a"])
        stopped = cluster.servers[:2]
        for server in stopped:
            server.kill()
        assert eventually(lambda: not owns(one))
        for session in (one, two):
            unavailable(site, session, 3.0)
        waiting = patient.start("observe", ["b"])
        cluster.bring_up(stopped)
        waiting.result(WITHIN)
        callers = Callers(patient)
        assert callers.progress()
        assert patient.symbols()[:2] == ["a", "b"]
        callers.stop()
    finally:
        site.close()


def port_of(server: ConsulAgent | RedisServer) -> int:
    """Return the port of a server."""
    if isinstance(server, RedisServer):
        return server.port
    return int(server.http_addr.rpartition(":")[2])
