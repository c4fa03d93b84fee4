"""Consul's session directory: leases that are used, idle, lost, and left."""

import time
from functools import partial

import httpx
import pytest

from kato_consul._directory.consul_lease import LENGTH
from kato_consul._directory.directory import LeaseLost
from kato_consul._directory.lease import boottime
from kato_consul.testing import ConsulAgent, FaultProxy
from tests.directory.clients import WITHIN, DirectoryClient, Shell
from tests.directory.conftest import NewClient
from tests.directory.stored import keys
from tests.testing.waiting import eventually

BOTH = pytest.mark.parametrize("shell", ["sync", "async"])


@BOTH
def test_a_consul_session_that_was_destroyed_loses_the_lease(
    agent: ConsulAgent,
    service: str,
    new_client: NewClient,
    shell: Shell,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All that it owned is lost at the next confirmation. The process goes on with another one,
    after the lock-delay."""
    one = new_client(shell=shell)
    held, _ = one.acquire("user-1")
    registered = one.directory._lease.current
    assert registered is not None
    httpx.put(f"{agent.url}/v1/session/destroy/{registered.session}", trust_env=False)
    assert not one.confirm()
    assert held.lease.lost
    assert not held.lease.is_valid()
    assert eventually(lambda: "directory.lease_lost" in caplog.text)
    with pytest.raises(LeaseLost):
        one.write(held)
    again, before = one.acquire("user-1")
    assert before == held.entry
    assert again.lease is not held.lease
    assert again.lease.is_valid()
    assert one.confirm()


def test_a_lease_is_counted_from_before_the_request(
    agent: ConsulAgent, new_client: NewClient
) -> None:
    """Not from its answer: Consul may have found the session at any moment in between."""
    arrived = [0.0]

    def note(method: str, path: str) -> None:
        if path.startswith(("/v1/txn", "/v1/session/")):
            arrived.append(boottime())

    with FaultProxy(agent.url, plan=note) as proxy:
        one = new_client(proxy.url)
        lease = one.run(one.directory._lease.registered(time.monotonic() + WITHIN)).lease
        assert 0.0 < lease.end <= arrived[-1] + LENGTH
        held, _ = one.acquire("user-1")
        assert held.lease is lease
        assert lease.end <= arrived[-1] + LENGTH
        for call in (one.confirm, partial(one.write, held), partial(one.release, held)):
            call()
            assert lease.end <= arrived[-1] + LENGTH


def test_a_lost_session_shows_at_the_next_write(agent: ConsulAgent, new_client: NewClient) -> None:
    """Without a confirmation, too."""
    one = new_client()
    held, _ = one.acquire("user-1")
    registered = one.directory._lease.current
    assert registered is not None
    httpx.put(f"{agent.url}/v1/session/destroy/{registered.session}", trust_env=False)
    with pytest.raises(LeaseLost):
        one.write(held)
    held, _ = one.acquire("user-1")
    one.write(held)


@pytest.mark.parametrize("owned", [False, True])
def test_a_lost_session_shows_when_another_one_is_acquired(
    agent: ConsulAgent, new_client: NewClient, owned: bool
) -> None:
    """Also when it can only join the queue. All that it owned is lost."""
    one, two = new_client(), new_client()
    lost, _ = one.acquire("user-1")
    held = two.acquire("user-2")[0] if owned else None
    registered = one.directory._lease.current
    assert registered is not None
    httpx.put(f"{agent.url}/v1/session/destroy/{registered.session}", trust_env=False)
    acquiring = one.acquiring("user-2")
    if held is not None:
        assert eventually(lambda: "user-2" in two.directory.wanted.current)
        two.release(held)
    acquired, _ = acquiring.result(WITHIN)
    assert lost.lease.lost
    assert acquired.lease.is_valid() or one.confirm()
    one.write(acquired)


def test_a_service_that_was_deregistered_is_registered_again(
    agent: ConsulAgent, new_client: NewClient
) -> None:
    """The heartbeat finds out; the lease is lost, and another one begins."""
    one = new_client()
    held, _ = one.acquire("user-1")
    agent.cli("services", "deregister", f"-id=kato-consul-owner-{one.directory.nonce}")
    assert eventually(lambda: held.lease.lost)
    held, _ = one.acquire("user-1")
    assert one.confirm()
    other = new_client()
    waiting = other.acquiring("user-1")
    assert eventually(lambda: "user-1" in one.directory.wanted.current)
    one.release(held)
    waiting.result(WITHIN)


def test_no_other_process_acquires_before_the_end_of_the_lease(
    agent: ConsulAgent, new_client: NewClient
) -> None:
    """Each time an owner's Consul session ends, the next owner comes after the end of the lease."""
    two = new_client()
    two.release(two.acquire("user-2")[0])
    for _ in range(3):
        one = new_client()
        held, _ = one.acquire("user-1")
        waiting = two.acquiring("user-1")
        assert eventually(partial(_rings, one))
        assert one.confirm()
        end = held.lease.end
        registered = one.directory._lease.current
        assert registered is not None
        httpx.put(f"{agent.url}/v1/session/destroy/{registered.session}", trust_env=False)
        taken, _ = waiting.result(WITHIN)
        assert taken.acquired_at > end
        two.release(taken)


def _rings(client: DirectoryClient) -> bool:
    return "user-1" in client.directory.wanted.current


def test_a_used_lease_is_confirmed_and_an_idle_one_ends(new_client: NewClient) -> None:
    """While it is used the lease is extended. Without use it ends, until the next call confirms
    it."""
    client = new_client()
    lease = client.acquire("user-1")[0].lease

    def extended(seen: list[float]) -> bool:
        lease.used = True
        if not lease.is_valid():  # this machine was too busy
            client.confirm()
            seen.append(lease.end)
        return lease.end > seen[-1]

    for _ in range(3):
        for _ in range(3):
            assert eventually(partial(extended, [lease.end]))
        lease.used = False
        assert eventually(lambda: not lease.is_valid())
        assert not lease.lost
        assert client.confirm()
        assert lease.is_valid()


def test_leaving_frees_everything(agent: ConsulAgent, service: str, new_client: NewClient) -> None:
    """A client that leaves has no service and no message any more; what it owned can be acquired.
    The second time nothing happens."""
    one, two = new_client(), new_client()
    held, _ = one.acquire("user-1")
    waiting = two.acquiring("user-1")
    assert eventually(lambda: "user-1" in one.directory.wanted.current)
    one.leave()
    assert not held.lease.is_valid()
    _, before = waiting.result(WITHIN)
    assert before == held.entry
    assert not [name for name in keys(agent, service) if one.directory.nonce in name]
    assert one.directory.nonce not in agent.cli("catalog", "services", "-tags")
    answer = httpx.get(f"{agent.url}/v1/agent/services", trust_env=False).json()
    assert f"kato-consul-owner-{one.directory.nonce}" not in answer
    one.leave()
    assert not one.confirm()
