"""Servers that refuse: full, a replica, a wrong password, missing ACL rules, none at all."""

import re

import pytest

from kato_consul._directory.redis_calls import RedisCalls
from kato_consul._flow import Cause, Failure, RedisCommands, Sleep
from kato_consul._secret import Secret
from kato_consul.errors import SessionDirectoryUnavailable
from kato_consul.testing.clock import ManualClock
from kato_consul.testing.ports import HOST
from kato_consul.testing.redis import RedisServer
from tests.directory.redis.conftest import NewOwner
from tests.directory.redis.owners import Owner, mark_settled
from tests.directory.tcp_proxy import TcpProxy
from tests.testing.waiting import eventually


def test_demoted_master_is_retried() -> None:
    """A server that is a replica refuses writes; the call goes on once it is the master."""
    with RedisServer() as master, RedisServer(replica_of=master) as replica:
        owner = Owner(replica.url, "kato")
        try:
            with pytest.raises(
                SessionDirectoryUnavailable, match=r"it is a replica\. The URL must"
            ):
                owner.acquire("k", within=1.0)
            turn = owner.start(lambda: owner.acquire("k"))
            replica.promote()
            assert turn.result(60)[0].entry.epoch == 1
        finally:
            owner.close()


def test_full_server(new_owner: NewOwner) -> None:
    """A full server acquires and writes nothing; what is owned can be handed over."""
    with RedisServer(config={"maxmemory-policy": "noeviction"}) as server:
        mark_settled(server, "kato")
        owner, other = Owner(server.url, "kato"), Owner(server.url, "kato")
        try:
            held, _ = owner.acquire("k")
            other.acquire("started")
            server.command("CONFIG", "SET", "maxmemory", "1mb")
            with pytest.raises(
                SessionDirectoryUnavailable, match=r"it is full\. Raise its maxmemory"
            ):
                owner.acquire("another")
            with pytest.raises(SessionDirectoryUnavailable, match="it is full"):
                owner.write(held, id="session-1")
            assert owner.confirm()
            owner.release(held)
            server.command("CONFIG", "SET", "maxmemory", "0")
            assert other.acquire("k")[1].released  # type: ignore[union-attr]
        finally:
            owner.close()
            other.close()


def test_password() -> None:
    """A wrong password, or none, is told without it."""
    with RedisServer(password="right") as server:
        mark_settled(server, "kato")
        for login in ("", ":wrong-secret@"):
            owner = Owner(f"redis://{login}{HOST}:{server.port}/0", "kato")
            with pytest.raises(SessionDirectoryUnavailable) as caught:
                owner.acquire("k")
            owner.close()
            text = str(caught.value)
            assert f"session directory (Redis at {HOST}:{server.port}/0): starting a lease" in text
            assert re.search(r"[a-z]: set the user and the password in the URL", text)
            assert "wrong-secret" not in text
        owner = Owner(server.url, "kato")
        owner.acquire("k")
        owner.close()


def rules_in(error: SessionDirectoryUnavailable) -> list[str]:
    """Return the ACL rules that an error names."""
    return str(error).partition("the ACL rules ")[2].partition(". Nothing")[0].split()


def test_least_acl_policy() -> None:
    """The rules that the error names suffice for all that the directory does."""
    with RedisServer() as server:
        mark_settled(server, "kato")
        server.command("ACL", "SETUSER", "app", "on", ">secret", "resetkeys", "-@all")
        url = f"redis://app:secret@{HOST}:{server.port}/0"
        owner, other = Owner(url, "kato"), Owner(url, "kato", "async")
        try:
            with pytest.raises(SessionDirectoryUnavailable, match="the ACL rules") as caught:
                owner.acquire("k")
            rules = rules_in(caught.value)
            assert rules[0] == "~kato-consul:{kato}:*"
            server.command("ACL", "SETUSER", "app", *rules)
            held, _ = owner.acquire("k")
            turn = other.start(lambda: other.acquire("k"))
            assert eventually(lambda: held.wanted)
            owner.write(held, id="session-1")
            owner.release(held)
            theirs, previous = turn.result(60)
            assert previous is not None
            assert previous.released
            assert len(owner.entries()) == 1
            other.release(theirs)
            other.leave()
            elsewhere = Owner(url, "another-service")
            with pytest.raises(SessionDirectoryUnavailable, match="the ACL rules") as caught:
                elsewhere.acquire("k")
            elsewhere.close()
            assert rules_in(caught.value)[0] == "~kato-consul:{another-service}:*"
        finally:
            owner.close()
            other.close()


def test_unreachable_server() -> None:
    """Without a server, calls say so until their deadline, and never contain the password."""
    with TcpProxy(1) as closed:
        port = closed.port
    for shell in ("sync", "async"):
        owner = Owner(f"redis://:hidden@{HOST}:{port}/0", "kato", shell)
        with pytest.raises(SessionDirectoryUnavailable, match="could not connect") as caught:
            owner.acquire("k", within=2.0)
        owner.close()
        assert "hidden" not in str(caught.value)
        assert "is it running there? KATO_CONSUL_SESSION_DIRECTORY" in str(caught.value)


def test_attempt_that_the_deadline_cuts_short_hides_no_reason() -> None:
    """The error has the reason of the attempt before: the last one had no time to find it."""
    clock = ManualClock()
    calls = RedisCalls(Secret("redis://cache"), "kato", clock=clock, random=lambda: 1.0, now=clock)
    listing = calls.scan("*", deadline=clock() + 1.0)
    assert isinstance(next(listing), RedisCommands)
    pause = listing.send(Failure(Cause.CONNECT, bytes_sent=False, detail="refused"))
    assert isinstance(pause, Sleep)
    assert isinstance(next(listing), RedisCommands)
    clock.advance(1.0)
    with pytest.raises(SessionDirectoryUnavailable, match=r"could not connect \(refused\)"):
        listing.send(Failure(Cause.TIMEOUT, bytes_sent=False, detail="TimeoutError"))
