"""Consul's session directory: what cancelled calls and dropped sessions leave behind."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from kato_consul._directory.consul_keys import Keys
from kato_consul._directory.directory import LeaseLost
from kato_consul._flow import Flow
from kato_consul._sync.driver import Driver
from kato_consul.errors import SessionOwnedElsewhere
from kato_consul.testing import ConsulAgent
from tests.directory.clients import WITHIN, DirectoryClient, Shell
from tests.directory.conftest import NewClient
from tests.directory.stored import keys, waiters
from tests.testing.waiting import eventually

BOTH = pytest.mark.parametrize("shell", ["sync", "async"])


@BOTH
def test_a_wait_ends_at_its_deadline(
    agent: ConsulAgent, service: str, new_client: NewClient, shell: Shell
) -> None:
    """A waiter that gives up names the owner, leaves the queue, and holds up nobody."""
    one, two, three = (new_client(shell=shell) for _ in range(3))
    held, _ = one.acquire("user-1")
    with pytest.raises(SessionOwnedElsewhere, match="released before the deadline") as caught:
        two.acquire("user-1", within=0.5)
    assert caught.value.owner == held.entry.owner_label
    assert caught.value.sent is False
    assert eventually(lambda: waiters(agent, service, "user-1") == [])
    third = three.acquiring("user-1")
    assert eventually(lambda: "user-1" in one.directory.wanted.current)
    one.release(held)
    third.result(WITHIN)


def test_a_cancelled_wait_leaves_the_queue(
    agent: ConsulAgent, service: str, new_client: NewClient
) -> None:
    """A flow that is closed while it waits can send nothing more; its place is given up all the
    same."""
    one, two, three = (new_client() for _ in range(3))
    held, _ = one.acquire("user-1")
    flow = two.directory.acquire("user-1", time.monotonic() + WITHIN)
    until_it_waits(two, flow, lambda: len(waiters(agent, service, "user-1")) == 1)
    flow.close()
    third = three.acquiring("user-1")
    one.release(held)
    third.result(WITHIN)
    assert eventually(lambda: waiters(agent, service, "user-1") == [])


def until_it_waits(client: DirectoryClient, flow: Flow[Any], condition: Callable[[], bool]) -> None:
    """Carry out the steps of a flow one by one, until the condition holds before one."""
    driver = client.driver
    assert isinstance(driver, Driver)
    step = next(flow)
    while not condition():
        step = flow.send(driver._carry_out(step, driver._send))


def test_a_place_that_is_left_over_is_given_up(
    agent: ConsulAgent, service: str, new_client: NewClient
) -> None:
    """A request to join that arrives after its call was cancelled: the next waiter asks, and the
    place is given up."""
    one, two, three = (new_client() for _ in range(3))
    held, _ = one.acquire("user-1")
    two.release(two.acquire("user-2")[0])
    registered = two.directory._lease.current
    assert registered is not None
    late = Keys(service).place("user-1").waiter(two.directory.nonce, 1_000)
    agent.cli("kv", "put", "-acquire", f"-session={registered.session}", late, "late")
    third = three.acquiring("user-1")
    assert eventually(lambda: len(waiters(agent, service, "user-1")) == 2)
    one.release(held)
    third.result(WITHIN)


def test_a_lock_that_is_left_over_is_given_up(
    agent: ConsulAgent, service: str, new_client: NewClient
) -> None:
    """A transaction that locks an entry after its call was cancelled: a waiter asks, and the owner
    gives up what it does not know to own."""
    one, two = new_client(), new_client()
    held, _ = one.acquire("user-1")
    one.release(held)
    registered = one.directory._lease.current
    assert registered is not None
    path = Keys(service).place("user-1").entry
    late = held.entry.acquired_by(one.directory.nonce, held.entry.owner_label)
    agent.cli(
        "kv", "put", "-acquire", f"-session={registered.session}", path, late.encode().decode()
    )
    held, before = two.acquire("user-1")
    assert before == late
    assert held.entry.epoch == late.epoch + 1


def test_a_lock_that_is_left_over_is_acquired_again(
    agent: ConsulAgent, service: str, new_client: NewClient
) -> None:
    """The same process acquires it with the next epoch."""
    one = new_client()
    held, _ = one.acquire("user-1")
    again, before = one.acquire("user-1")
    assert before == held.entry
    assert again.entry.epoch == held.entry.epoch + 1
    with pytest.raises(LeaseLost):
        one.write(held)
    one.write(again)


def test_a_session_that_was_dropped_is_given_up(new_client: NewClient) -> None:
    """A process that has dropped what it owned, without a release, gives it up when another one
    asks: not before, since nothing is gained by it."""
    one, two = new_client(), new_client()
    held, _ = one.acquire("user-1")
    entry = held.entry
    del held
    assert two.acquire("user-1")[1] == entry


def test_what_a_process_does_not_know_of_is_disowned(
    agent: ConsulAgent, service: str, new_client: NewClient
) -> None:
    """A lock that is left over is given up, and its entry stays as it is. What the process knows to
    own stays its own."""
    one = new_client()
    held, _ = one.acquire("user-1")

    def disown() -> dict[str, Any]:
        one.run(one.directory.disown("user-1", time.monotonic() + WITHIN))
        return keys(agent, service)["sessions/user-1/entry"]

    assert "Session" in disown()
    one.write(held, id="kato-1")
    entry = held.entry
    del held
    assert "Session" not in disown()
    assert one.entry("user-1") == entry
    one.run(one.directory.disown("another", time.monotonic() + WITHIN))


def test_a_session_that_is_dropped_is_given_up_though_it_is_referred_to(
    new_client: NewClient,
) -> None:
    """Its owner does not act under it any more, but the traceback of an error may refer to it."""
    one, two = new_client(), new_client()
    held, _ = one.acquire("user-1")
    held.dropped = True
    taken, before = two.acquire("user-1")
    assert before == held.entry
    assert not before.released
    two.write(taken, id="kato-1")
