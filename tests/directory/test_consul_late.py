"""Consul's session directory: what happens between a read and its transaction, and transactions
that arrive late, after others."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from kato_consul._directory.consul_keys import Keys
from kato_consul._directory.consul_lease import LENGTH
from kato_consul._directory.directory import Held
from kato_consul._flow import Flow, Outcome, Send
from kato_consul._sync.driver import Driver
from kato_consul.testing import ConsulAgent
from tests.building import cut
from tests.directory.clients import WITHIN, DirectoryClient, changed
from tests.directory.conftest import NewClient
from tests.directory.stored import waiters
from tests.testing.waiting import eventually

T = TypeVar("T")


def run(client: DirectoryClient, flow: Flow[T], before: Callable[[Send], None]) -> T:
    """Run a flow to its end, and call ``before`` with each transaction before it is sent."""
    driver = client.driver
    assert isinstance(driver, Driver)

    def send(step: Send) -> Outcome:
        if step.target.startswith("/v1/txn"):
            before(step)
        return driver._send(step)

    return driver.run(flow, send)


def deadline() -> float:
    """Return the deadline of a call that begins now."""
    return time.monotonic() + WITHIN


def test_an_entry_that_changes_before_it_is_acquired(new_client: NewClient) -> None:
    """It was free when it was read, and was acquired, written and released since."""
    one, two = new_client(), new_client()
    two.release(two.acquire("user-1")[0])
    released: list[Held] = []

    def meanwhile(_: Send) -> None:
        if not released:
            held, _before = two.acquire("user-1")
            two.write(held, id="kato-1")
            two.release(held, time=3)
            released.append(held)

    held, before = run(one, one.directory.acquire("user-1", deadline()), meanwhile)
    assert before == released[0].entry
    assert (before.id, before.time, held.entry.epoch) == ("kato-1", 3, 3)
    assert not held.waited


def test_an_answer_that_comes_when_the_lease_has_ended(new_client: NewClient) -> None:
    """The transaction is answered late: the lease is confirmed before the session is used."""
    one = new_client()
    one.release(one.acquire("user-1")[0])
    driver = one.driver
    assert isinstance(driver, Driver)
    sent: list[str] = []

    def send(step: Send) -> Outcome:
        sent.append(step.target)
        outcome = driver._send(step)
        if step.target.startswith("/v1/txn"):
            time.sleep(LENGTH)
        return outcome

    driver.run(one.directory.acquire("user-1", deadline()), send)
    assert sent[-2].startswith("/v1/txn")
    assert sent[-1].startswith("/v1/session/info/")


def test_an_acquisition_whose_answer_is_lost_with_the_consul_session(
    agent: ConsulAgent, new_client: NewClient
) -> None:
    """The entry is as it was sent, and nothing locks it any more: it is acquired anew."""
    one = new_client()
    one.release(one.acquire("user-1")[0])
    driver = one.driver
    registered = one.directory._lease.current
    assert isinstance(driver, Driver)
    assert registered is not None
    sent: list[Send] = []

    def send(step: Send) -> Outcome:
        outcome = driver._send(step)
        if step.target.startswith("/v1/txn"):
            sent.append(step)
            if len(sent) == 1:
                path = f"/v1/session/destroy/{registered.session}"
                httpx.put(f"{agent.url}{path}", trust_env=False)
                return cut()
        return outcome

    held, before = driver.run(one.directory.acquire("user-1", deadline()), send)
    assert before is not None
    assert (before.epoch, held.entry.epoch) == (2, 3)
    one.write(held, id="kato-1")


def test_a_waiter_of_the_lock_delay_is_in_the_queue(
    agent: ConsulAgent, new_client: NewClient
) -> None:
    """The owner's Consul session has ended. Those that ask later come later."""
    one, two = new_client(), new_client()
    one.acquire("user-1")
    two.release(two.acquire("user-2")[0])
    registered = one.directory._lease.current
    assert registered is not None
    httpx.put(f"{agent.url}/v1/session/destroy/{registered.session}", trust_env=False)
    sent: list[Send] = []
    held, _ = run(two, two.directory.acquire("user-1", deadline()), sent.append)
    assert held.waited is (len(sent) > 1)  # one is enough if this machine was too busy


def test_owner_is_told_in_the_transaction_that_joins_the_queue(
    service: str, new_client: NewClient
) -> None:
    """So no process waits unseen."""
    one, two = new_client(), new_client()
    held, _ = one.acquire("user-1")
    sent: list[Send] = []
    flow = two.directory.acquire("user-1", deadline())
    acquiring = two.calls.submit(run, two, flow, sent.append)
    assert eventually(lambda: "user-1" in one.directory.wanted.current)
    one.release(held)
    acquiring.result(WITHIN)
    keys = Keys(service)
    place = keys.place("user-1")
    joining = next(step for step in sent if place.waiters.encode() in step.body)
    assert keys.bell(one.directory.nonce, place).encode() in joining.body


def test_waiters_that_are_gone_are_removed(
    agent: ConsulAgent, service: str, new_client: NewClient
) -> None:
    """Their keys stay when their Consul sessions end: the next owner removes them."""
    place = Keys(service).place("user-1")
    agent.cli("kv", "put", place.waiter("gone", 1), "host:1")
    assert waiters(agent, service, "user-1")
    new_client().acquire("user-1")
    assert not waiters(agent, service, "user-1")


def test_transactions_that_arrive_late_change_nothing(new_client: NewClient) -> None:
    """Each is sent again when the same process has acquired the session anew."""
    one = new_client()
    driver = one.driver
    assert isinstance(driver, Driver)
    copies: list[Send] = []
    held, _ = run(one, one.directory.acquire("user-1", deadline()), copies.append)
    entry = changed(held, id="kato-1")
    run(one, one.directory.write(held, entry, deadline()), copies.append)
    entry = changed(held, released=True)
    run(one, one.directory.release(held, entry, deadline()), copies.append)
    assert len(copies) >= 3
    held, before = one.acquire("user-1")
    assert before == entry
    one.write(held, id="kato-2")
    for copy in copies:
        driver._send(copy)
        assert one.entry("user-1") == held.entry
    one.write(held, id="kato-3")
    (stored,) = one.entries()
    assert stored.owned
    assert stored.entry.id == "kato-3"
