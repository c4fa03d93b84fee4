"""The session directory for operators: what it lists, and releases by hand, in both shells."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kato_consul import (
    AsyncKatoClient,
    AsyncSessionDirectory,
    ConfigurationError,
    KatoClient,
    SessionDirectory,
    SessionEntry,
    SessionOwnedElsewhere,
    Settings,
)
from tests.cli.running import fresh_name
from tests.directory.sites import KINDS, Site, site
from tests.testing.waiting import eventually

HERE = f"{socket.gethostname()}:{os.getpid()}"


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A deployment with each kind of directory."""
    with site(str(request.param)) as running:
        yield running


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key that no other test uses."""
    return f"key of {request.node.originalname}"


def one(directory: SessionDirectory, key: str) -> SessionEntry:
    """Return the session of a key."""
    entry = directory.entry(key)
    assert entry is not None
    return entry


def test_entry_of_an_owned_session(shared: Site, key: str) -> None:
    """What a client did shows: its process, KATO's id, the node. Nothing of what was observed."""
    with KatoClient(shared.settings()) as kato, SessionDirectory(shared.settings()) as directory:
        session = kato.session(key, node_id="shop", ttl=600)
        session.observe(["a secret symbol"])
        entry = one(directory, key)
        assert (entry.id, entry.owner, entry.last_owner) == (session.id, HERE, HERE)
        assert (entry.epoch, entry.node_id, entry.ttl) == (session.facts.epoch, "shop", 600)
        assert (entry.released, entry.aliases) == (False, ())
        assert entry.age is not None
        assert entry.expires_at is not None
        assert entry in directory.entries()
        assert "secret" not in repr(directory.entries())
    with SessionDirectory(shared.settings()) as directory:
        entry = one(directory, key)
        assert (entry.owner, entry.last_owner, entry.released) == (None, HERE, True)
        assert (entry.time, entry.events) == (1, 1)


def test_a_service_without_sessions(shared: Site) -> None:
    """It has no entries, and a key of it is unknown, also to be released."""
    with SessionDirectory(shared.settings(fresh_name())) as directory:
        assert directory.entries() == []
        assert directory.entry("none") is None
        assert directory.release("none") is None
        assert directory.entries() == []


def test_release_by_hand(shared: Site, key: str) -> None:
    """An idle owner hands the session over. Its next call goes on in the same KATO session, with
    all that was observed."""
    with KatoClient(shared.settings()) as kato, SessionDirectory(shared.settings()) as directory:
        session = kato.session(key)
        session.observe(["a"])
        before = one(directory, key)
        after = directory.release(key)
        assert after is not None
        assert (after.owner, after.released, after.id) == (None, True, before.id)
        assert after.epoch == before.epoch + 1
        assert one(directory, key) == after
        assert directory.release(key) == after  # there is nothing to release
        session.observe(["b"])
        assert session.stm() == [["a"], ["b"]]
        assert session.id == before.id
        assert session.facts.takeovers == 0
        assert one(directory, key).owner == HERE


async def released_async(settings: Settings, key: str) -> tuple[Any, Any, Any]:
    """Release a session of an async client, which then goes on; return what was seen."""
    async with AsyncKatoClient(settings) as kato, AsyncSessionDirectory(settings) as directory:
        session = kato.session(key)
        await session.observe(["a"])
        listed = [entry.owner for entry in await directory.entries() if entry.key == key]
        after = await directory.release(key)
        assert after == await directory.entry(key)
        await session.observe(["b"])
        return listed, after, await session.stm()


def test_release_by_hand_on_asyncio(shared: Site, key: str) -> None:
    """The same for the async one."""
    listed, after, stm = asyncio.run(released_async(shared.settings(), key))
    assert listed == [HERE]
    assert (after.owner, after.released) == (None, True)
    assert stm == [["a"], ["b"]]


def test_a_process_that_is_in_a_call_keeps_the_session(shared: Site, key: str) -> None:
    """It is not taken from a process that lives: the error names it, and says what to do. The call
    ends, and the session is handed over after it."""
    instance = next(iter(shared.fleet.instances.values()))
    with (
        KatoClient(shared.settings(deadline=60.0, attempt_timeout=50.0)) as kato,
        SessionDirectory(shared.settings()) as directory,
        ThreadPoolExecutor(1) as other,
    ):
        session = kato.session(key)
        session.observe(["a"])
        instance.freeze()
        try:
            call = other.submit(session.observe, ["b"])
            assert eventually(lambda: session._state.pending is not None)
            with pytest.raises(SessionOwnedElsewhere) as caught:
                directory.release(key, timeout=1.0)
        finally:
            instance.thaw()
        assert caught.value.owner == HERE
        assert f"session {key!r} is owned by {HERE}" in str(caught.value)
        assert "was killed, or hangs" in str(caught.value)
        assert call.result()["time"] == 2
        after = directory.release(key)
        assert after is not None
        assert (after.owner, after.released) == (None, True)


CLIENT = """
import sys, threading
from kato_consul import KatoClient, Settings
kato = KatoClient()
kato.session(sys.argv[1]).observe(["a"])
print("owns", flush=True)
threading.Event().wait()
"""


def test_a_session_that_was_left(shared: Site, key: str) -> None:
    """After a kill no process owns it, and it is not released: a release by hand changes nothing,
    and the next client takes it over."""
    env = {**os.environ, **shared.env()}
    command = [sys.executable, "-c", CLIENT, key]
    with (
        SessionDirectory(shared.settings()) as directory,
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "owns\n"
            label = f"{socket.gethostname()}:{process.pid}"
            assert one(directory, key).owner == label
        finally:
            process.kill()
        assert eventually(lambda: one(directory, key).owner is None)
        left = one(directory, key)
        assert (left.last_owner, left.released) == (label, False)
        assert directory.release(key) == left
        with KatoClient(shared.settings()) as kato:
            session = kato.session(key)
            assert session.stm() == [["a"]]
            assert session.facts.takeovers == 1
        assert one(directory, key).aliases == (left.id,)


def test_no_directory_is_set() -> None:
    """The error says which variable names one."""
    for kind in (SessionDirectory, AsyncSessionDirectory):
        with pytest.raises(ConfigurationError, match="KATO_CONSUL_SESSION_DIRECTORY"):
            kind(Settings())


def test_name_has_no_credentials() -> None:
    """It may be shown."""
    settings = Settings(session_directory="redis://app:hidden@127.0.0.1:1/2")
    with SessionDirectory(settings) as directory:
        assert directory.name == "Redis at 127.0.0.1:1/2"
        assert "hidden" not in f"{directory!r} {vars(directory)}"
