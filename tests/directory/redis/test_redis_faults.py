"""Faults: owners that die or are stopped, servers that are stopped, restarted or replaced."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kato_consul._directory.directory import LeaseLost
from kato_consul._directory.redis_script import LOST_EPOCHS
from kato_consul.errors import SessionDirectoryUnavailable
from kato_consul.testing.ports import HOST
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.redis import RedisServer
from kato_consul.testing.scratch import ScratchFolder
from tests.directory.redis.conftest import NewOwner
from tests.directory.redis.owners import Owner, mark_settled
from tests.directory.tcp_proxy import TcpProxy
from tests.testing.waiting import eventually


@contextmanager
def owner_process(url: str, service: str, key: str) -> Iterator[ChildProcess]:
    """Run a process that owns the session."""
    with ScratchFolder("kato-consul-owner-") as folder:
        argv = [sys.executable, "-m", "tests.directory.redis.owner_process", url, service, key]
        with ChildProcess(argv, name="the owner", log=folder.path / "log") as process:
            assert eventually(lambda: "owned" in process.log_tail()), process.log_tail()
            yield process


def test_killed_owner_is_followed(new_owner: NewOwner, server: RedisServer, service: str) -> None:
    """What a process owned that was killed is taken over, not handed over."""
    other = new_owner()
    with owner_process(server.url, service, "k") as process:
        turn = other.start(lambda: other.acquire("k"))
        assert eventually(lambda: server.command("LLEN", f"kato-consul:{{{service}}}:wait:k") == 1)
        process.kill()
        new, previous = turn.result(60)
    assert previous is not None
    assert not previous.released
    assert previous.owner_label == f"process:{process.pid}"
    assert new.entry.epoch == previous.epoch + 1


def test_dead_waiter_is_skipped(new_owner: NewOwner, server: RedisServer, service: str) -> None:
    """A process that was killed while it waited does not hold up those behind it."""
    owner, other = new_owner(), new_owner()
    held, _ = owner.acquire("k")
    code = (
        "import sys; from tests.directory.redis.owners import Owner; "
        "Owner(sys.argv[1], sys.argv[2]).acquire('k')"
    )
    queue = f"kato-consul:{{{service}}}:wait:k"
    with subprocess.Popen([sys.executable, "-c", code, server.url, service]) as process:
        assert eventually(lambda: server.command("LLEN", queue) == 1)
        turn = other.start(lambda: other.acquire("k"))
        assert eventually(lambda: server.command("LLEN", queue) == 2)
        process.kill()
    owner.release(held)
    assert turn.result(60)[0].entry.epoch == 2


def test_stopped_owner_finds_its_lease_lost(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """An owner that was stopped for longer than its lease writes nothing when it goes on."""
    other = new_owner()
    with owner_process(server.url, service, "k") as process:
        process.freeze()
        new, previous = other.acquire("k")
        assert previous is not None
        assert not previous.released
        other.write(new, id="of the new owner")
        process.thaw()
        assert eventually(lambda: "lost" in process.log_tail()), process.log_tail()
    assert other.entry("k") == new.entry


def test_frozen_server(new_owner: NewOwner) -> None:
    """While the server hangs, leases end, and calls say so. Then it goes on, and so do they."""
    with RedisServer() as server:
        mark_settled(server, "kato")
        owner, other = (Owner(server.url, "kato", shell) for shell in ("sync", "async"))
        try:
            held, _ = owner.acquire("k")
            server.freeze()
            with pytest.raises(SessionDirectoryUnavailable, match="no answer in time"):
                owner.write(held, within=0.3, id="unknown")
            assert eventually(lambda: not held.lease.is_valid())
            with pytest.raises(SessionDirectoryUnavailable, match="no answer in time"):
                other.acquire("k", within=0.3)
            server.thaw()
            new, previous = other.acquire("k")
            assert previous is not None
            assert not previous.released
            with pytest.raises(LeaseLost):
                owner.write(held)
            assert new.lease.is_valid()
        finally:
            owner.close()
            other.close()


def test_server_that_was_restarted_empty(new_owner: NewOwner) -> None:
    """A server that lost everything: leases are lost, and nothing is acquired before they end."""
    with RedisServer() as server:
        mark_settled(server, "kato")
        owner, other = Owner(server.url, "kato"), Owner(server.url, "kato")
        try:
            held, _ = owner.acquire("k")
            server.restart()
            _, previous = other.acquire("k")
            assert previous is None
            assert not held.lease.is_valid()
            with pytest.raises(LeaseLost):
                owner.write(held)
        finally:
            owner.close()
            other.close()


def test_server_that_was_restarted_with_its_data(new_owner: NewOwner) -> None:
    """A released session of before the restart is taken over, since later owners may be missing."""
    with RedisServer(persistent=True) as server:
        mark_settled(server, "kato")
        owner = Owner(server.url, "kato")
        try:
            held, _ = owner.acquire("k")
            owner.release(held, id="session-1")
            server.restart()
            new, previous = owner.acquire("k")
            assert previous is not None
            assert (previous.id, previous.released) == ("session-1", False)
            assert previous.epoch == 1 + LOST_EPOCHS
            assert new.entry.epoch == 2 + LOST_EPOCHS
            assert not held.lease.is_valid()
            owner.release(new)
            assert owner.acquire("k")[1].released  # type: ignore[union-attr]
        finally:
            owner.close()


def has_all_of(replica: RedisServer, master: RedisServer) -> bool:
    """Return whether a replica has all that was written."""
    written = master.command("INFO", "replication")["master_repl_offset"]
    return bool(replica.command("INFO", "replication")["slave_repl_offset"] == written)


def test_failover_to_a_replica_that_missed_a_write(caplog: pytest.LogCaptureFixture) -> None:
    """The master dies with a hand-over and a write that its replica does not have.

    The first owner released in epoch 1, which is all that the replica has. It must not take that
    for its own latest state: the second owned it since.
    """
    with (
        RedisServer() as master,
        TcpProxy(master.port) as link,
        RedisServer(config={"replicaof": f"{HOST} {link.port}"}) as replica,
        TcpProxy(master.port) as proxy,
    ):
        assert eventually(
            lambda: replica.command("INFO", "replication")["master_link_status"] == "up"
        )
        mark_settled(master, "kato")
        first, second = Owner(proxy.url, "kato"), Owner(proxy.url, "kato", "async")
        try:
            held, _ = first.acquire("k")
            first.release(held, id="session-1")
            assert eventually(lambda: has_all_of(replica, master))
            caplog.clear()
            link.hold(True)
            theirs, _ = second.acquire("k")
            second.write(theirs, id="session-2")
            assert "directory.not_replicated" in caplog.text
            master.kill()
            link.cut_all()
            replica.promote()
            proxy.target = replica.port
            proxy.cut_all()
            new, previous = first.acquire("k")
            assert not theirs.lease.is_valid()
            assert previous is not None
            assert (previous.id, previous.released) == ("session-1", False)
            assert previous.epoch > theirs.entry.epoch
            with pytest.raises(LeaseLost):
                second.write(theirs)
            assert new.lease.is_valid()
        finally:
            first.close()
            second.close()


def test_waiting_call_ends_with_its_client(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """Closing a client ends its waits, and then it does not hold up the queue."""
    owner, other, third = new_owner(), new_owner(), new_owner()
    held, _ = owner.acquire("k")
    turn = other.start(lambda: other.acquire("k"))
    assert eventually(lambda: held.wanted)
    other.close()
    assert "this client is closed" in str(turn.exception(60))
    owner.release(held)
    assert third.acquire("k")[0].entry.epoch == 2


def test_idle_owner_costs_the_same_with_many_sessions(
    new_owner: NewOwner, server: RedisServer
) -> None:
    """An idle owner writes nothing for each session, however many it owns."""
    owner = new_owner()
    for number in range(1_000):
        owner.acquire(str(number))

    def scripts() -> int:
        return int(server.command("INFO", "commandstats")["cmdstat_evalsha"]["calls"])

    calls, before = scripts(), server.command("INFO", "stats")["total_commands_processed"]
    assert eventually(lambda: scripts() >= calls + 4)  # refreshes
    assert server.command("INFO", "stats")["total_commands_processed"] - before < 1_000
