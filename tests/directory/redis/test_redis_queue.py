"""The queue in Redis: what is next, and what becomes of calls that wait."""

import asyncio
import time
from functools import partial

import pytest

from kato_consul._flow import LONG_WAIT, WaitForChange
from kato_consul._observable import Observable
from kato_consul.errors import SessionOwnedElsewhere
from kato_consul.testing.redis import RedisServer
from tests.directory.redis.conftest import NewOwner
from tests.directory.redis.owners import Owner
from tests.testing.waiting import eventually


def waiting(server: RedisServer, service: str, key: str) -> int:
    """Return how many acquisitions of a key wait."""
    return int(server.command("LLEN", f"kato-consul:{{{service}}}:wait:{key}"))


def test_hand_over_needs_no_polling(new_owner: NewOwner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter that never asks again by itself is told of the release, and gets what was written;
    the owner is told of the waiter."""

    def wait_for_message(observable: Observable[int], seen: int, _: float) -> WaitForChange:
        return WaitForChange(observable, seen, LONG_WAIT)

    monkeypatch.setattr("kato_consul._directory.redis_directory.WaitForChange", wait_for_message)
    first, second = new_owner(), new_owner(label="host:2")
    held, _ = first.acquire("k")
    first.write(held, id="session-1")
    next_one = second.start(lambda: second.acquire("k"))
    assert eventually(lambda: first.directory.wanted.current == {"k"})
    assert held.wanted
    first.release(held, time=7)
    new, previous = next_one.result(60)
    assert previous is not None
    assert (previous.id, previous.time, previous.epoch) == ("session-1", 7, 1)
    assert previous.released
    assert previous.owner == first.directory.nonce
    assert (new.entry.epoch, new.entry.revision, new.entry.released) == (2, 4, False)
    assert new.entry.owner_label == "host:2"
    assert first.directory.wanted.current == frozenset()


def test_first_asked_is_first_served(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """Waiters acquire in the order in which they asked."""
    owner = new_owner()
    others = [new_owner(label=f"host:{number}") for number in range(4)]
    held, _ = owner.acquire("k")
    order: list[str] = []

    def has_waiters(count: int) -> bool:
        return waiting(server, service, "k") == count

    def take_turn(one: Owner) -> None:
        mine, _ = one.acquire("k")
        order.append(mine.entry.owner_label)
        one.release(mine)

    turns = []
    for number, one in enumerate(others):
        turns.append(one.start(partial(take_turn, one)))
        assert eventually(partial(has_waiters, number + 1))
    owner.release(held)
    for turn in turns:
        turn.result(60)
    assert order == [f"host:{number}" for number in range(4)]


def test_next_owner_is_told_that_others_wait(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """A session that more than one waits for is wanted from the moment it is acquired."""
    owner, second, third = new_owner(), new_owner(), new_owner()
    held, _ = owner.acquire("k")
    turns = [(one, one.start(partial(one.acquire, "k"))) for one in (second, third)]
    assert eventually(lambda: waiting(server, service, "k") == 2)
    owner.release(held)
    assert eventually(lambda: any(turn.done() for _, turn in turns))
    winner, won = next(pair for pair in turns if pair[1].done())
    assert won.result()[0].wanted
    assert winner.directory.wanted.current == {"k"}
    winner.release(won.result()[0])
    for _, turn in turns:
        turn.result(60)


def test_one_client_waits_and_others_do_not_pass(new_owner: NewOwner) -> None:
    """An owner that releases and asks again is served after those that waited."""
    owner, other = new_owner(), new_owner()
    held, _ = owner.acquire("k")
    turn = other.start(lambda: other.acquire("k"))
    assert eventually(lambda: held.wanted)
    owner.release(held)
    again = owner.start(lambda: owner.acquire("k"))
    theirs, _ = turn.result(60)
    other.release(theirs)
    assert again.result(60)[0].entry.epoch == 3


def test_a_hundred_waiters(new_owner: NewOwner, server: RedisServer, service: str) -> None:
    """100 calls that wait for one session each get it once."""
    owners = [new_owner() for _ in range(4)]
    holder = new_owner()
    held, _ = holder.acquire("k")

    def take_turn(owner: Owner) -> int:
        mine, _ = owner.acquire("k", within=120)
        owner.release(mine)
        return mine.entry.epoch

    turns = [owner.start(partial(take_turn, owner)) for owner in owners * 25]
    assert eventually(lambda: waiting(server, service, "k") == 100)
    holder.release(held)
    assert sorted(turn.result(120) for turn in turns) == list(range(2, 102))
    assert waiting(server, service, "k") == 0


def test_deadline_while_waiting(new_owner: NewOwner, server: RedisServer, service: str) -> None:
    """A waiter that gives up names the owner, and leaves the queue."""
    owner, other = new_owner(label="host:42"), new_owner()
    held, _ = owner.acquire("k")
    with pytest.raises(SessionOwnedElsewhere, match="'k' is owned by host:42: it was not released"):
        other.acquire("k", within=0.3)
    assert eventually(lambda: waiting(server, service, "k") == 0)
    owner.release(held)
    again, previous = owner.acquire("k")
    assert previous is not None
    assert previous.released
    assert again.entry.epoch == 2


def test_cancelled_waiter_leaves_the_queue(server: RedisServer, service: str) -> None:
    """A task that is cancelled while it waits does not hold up the queue."""
    owner, other = Owner(server.url, service), Owner(server.url, service, "async")
    try:
        held, _ = owner.acquire("k")
        flow = other.directory.acquire("k", time.monotonic() + 60)
        call = asyncio.run_coroutine_threadsafe(other.driver.run(flow), other._loop)  # type: ignore[arg-type]
        assert eventually(lambda: held.wanted)
        call.cancel()
        assert eventually(lambda: waiting(server, service, "k") == 0)
        owner.release(held)
        assert owner.acquire("k")[1] is not None
    finally:
        owner.close()
        other.close()
