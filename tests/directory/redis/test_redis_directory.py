"""The directory in Redis: acquiring, writing, listing, expiring, giving up."""

import time

import pytest

from kato_consul._directory.directory import LeaseLost
from kato_consul.errors import SessionDirectoryUnavailable
from kato_consul.testing.redis import RedisServer
from tests.directory.redis.conftest import NewOwner
from tests.testing.waiting import eventually


def test_first_acquisition_finds_nothing(new_owner: NewOwner) -> None:
    """A new session has no entry before, and epoch 1."""
    owner = new_owner()
    held, previous = owner.acquire("k")
    assert previous is None
    assert (held.entry.key, held.entry.epoch, held.entry.revision) == ("k", 1, 1)
    assert held.entry.owner == owner.directory.nonce
    assert held.entry.owner_label == "host:1"
    assert held.lease.is_valid()
    assert not held.wanted


def test_own_session_is_acquired_again_at_once(new_owner: NewOwner) -> None:
    """What this process owned is its own again, as an epoch that nothing came between."""
    owner = new_owner()
    first, _ = owner.acquire("k")
    again, previous = owner.acquire("k")
    assert previous is not None
    assert (previous.owner, previous.epoch) == (owner.directory.nonce, first.entry.epoch)
    assert not previous.released
    assert again.entry.epoch == 2
    with pytest.raises(LeaseLost):
        owner.write(first)


def test_entries_are_listed(new_owner: NewOwner) -> None:
    """All entries of the service are listed by key, owned and released ones, and no other's; those
    of a process that has left are not owned."""
    owner, gone = new_owner(), new_owner()
    keys = [f"user {number} *?[]{{}}é" for number in range(250)]
    for number, key in enumerate(keys):
        held, _ = owner.acquire(key)
        if number % 2:
            owner.release(held, id=f"session-{number}")
    gone.acquire("left")
    gone.leave()
    found = {entry.key: (entry, owned) for entry, owned in owner.entries()}
    assert list(found) == sorted([*keys, "left"], key=str.encode)
    assert {key for key, (entry, _) in found.items() if entry.released} == set(keys[1::2])
    assert {key for key, (_, owned) in found.items() if owned} == set(keys[::2])
    assert owner.entry(keys[1]) == found[keys[1]][0]
    assert owner.entry("unknown") is None


def test_an_entry_that_is_changed_by_hand(
    new_owner: NewOwner, server: RedisServer, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One that cannot be read is left out of the list, and logged; a call that needs it says what
    to do, and the session stays free."""
    owner = new_owner()
    for key in ("good", "it's"):
        owner.release(owner.acquire(key)[0])
    name = f"kato-consul:{{{service}}}:entry:it's"
    server.command("HSET", name, "value", "no JSON")
    assert [entry.key for entry, _ in owner.entries()] == ["good"]
    assert "directory.entry_unusable" in caplog.text
    for call in (owner.entry, owner.acquire):
        with pytest.raises(SessionDirectoryUnavailable, match="cannot be used") as caught:
            call("it's")
        assert "delete it with: redis-cli del 'kato-consul:{" in str(caught.value)
    server.command("DEL", name)
    assert new_owner().acquire("it's")[1] is None


def test_entry_expires_after_its_release(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """An owned entry is kept for an hour at least; a released one for the rest of its time."""
    owner, name = new_owner(), f"kato-consul:{{{service}}}:entry:k"
    held, _ = owner.acquire("k")
    assert 3_590 < server.command("TTL", name) <= 3_600
    owner.write(held, expires_at=time.time() + 100)
    assert 3_590 < server.command("TTL", name) <= 3_600
    owner.write(held, expires_at=time.time() + 10_000)
    assert 9_900 < server.command("TTL", name) <= 10_000
    owner.release(held, expires_at=time.time() + 100)
    assert 90 < server.command("TTL", name) <= 100
    held, _ = owner.acquire("k")
    owner.release(held, expires_at=time.time() - 1)
    assert owner.entry("k") is None


def test_owned_entries_are_kept_for_longer(
    new_owner: NewOwner,
    server: RedisServer,
    service: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Entries that are owned for long do not expire, and others are left alone."""
    monkeypatch.setattr("kato_consul._directory.redis_background.KEEP_EVERY", 0.0)
    owner, prefix = new_owner(), f"kato-consul:{{{service}}}:entry:"
    owned, _ = owner.acquire("owned")
    held, _ = owner.acquire("released")
    owner.release(held, expires_at=time.time() + 10_000)
    for key in ("owned", "released"):
        server.command("EXPIRE", prefix + key, 1_000)
    assert eventually(lambda: server.command("TTL", prefix + "owned") > 3_000)
    assert server.command("TTL", prefix + "released") <= 1_000
    assert owned.lease.is_valid()


def test_session_that_is_not_given_up_in_order(new_owner: NewOwner) -> None:
    """An owner that cannot say that nothing of it is on its way releases, but not in order."""
    owner, other = new_owner(), new_owner()
    held, _ = owner.acquire("k")
    owner.release(held, released=False, id="session-1")
    new, previous = other.acquire("k")
    assert previous is not None
    assert (previous.id, previous.released) == ("session-1", False)
    assert new.entry.epoch == 2


def test_session_that_another_thread_has_acquired_meanwhile_is_not_disowned(
    new_owner: NewOwner,
) -> None:
    """A call makes its session known before it acquires it."""
    owner = new_owner()
    held, _ = owner.acquire("k")
    owner.run(owner.directory.disown("k", time.monotonic() + 60, lambda: True))
    owner.write(held, id="kato-1")


def test_disowned_session_is_taken_over(new_owner: NewOwner) -> None:
    """A session that its owner does not know of any more is free, and not handed over in order."""
    owner, other = new_owner(), new_owner()
    held, _ = owner.acquire("k")
    owner.release(held)
    owner.acquire("k")
    turn = other.start(lambda: other.acquire("k"))
    assert eventually(lambda: owner.directory.wanted.current == {"k"})
    owner.disown("k")
    new, previous = turn.result(60)
    assert previous is not None
    assert (previous.epoch, previous.released) == (2, False)
    assert new.waited
    assert not held.waited
    assert owner.directory.wanted.current == frozenset()
    owner.disown("k")  # it is another's: no effect
    other.write(new, id="session-1")


def test_incarnation_is_that_of_the_entry(
    new_owner: NewOwner, server: RedisServer, service: str
) -> None:
    """It stays the same for all owners, and differs if the entry was lost and made again."""
    owner, other = new_owner(), new_owner()
    held, _ = owner.acquire("k")
    assert held.entry.incarnation == owner.directory.nonce
    owner.leave()
    new, previous = other.acquire("k")
    assert previous is not None
    assert previous.incarnation == new.entry.incarnation == owner.directory.nonce
    server.command("DEL", f"kato-consul:{{{service}}}:entry:k")
    assert other.acquire("k")[0].entry.incarnation == other.directory.nonce


def test_lease_is_confirmed(
    new_owner: NewOwner, server: RedisServer, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease is confirmed while its key is there. Without it, it is lost, and another begins."""
    owner = new_owner()
    assert not owner.confirm()  # there is none yet
    held, _ = owner.acquire("k")
    assert owner.confirm()
    server.command("DEL", f"kato-consul:{{{service}}}:owner:{owner.directory.nonce}")
    assert eventually(lambda: held.lease.lost)
    assert eventually(lambda: "directory.lease_lost" in caplog.text)
    with pytest.raises(LeaseLost, match="session 'k' is no longer this process'"):
        owner.write(held)
    assert eventually(owner.confirm)


def test_left_owner_is_followed_at_once(new_owner: NewOwner) -> None:
    """After `leave`, what was not released can be taken over, and no lease begins again."""
    owner, other = new_owner(), new_owner()
    held, _ = owner.acquire("k")
    owner.leave()
    assert held.lease.lost
    _, previous = other.acquire("k")
    assert previous is not None
    assert not previous.released
    assert previous.owner == owner.directory.nonce


def test_leaving_raises_nothing(new_owner: NewOwner, caplog: pytest.LogCaptureFixture) -> None:
    """Without a server, `leave` logs that, and returns."""
    with RedisServer() as server:
        owner = new_owner(server.url)
        owner.acquire("k", within=60)
        server.kill()
        owner.leave(within=0.2)
    assert "directory.unavailable" in caplog.text


def test_leaving_without_a_lease_sends_nothing(
    new_owner: NewOwner, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that never had a lease owns nothing: it does not wait for a server that is away."""
    with RedisServer() as server:
        owner = new_owner(server.url)
        server.kill()
        with pytest.raises(SessionDirectoryUnavailable):
            owner.acquire("k", within=0.2)
        caplog.clear()
        owner.leave(within=0.2)
    assert "ending the lease" not in caplog.text


def test_new_server_waits_for_the_leases_of_before(
    new_owner: NewOwner, caplog: pytest.LogCaptureFixture
) -> None:
    """On a server that was not used before, the first acquisition waits, or says why it fails. It
    is logged once, however many calls wait."""
    caplog.set_level("INFO", "kato_consul.directory")
    with RedisServer() as server:
        owner = new_owner(server.url)
        with pytest.raises(SessionDirectoryUnavailable, match="the leases of before have to end"):
            owner.acquire("k", within=1.0)
        assert owner.acquire("k")[1] is None
    assert caplog.text.count("directory.settling") == 1
