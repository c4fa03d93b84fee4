"""Consul's session directory on a real agent: several clients, both drivers."""

import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

import msgspec
import pytest

from kato_consul._directory.blocking_slots import MAX_BLOCKING
from kato_consul._directory.consul_keys import Keys
from kato_consul._directory.directory import LeaseLost
from kato_consul._directory.entry import Entry
from kato_consul._flow import Outcome, Send
from kato_consul._sync.driver import Driver
from kato_consul.errors import SessionDirectoryUnavailable
from kato_consul.testing import ConsulAgent
from tests.directory.clients import WITHIN, DirectoryClient, Shell
from tests.directory.conftest import NewClient
from tests.directory.stored import keys, waiters
from tests.testing.waiting import eventually

BOTH = pytest.mark.parametrize("shell", ["sync", "async"])


@BOTH
def test_an_entry_is_acquired_written_and_released(
    agent: ConsulAgent, service: str, new_client: NewClient, shell: Shell
) -> None:
    """What one client writes, the next one finds, with the next epoch and revision."""
    one, two = new_client(shell=shell), new_client(shell=shell)
    held, before = one.acquire("user/1")
    assert before is None
    assert (held.entry.epoch, held.entry.revision, held.entry.released) == (1, 1, False)
    assert held.lease.is_valid()
    assert not held.wanted
    one.write(held, id="kato-1", time=3)
    assert one.entry("user/1") == held.entry
    one.release(held, time=4)
    assert one.entry("user/1") == held.entry

    held_by_two, before = two.acquire("user/1")
    assert before == held.entry
    assert before.released
    assert before.owner == one.directory.nonce
    assert held_by_two.entry == before.acquired_by(
        two.directory.nonce, held_by_two.entry.owner_label
    )
    assert held_by_two.entry.owner_label != before.owner_label
    with pytest.raises(LeaseLost):
        one.write(held, id="kato-2")
    two.release(held_by_two)
    assert one.acquire("user/1")[1] == held_by_two.entry


def test_entries_are_listed_by_key(new_client: NewClient) -> None:
    """`entries` has those of the service, in order, whatever their keys are: also more than Consul
    reads in one transaction, and which of them are owned."""
    client = new_client()
    names = ["b", "a/c", "..", ".", "ü", "x" * 300, "wait/entry", " ", *map(str, range(130))]
    held = {name: client.acquire(name)[0] for name in names}
    for name in names[::2]:
        client.release(held[name])
    found = client.entries()
    assert [one.entry.key for one in found] == sorted(names)
    assert {one.entry.key for one in found if one.owned} == set(names[1::2])
    assert all(client.entry(one.entry.key) == one.entry for one in found)
    assert client.entry("another") is None


def test_no_entries(new_client: NewClient) -> None:
    """A service without sessions has none, and this is no error."""
    client = new_client()
    assert client.entries() == []


def test_an_entry_that_is_changed_by_hand(
    agent: ConsulAgent, service: str, new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    """One that cannot be read is left out of the list, and logged; reading it says what to do."""
    client = new_client()
    client.release(client.acquire("good")[0])
    path = Keys(service).place("it's").entry
    agent.cli("kv", "put", path, "no JSON")
    assert [one.entry.key for one in client.entries()] == ["good"]
    assert "directory.entry_unusable" in caplog.text
    with pytest.raises(SessionDirectoryUnavailable) as caught:
        client.entry("it's")
    assert "delete it with: consul kv delete kato-consul/" in str(caught.value)


@BOTH
def test_an_owner_is_told_that_others_wait(
    agent: ConsulAgent, service: str, new_client: NewClient, shell: Shell
) -> None:
    """A waiter rings. A hand-over ends the wait, and the new owner knows of those after it."""
    one, two, three = (new_client(shell=shell) for _ in range(3))
    held, _ = one.acquire("user-1")
    second = two.acquiring("user-1")
    assert eventually(lambda: one.directory.wanted.current == {"user-1"})
    third = three.acquiring("user-1")
    assert eventually(lambda: len(waiters(agent, service, "user-1")) == 2)
    assert not second.done()
    one.release(held)
    held, before = second.result(WITHIN)
    assert before is not None
    assert before.released
    assert held.wanted
    assert not third.done()
    two.release(held)
    held, before = third.result(WITHIN)
    assert not held.wanted
    assert held.entry.epoch == 3
    assert eventually(lambda: not one.directory.wanted.current)
    assert waiters(agent, service, "user-1") == []


def test_a_waiter_does_not_poll(new_client: NewClient) -> None:
    """It reads the queue once, joins it, and then only blocks; the release is answered by the
    transaction that acquires the session."""
    one, two = new_client(), new_client()
    held, _ = one.acquire("user-1")
    two.release(two.acquire("user-2")[0])
    driver, sent = two.driver, list[str]()
    assert isinstance(driver, Driver)

    def send(step: Send) -> Outcome:
        sent.append(f"{step.method} {step.target}")
        return driver._send(step)

    flow = two.directory.acquire("user-1", time.monotonic() + WITHIN)
    waiting = two.calls.submit(driver.run, flow, send)
    assert eventually(lambda: "user-1" in one.directory.wanted.current)
    assert eventually(lambda: "index=" in sent[-1])
    one.release(held)
    assert waiting.result(WITHIN)[0].waited
    reads = [one for one in sent if one.startswith("GET")]
    assert "index=" not in reads[0]
    assert len(reads) > 1
    assert all("index=" in one for one in reads[1:])
    assert sent[-1] == "PUT /v1/txn"


def test_first_asked_first_served(agent: ConsulAgent, service: str, new_client: NewClient) -> None:
    """Ten clients get a session in the order in which they asked."""
    owner = new_client()
    held, _ = owner.acquire("user-1")
    order: list[int] = []

    def take(client: DirectoryClient, number: int) -> None:
        held, _ = client.acquire("user-1")
        order.append(number)
        client.release(held)

    threads = []
    for number in range(10):
        thread = threading.Thread(target=take, args=(new_client(), number))
        thread.start()
        threads.append(thread)
        assert eventually(partial(_waiting, agent, service, number + 1))
    owner.release(held)
    for thread in threads:
        thread.join(WITHIN)
    assert order == list(range(10))


def _waiting(agent: ConsulAgent, service: str, number: int) -> bool:
    return len(waiters(agent, service, "user-1")) == number


def test_more_waiters_than_connections(new_client: NewClient) -> None:
    """A client waits for 100 sessions with a limited number of blocking queries; each is handed
    over."""
    owner, other = new_client(), new_client()
    names = [f"user-{number}" for number in range(100)]
    held = {name: owner.acquire(name)[0] for name in names}
    waiting: dict[str, Future[Any]] = {name: other.acquiring(name) for name in names}
    assert eventually(lambda: owner.directory.wanted.current == frozenset(names))
    assert len(other.directory._slots._blocking) <= MAX_BLOCKING
    for name in reversed(names):
        owner.release(held[name])
    assert {name: one.result(WITHIN)[0].entry.epoch for name, one in waiting.items()} == (
        dict.fromkeys(names, 2)
    )
    assert eventually(lambda: not owner.directory.wanted.current)


def test_waiters_of_a_session_that_is_just_acquired_are_known(
    agent: ConsulAgent, service: str, new_client: NewClient
) -> None:
    """The next owner is told of those that waited before it had the session, without a bell."""
    one, two, three = (new_client() for _ in range(3))
    held, _ = one.acquire("user-1")
    second = two.acquiring("user-1")
    assert eventually(partial(_waiting, agent, service, 1))
    third = three.acquiring("user-1")
    assert eventually(partial(_waiting, agent, service, 2))
    one.release(held)
    assert not one.directory.wanted.current
    held, _ = second.result(WITHIN)
    assert held.waited
    assert two.directory.wanted.current == {"user-1"}
    two.release(held)
    assert not two.directory.wanted.current
    third.result(WITHIN)


def test_an_entry_that_was_deleted_by_hand_is_lost(
    agent: ConsulAgent, service: str, new_client: NewClient
) -> None:
    """The owner's next write raises `LeaseLost`; the session can be acquired anew."""
    one = new_client()
    held, _ = one.acquire("user-1")
    agent.cli("kv", "delete", Keys(service).place("user-1").entry)
    with pytest.raises(LeaseLost):
        one.write(held, id="kato-1")
    held, before = one.acquire("user-1")
    assert before is None
    one.write(held)


def test_an_entry_that_was_edited_by_hand_is_written(
    agent: ConsulAgent, service: str, new_client: NewClient
) -> None:
    """It is still locked by its owner, which writes it again."""
    one = new_client()
    held, _ = one.acquire("user-1")
    edited = msgspec.structs.replace(held.entry, id="by hand")
    agent.cli("kv", "put", Keys(service).place("user-1").entry, edited.encode().decode())
    one.write(held, id="kato-1")
    assert one.entry("user-1") == held.entry


def test_an_entry_that_cannot_be_read_is_an_error(
    agent: ConsulAgent, service: str, new_client: NewClient
) -> None:
    """The error names the key, and how to delete it."""
    path = Keys(service).place("user-1").entry
    agent.cli("kv", "put", path, "not JSON")
    client = new_client()
    with pytest.raises(SessionDirectoryUnavailable, match=f"consul kv delete {path}"):
        client.acquire("user-1")
    agent.cli("kv", "put", path, Entry(key="user-2").encode().decode())
    with pytest.raises(SessionDirectoryUnavailable, match="it is that of 'user-2'"):
        client.acquire("user-1")


def test_the_largest_entry_fits(new_client: NewClient) -> None:
    """An entry of 128 KiB can be written and read; Consul refuses a far larger one."""
    client = new_client()
    held, _ = client.acquire("user-1")
    client.write(held, digest="x" * (128 * 1024 - 200))
    assert client.entry("user-1") == held.entry
    with pytest.raises(SessionDirectoryUnavailable, match="too large"):
        client.write(held, digest="x" * 600_000)
    client.write(held, digest="")


def test_old_entries_are_removed(agent: ConsulAgent, service: str, new_client: NewClient) -> None:
    """Entries that have expired and are not owned are removed, and the messages of owners that are
    gone. Others stay."""
    one, gone = new_client(), new_client()
    past, future = time.time() - 1, time.time() + 3600
    for name, expires_at in (("old", past), ("new", future), ("without", 0.0)):
        one.release(one.acquire(name)[0], expires_at=expires_at)
    owned, _ = one.acquire("owned")
    one.write(owned, expires_at=past)
    gone.release(gone.acquire("new")[0], expires_at=future)
    registered = gone.directory._lease.current
    assert registered is not None
    nonces = one.directory.nonce, gone.directory.nonce
    assert eventually(lambda: all(f"owners/{one}/" in keys(agent, service) for one in nonces))
    one.run(one.directory._removal.remove())
    assert f"owners/{gone.directory.nonce}/" in keys(agent, service)
    gone.leave()
    for name in ("", "new"):
        agent.cli("kv", "put", f"{Keys(service).mailbox(gone.directory.nonce)}{name}", "x")
    one.run(one.directory._removal.remove())
    left = keys(agent, service)
    assert {name for name in left if name.endswith("/entry")} == {
        "sessions/new/entry",
        "sessions/without/entry",
        "sessions/owned/entry",
    }
    assert [name for name in left if name.startswith("owners/")] == [f"owners/{nonces[0]}/"]


def test_one_process_removes_at_a_time(new_client: NewClient) -> None:
    """Of several that could, one does; the next one waits for half of the interval at least."""
    clients = [new_client() for _ in range(3)]
    for client in clients:
        client.release(client.acquire("user-1")[0])
    due = [client.run(client.directory._removal._is_due()) for client in clients]
    assert due == [True, False, False]
