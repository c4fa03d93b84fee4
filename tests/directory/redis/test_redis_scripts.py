"""Scripts of the Redis directory: lost answers, and copies of commands that come late."""

import itertools
import json
from functools import partial
from typing import Any

import pytest

from kato_consul._directory.directory import LeaseLost
from kato_consul._directory.redis_script import LOST_EPOCHS, Script
from kato_consul._directory.redis_scripts import ACQUIRE, DISOWN, GIVE_UP, REFRESH, START, WRITE
from kato_consul.testing.redis import RedisServer
from tests.directory.redis.conftest import NewOwner
from tests.directory.redis.owners import Owner
from tests.directory.tcp_proxy import TcpProxy
from tests.testing.waiting import eventually


def execute(server: RedisServer, service: str, script: Script, *arguments: str | int) -> Any:
    """Execute a script as a copy that comes late would."""
    prefix = f"kato-consul:{{{service}}}:"
    return server.command("EVAL", script.text, 0, prefix, *arguments)


def acquire_late(server: RedisServer, service: str, owner: Owner, key: str) -> str:
    """Execute an acquisition of the owner that it gave up before; return its id."""
    identity = f"{owner.directory.nonce}:late"
    number = owner.directory._lease.number
    assert execute(server, service, ACQUIRE, key, identity, number, "late")[0] in (b"held", b"wait")
    return identity


@pytest.mark.parametrize("every", [2, 3])
def test_lost_answers_change_nothing(new_owner: NewOwner, server: RedisServer, every: int) -> None:
    """With every second or third answer lost, hand-overs are in order, and each write is in."""
    count = itertools.count(1)
    with TcpProxy(server.port) as proxy:
        owners = [new_owner(proxy.url) for _ in range(2)]
        held, previous = owners[0].acquire("k")
        assert previous is None
        # Lists are what scripts reply, and not what a login does.
        proxy.cut_reply = lambda reply: reply.startswith(b"*") and next(count) % every == 0
        for turn in range(12):
            owner, other = owners[turn % 2], owners[(turn + 1) % 2]
            next_one = other.start(partial(other.acquire, "k"))
            owner.write(held, id=f"session-{turn}", time=held.entry.time + 1)
            owner.release(held, time=held.entry.time + 1)
            held, previous = next_one.result(60)
            assert previous is not None
            assert previous.released
            assert (previous.id, previous.time) == (f"session-{turn}", 2 * turn + 2)
            assert previous.epoch == turn + 1
            assert previous.owner == owner.directory.nonce


def test_late_start_of_a_lease_replaces_none(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """A lease of before does not come back: what was acquired under the later one stays owned."""
    owner = new_owner()
    held, _ = owner.acquire("k")
    name = f"kato-consul:{{{service}}}:owner:{owner.directory.nonce}"
    number = owner.directory._lease.number
    lease = server.command("GET", name)
    assert execute(server, service, START, owner.directory.nonce, number - 1) == [b"lost"]
    assert server.command("GET", name) == lease
    assert execute(server, service, START, owner.directory.nonce, number)[0] == b"ok"
    assert server.command("GET", name) == lease
    owner.write(held, id="session-1")


def test_server_is_known_from_the_first_lease_on(server: RedisServer, service: str) -> None:
    """The time in which leases of before may still be valid runs from then."""
    service = f"{service}-new"
    assert execute(server, service, START, "nonce", 1)[0] == b"ok"
    run_id = server.command("INFO", "server")["run_id"]
    assert server.command("HGET", f"kato-consul:{{{service}}}:server", "run") == run_id.encode()


def test_command_under_another_lease_is_refused(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """A copy of a command of an earlier lease, and one of a lease of before a failover."""
    owner = new_owner()
    owner.acquire("k")
    nonce, number = owner.directory.nonce, owner.directory._lease.number
    assert execute(server, service, REFRESH, nonce, number)[0] == b"ok"
    assert execute(server, service, REFRESH, nonce, number - 1) == [b"lost"]
    acquiring = partial(execute, server, service, ACQUIRE, "k", f"{nonce}:late")
    assert acquiring(number - 1, "host:1") == [b"lapsed"]
    server.command("SET", f"kato-consul:{{{service}}}:owner:{nonce}", f"{number} before")
    assert execute(server, service, REFRESH, nonce, number) == [b"lost"]
    assert acquiring(number, "host:1") == [b"lapsed"]


def test_owner_is_told_once_of_each_that_waits(server: RedisServer, service: str) -> None:
    """By a message and a wish. The wish goes with what it is about, also if that is taken over."""
    name = f"kato-consul:{{{service}}}:"
    lease = f"1 {server.command('INFO', 'server')['run_id']}"
    server.command("MSET", f"{name}owner:one", lease, f"{name}owner:two", lease)

    def acquire(nonce: str) -> Any:
        answer = execute(server, service, ACQUIRE, "k", f"{nonce}:1", 1, f"host:{nonce}")
        server.command("PERSIST", f"{name}owner:{nonce}")
        return answer

    assert acquire("one")[0] == b"held"
    for _ in range(2):
        assert acquire("two")[:2] == [b"wait", b"host:one"]
    assert server.command("LRANGE", f"{name}mail:one", 0, -1) == [b"wone:1 k"]
    assert server.command("SMEMBERS", f"{name}want:one") == {b"one:1 k"}
    server.command("DEL", f"{name}owner:one")
    assert acquire("two")[0] == b"held"
    assert server.command("EXISTS", f"{name}want:one") == 0


def test_waiter_that_is_dead_is_passed_over(server: RedisServer, service: str) -> None:
    """Its process has no lease any more: the waiter after it is the first."""
    name = f"kato-consul:{{{service}}}:"
    lease = f"1 {server.command('INFO', 'server')['run_id']}"
    server.command("SET", f"{name}owner:two", lease)
    server.command("RPUSH", f"{name}wait:k", "dead:1", "two:1")
    assert execute(server, service, ACQUIRE, "k", "two:1", 1, "host:2")[0] == b"held"
    assert server.command("EXISTS", f"{name}wait:k") == 0


def test_write_of_before_a_failover(new_owner: NewOwner, server: RedisServer, service: str) -> None:
    """Another process may have written what this server has missed."""
    owner = new_owner()
    held, _ = owner.acquire("k")
    name = f"kato-consul:{{{service}}}:entry:k"
    state = json.loads(server.command("HGET", name, "state"))
    server.command("HSET", name, "state", json.dumps({**state, "run": "before"}))
    with pytest.raises(LeaseLost):
        owner.write(held, id="session-1")


def test_entry_of_before_a_failover(new_owner: NewOwner, server: RedisServer, service: str) -> None:
    """A replica may have missed a release, and acquisitions: it was not released in order, and the
    epochs go on with a distance."""
    one, two = new_owner(), new_owner()
    held, _ = one.acquire("k")
    one.release(held, id="session-1")
    name = f"kato-consul:{{{service}}}:entry:k"
    state = json.loads(server.command("HGET", name, "state"))
    assert state["released"]
    server.command("HSET", name, "state", json.dumps({**state, "run": "before"}))
    new, previous = two.acquire("k")
    assert previous is not None
    assert (previous.id, previous.released) == ("session-1", False)
    assert previous.epoch == held.entry.epoch + LOST_EPOCHS
    assert new.entry.epoch == previous.epoch + 1
    assert new.entry.incarnation == held.entry.incarnation


def test_late_acquisition_is_undone(new_owner: NewOwner, server: RedisServer, service: str) -> None:
    """A process that owns a session without knowing gives it back as it was when it is wanted."""
    owner, other = new_owner(), new_owner()
    held, _ = owner.acquire("k")
    owner.release(held, id="session-1")
    acquire_late(server, service, owner, "k")
    new, previous = other.acquire("k")
    assert previous is not None
    assert (previous.id, previous.epoch, previous.released) == ("session-1", 1, True)
    assert new.entry.epoch == 2


def test_late_acquisition_of_a_new_session_is_undone(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """If there was no entry before, there is none again."""
    owner, other = new_owner(), new_owner()
    owner.acquire("started")
    acquire_late(server, service, owner, "k")
    assert other.acquire("k")[1] is None


def test_what_was_owned_under_a_lost_lease_is_taken_over(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """A process is asked for a session that it has owned, and lost with its lease. It may have
    changed that in KATO: so it is not given back as it was before."""
    owner, other = new_owner(), new_owner()
    held, _ = other.acquire("k")
    other.release(held, id="session-1")
    held, _ = owner.acquire("k")
    server.command("DEL", f"kato-consul:{{{service}}}:owner:{owner.directory.nonce}")
    assert not owner.confirm()
    owned = owner.directory._owned
    owned.take(f"w{held.token.id} k".encode())  # type: ignore[attr-defined]
    assert eventually(lambda: not owned.abandoned)
    new, previous = other.acquire("k")
    assert previous is not None
    assert (previous.epoch, previous.owner) == (2, owner.directory.nonce)
    assert not previous.released
    assert new.entry.epoch == 3


def test_late_waiter_leaves_the_queue(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """A process that is in a queue without knowing leaves it when it is next."""
    owner, other, third = new_owner(), new_owner(), new_owner()
    held, _ = owner.acquire("k")
    other.acquire("started")
    acquire_late(server, service, other, "k")
    turn = third.start(lambda: third.acquire("k"))
    name = f"kato-consul:{{{service}}}:wait:k"
    assert eventually(lambda: server.command("LLEN", name) == 2)
    owner.release(held)
    assert turn.result(60)[0].entry.epoch == 2


def test_late_writes_change_nothing(new_owner: NewOwner, server: RedisServer, service: str) -> None:
    """Copies of a write and of a release that come after later ones have no effect."""
    owner, other = new_owner(), new_owner()
    held, _ = owner.acquire("k")
    identity = held.token.id  # type: ignore[attr-defined]
    owner.write(held, id="session-1")
    owner.write(held, id="session-2")
    for how in ("write", "release"):
        assert execute(server, service, WRITE, "k", identity, 1, "{}", 2, 1, 1, how) == [b"ok"]
        assert owner.entry("k") == held.entry
    assert execute(server, service, GIVE_UP, "k", identity) == [b"ok"]
    assert owner.entry("k") == held.entry
    owner.release(held)
    assert execute(server, service, WRITE, "k", identity, 2, "{}", 3, 1, 0, "write") == [b"lost"]
    number = owner.directory._lease.number
    assert execute(server, service, ACQUIRE, "k", identity, number, "late") == [b"over"]
    new, _ = other.acquire("k")
    # The release is repeated, since its answer was lost; the session is another's already.
    assert execute(server, service, WRITE, "k", identity, 3, "{}", 4, 1, 1, "release") == [b"ok"]
    assert execute(server, service, WRITE, "k", identity, 3, "{}", 4, 1, 0, "write") == [b"lost"]
    assert execute(server, service, DISOWN, "k", identity) == [b"ok"]
    assert owner.entry("k") == new.entry
    other.write(new, id="session-3")


def test_message_is_read_as_it_comes(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """A message that is in no other place reaches the owner."""
    owner = new_owner()
    held, _ = owner.acquire("k")
    box = f"kato-consul:{{{service}}}:mail:{owner.directory.nonce}"
    server.command("RPUSH", box, f"w{held.token.id} k")  # type: ignore[attr-defined]
    assert eventually(lambda: held.wanted)
    assert owner.directory.wanted.current == {"k"}


def test_lost_message_is_made_up_for(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """If the message to the owner is lost, it learns with its next refresh that others wait."""
    owner, other = new_owner(), new_owner()
    held, _ = owner.acquire("k")
    other.acquire("started")
    box = f"kato-consul:{{{service}}}:mail:{owner.directory.nonce}"
    want = f"kato-consul:{{{service}}}:want:{owner.directory.nonce}"
    server.command("SADD", want, f"{held.token.id} k")  # type: ignore[attr-defined]
    assert server.command("EXISTS", box) == 0
    assert eventually(lambda: held.wanted)
    assert owner.directory.wanted.current == {"k"}
