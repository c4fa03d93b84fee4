"""Consul's session directory: what happens between a read and its transaction, and transactions
that arrive late, after others."""

import time
from collections.abc import Callable
from typing import TypeVar

from kato_consul._directory.directory import Held
from kato_consul._flow import Flow, Outcome, Send
from kato_consul._sync.driver import Driver
from tests.directory.clients import WITHIN, DirectoryClient, changed
from tests.directory.conftest import NewClient

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
