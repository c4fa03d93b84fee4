"""A directory that takes no new data: Redis out of memory, Consul with a limit on values."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kato_consul.errors import SessionDirectoryUnavailable
from kato_consul.testing import ConsulAgent
from kato_consul.testing.redis import RedisServer
from tests.directory.redis.owners import mark_settled
from tests.shared_sessions.callers import other, unavailable
from tests.shared_sessions.clients import SHELLS, Shell
from tests.shared_sessions.site import Deployment, Site


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> Shell:
    """Each shell, as that of the first client."""
    shell: Shell = request.param
    return shell


@contextmanager
def full_redis(deployment: Deployment) -> Iterator[tuple[Site, RedisServer]]:
    """Run a service on a Redis that a test fills."""
    with RedisServer(config={"maxmemory-policy": "noeviction"}, password="hidden") as server:
        site = Site(deployment, "redis", server.port)
        mark_settled(server, site.service)
        try:
            yield site, server
        finally:
            site.close()


def test_redis_is_full(deployment: Deployment, shell: Shell) -> None:
    """No session is opened, and the error says what to do. What is owned goes on, and is handed
    over; when there is memory again, all goes on."""
    with full_redis(deployment) as (site, server):
        one = site.client(shell, password="hidden")
        two = site.client(other(shell), password="hidden", deadline=3.0)
        owned = one.session("user-1")
        owned.observe(["a"])
        two.session("user-0").observe(["a"])
        server.command("CONFIG", "SET", "maxmemory", "1mb")
        owned.observe(["b"])
        error = unavailable(site, two.session("user-2"), 3.0)
        assert "it is full. Raise its maxmemory" in str(error)
        assert "hidden" not in f"{error} {error!r} {error.__cause__!r}"
        with pytest.raises(SessionDirectoryUnavailable, match="it is full") as caught:
            owned.clear_stm()  # it is recorded before it is sent
        assert caught.value.sent is False
        assert owned.symbols() == ["a", "b"]
        server.command("CONFIG", "SET", "maxmemory", "0")
        two.session("user-2").observe(["c"])
        two.session("user-1").observe(["c"])
        assert owned.symbols() == ["a", "b", "c"]


def test_consul_refuses_a_value(deployment: Deployment, shell: Shell) -> None:
    """Consul takes only values that are smaller than an entry with these observations. The session
    cannot be handed over, the error says why, and KATO has all of it. With ``journal="digest"`` the
    entry is small enough."""
    limits = {"limits": {"kv_max_value_size": 900}}
    large = [f"{number}-{'x' * 200}" for number in range(10)]
    with ConsulAgent(config=limits) as agent:
        site = Site(deployment, "consul", int(agent.http_addr.rpartition(":")[2]))
        try:
            one = site.client(shell).session("user-1")
            two = site.client(other(shell), deadline=8.0).session("user-1")
            for symbol in large:
                one.observe([symbol])
            error = unavailable(site, two, 8.0)
            assert "Value for key" in str(error)
            assert "is too large" in str(error)
            assert site.stored_symbols(one.id) == large

            one = site.client(shell, journal="digest").session("user-2")
            two = site.client(other(shell), journal="digest").session("user-2")
            for symbol in large:
                one.observe([symbol])
            two.observe(["last"])
            assert two.symbols() == [*large, "last"]
            assert two.facts.takeovers == 0
        finally:
            site.close()
