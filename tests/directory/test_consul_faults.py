"""Consul's session directory while something fails: answers, agents, servers, processes."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from kato_consul._directory.consul_directory import ConsulDirectory
from kato_consul._directory.directory import LeaseLost
from kato_consul.errors import (
    ConsulUnreachable,
    SessionDirectoryUnavailable,
    SessionOwnedElsewhere,
)
from kato_consul.settings import Settings
from kato_consul.testing import ConsulAgent, FaultProxy, ManualClock
from kato_consul.testing.fault_plan import Fault, Plan, every, no_fault
from kato_consul.testing.ports import free_ports
from kato_consul.testing.processes import ChildProcess
from tests.directory.clients import WITHIN, DirectoryClient
from tests.directory.conftest import NewClient
from tests.directory.stored import waiters
from tests.testing.waiting import eventually

ROOT = Path(__file__).parents[2]


def is_transaction(method: str, path: str) -> bool:
    """Return whether a request is a transaction."""
    return path == "/v1/txn"


def next_transaction(*faults: Fault) -> Plan:
    """Return the plan that hits the next transactions with one fault each."""
    left = list(faults)

    def plan(method: str, path: str) -> Fault | None:
        return left.pop(0) if left and is_transaction(method, path) else None

    return plan


@pytest.fixture
def proxy(agent: ConsulAgent) -> Iterator[FaultProxy]:
    """A proxy in front of the agent, without faults."""
    with FaultProxy(agent.url) as running:
        yield running


LOST_ANSWERS = [
    (Fault.CUT_APPLIED,),
    (Fault.HALF_ANSWER,),
    (Fault.CUT_REQUEST,),
    (Fault.STATUS_502_APPLIED,),
    (Fault.STATUS_504,),
    (Fault.CUT_APPLIED, Fault.CUT_APPLIED, Fault.STATUS_502),
]


@pytest.mark.parametrize("faults", LOST_ANSWERS, ids=lambda faults: "+".join(faults))
def test_a_lost_answer_changes_nothing(
    agent: ConsulAgent, proxy: FaultProxy, new_client: NewClient, faults: tuple[Fault, ...]
) -> None:
    """Whether a transaction was carried out or not: each call has its effect once."""
    one, two = new_client(proxy.url), new_client()
    one.release(one.acquire("user-1")[0])  # it is registered, and listens
    assert eventually(lambda: proxy.requests > 6)

    proxy.plan = next_transaction(*faults)
    held, before = one.acquire("user-2")
    assert before is None
    assert held.entry.epoch == 1

    proxy.plan = next_transaction(*faults)
    one.write(held, id="kato-1")
    assert two.entry("user-2") == held.entry
    one.write(held, id="kato-2")

    proxy.plan = next_transaction(*faults)
    one.release(held, time=3)
    assert two.entry("user-2") == held.entry
    held_by_two, before = two.acquire("user-2")
    assert before == held.entry

    proxy.plan = no_fault
    waiting = one.acquiring("user-2")
    assert eventually(lambda: "user-2" in two.directory.wanted.current)
    proxy.plan = next_transaction(*faults)
    two.release(held_by_two)
    held, before = waiting.result(WITHIN)
    assert before == held_by_two.entry
    assert not held.wanted


def test_a_release_is_repeated_after_the_next_owner_has_it(
    proxy: FaultProxy, new_client: NewClient
) -> None:
    """A release was carried out, and its answer was lost. Repeated when the next owner has the
    session, it raises `LeaseLost`, and changes nothing."""
    one, two = new_client(proxy.url), new_client()
    held, _ = one.acquire("user-1")
    waiting = two.acquiring("user-1")
    assert eventually(lambda: "user-1" in one.directory.wanted.current)
    proxy.plan = next_transaction(Fault.CUT_APPLIED, Fault.HANG)
    releasing = one.calls.submit(one.release, held)
    taken, before = waiting.result(WITHIN)
    assert before is not None
    assert before.released
    assert eventually(lambda: proxy.counts[Fault.HANG] == 1)
    proxy.release()
    with pytest.raises(LeaseLost):
        releasing.result(WITHIN)
    two.write(taken, id="kato-1")


def test_an_agent_that_hangs_ends_with_the_deadline(
    agent: ConsulAgent, proxy: FaultProxy, new_client: NewClient
) -> None:
    """Each call raises before its deadline plus one request; the lease ends meanwhile, and goes on
    when the agent answers again."""
    client = new_client(proxy.url)
    held, _ = client.acquire("user-1")
    proxy.plan = every(1, Fault.HANG, matching=lambda method, path: not path.endswith("pass"))
    for call in (
        lambda: client.acquire("user-2", within=0.5),
        lambda: client.write(held, within=0.5),
        lambda: client.confirm(within=0.5),
    ):
        with pytest.raises(SessionDirectoryUnavailable, match="no answer from Consul"):
            call()
    assert eventually(lambda: not held.lease.is_valid())
    assert not held.lease.lost
    proxy.plan = no_fault
    proxy.release()
    assert client.confirm() or held.lease.lost


def test_an_agent_that_is_not_there(new_client: NewClient) -> None:
    """The error names the agent, and what happened."""
    (port,) = free_ports(1)
    client = new_client(f"127.0.0.1:{port}")
    for call in (
        lambda: client.acquire("user-1", within=0.5),
        lambda: client.run(client.directory.entry("user-1", time.monotonic() + 0.5)),
    ):
        with pytest.raises(SessionDirectoryUnavailable, match="could not connect") as caught:
            call()
        assert caught.value.directory == f"Consul at 127.0.0.1:{port}"
        assert caught.value.sent is False
    assert not client.confirm(within=0.5)
    client.leave()


def test_attempt_that_the_deadline_cuts_short_hides_no_reason() -> None:
    """The error has the reason of the attempt before: the last one had no time to find it."""
    calls = ConsulDirectory(Settings(trust_env=False), "here:1")._calls
    calls.clock = clock = ManualClock()
    attempts = calls.attempts(clock() + 1.0)
    assert list(attempts.after(ConsulUnreachable("consul:8500", "could not connect (refused)")))
    clock.advance(1.0)
    with pytest.raises(SessionDirectoryUnavailable, match=r"could not connect \(refused\)"):
        list(attempts.after(ConsulUnreachable("consul:8500", "no answer in time (TimeoutError)")))


def owner_process(agent: ConsulAgent, service: str, folder: Path, *keys: str) -> ChildProcess:
    """Return a process that acquires sessions and keeps them."""
    argv = [sys.executable, "-m", "tests.directory.owner_process", agent.http_addr, service, *keys]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return ChildProcess(argv, name="the owner", log=folder / "owner.log", env=env)


@pytest.mark.parametrize("end", [ChildProcess.kill, ChildProcess.freeze])
def test_an_owner_that_dies_or_stops_is_replaced(
    agent: ConsulAgent,
    service: str,
    new_client: NewClient,
    tmp_path: Path,
    end: Callable[[ChildProcess], None],
) -> None:
    """Waiters get its sessions, and their entries say that they were not released. A client that
    comes later gets one, too."""
    one, two = new_client(), new_client()
    with owner_process(agent, service, tmp_path, "user-1", "user-2") as process:
        assert eventually(lambda: "owns" in process.log_tail() or not process.running)
        waiting = one.acquiring("user-1")
        assert eventually(lambda: len(waiters(agent, service, "user-1")) == 1)
        second = two.acquiring("user-1")
        assert eventually(lambda: len(waiters(agent, service, "user-1")) == 2)
        end(process)
        held, before = waiting.result(WITHIN)
        assert before is not None
        assert not before.released
        assert (before.epoch, held.entry.epoch) == (1, 2)
        assert one.acquire("user-2")[0].entry.epoch == 2
        one.release(held)
        assert second.result(WITHIN)[0].entry.epoch == 3


def test_a_waiter_that_dies_is_passed_over(
    agent: ConsulAgent, service: str, new_client: NewClient, tmp_path: Path
) -> None:
    """The waiters after it do not wait for it."""
    one, two = new_client(), new_client()
    held, _ = one.acquire("user-1")
    with owner_process(agent, service, tmp_path, "user-1") as process:
        assert eventually(lambda: "user-1" in one.directory.wanted.current)
        waiting = two.acquiring("user-1")
        process.kill()
        one.release(held)
        assert waiting.result(WITHIN)[0].entry.epoch == 2


def test_an_agent_that_restarts_has_lost_everything(service: str) -> None:
    """An agent in dev mode keeps nothing: the lease is lost, and the session begins anew."""
    with ConsulAgent() as agent, DirectoryClient(agent.http_addr, service) as one:
        held, _ = one.acquire("user-1")
        agent.restart()
        assert eventually(lambda: held.lease.lost)
        with pytest.raises(LeaseLost):
            one.write(held)
        held, before = one.acquire("user-1")
        assert before is None
        with DirectoryClient(agent.http_addr, service) as two:
            waiting = two.acquiring("user-1")
            assert eventually(lambda: "user-1" in one.directory.wanted.current)
            one.release(held)
            assert waiting.result(WITHIN)[1] == held.entry


def test_owned_elsewhere_while_the_lock_delay_runs(
    agent: ConsulAgent, new_client: NewClient
) -> None:
    """A deadline within the lock-delay: the error names the last owner."""
    one, two = new_client(), new_client()
    held, _ = one.acquire("user-1")
    two.release(two.acquire("user-2")[0])
    registered = one.directory._lease.current
    assert registered is not None
    httpx.put(f"{agent.url}/v1/session/destroy/{registered.session}", trust_env=False)
    with pytest.raises(SessionOwnedElsewhere) as caught:
        two.acquire("user-1", within=0.3)
    assert caught.value.owner == held.entry.owner_label
