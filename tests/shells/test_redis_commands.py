"""The step `RedisCommands`, carried out by both drivers on a real server."""

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kato_consul._async.driver import AsyncDriver
from kato_consul._directory import redis_url
from kato_consul._flow import (
    Cause,
    Failure,
    Flow,
    RedisCommands,
    RedisOutcome,
    RedisRefused,
    RedisReply,
)
from kato_consul._secret import Secret
from kato_consul._sync.driver import Driver
from kato_consul.errors import ClientClosed
from kato_consul.settings import Settings
from kato_consul.testing.ports import HOST, free_ports
from kato_consul.testing.redis import RedisServer
from tests.shells.conftest import BlockingAsyncDriver, BlockingDriver
from tests.shells.sockets import connections_to
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server."""
    with RedisServer() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest) -> Iterator[BlockingDriver]:
    """A driver of each shell."""
    created = Driver(Settings()) if request.param == "sync" else BlockingAsyncDriver(Settings())
    yield created
    created.close()


def send(
    url: str, *commands: tuple[str | bytes | int, ...], timeout: float = 60.0
) -> Flow[RedisOutcome]:
    """Flow: send commands, and return the outcome."""
    outcome: RedisOutcome = yield RedisCommands(Secret(url), commands, timeout)
    return outcome


def test_replies_are_in_order(driver: BlockingDriver, server: RedisServer) -> None:
    """Each command has its reply; connections are used again."""
    for number in range(3):
        set_and_get = ("SET", "k", number), ("GET", "k"), ("LRANGE", "none", 0, -1), ("GET", "none")
        outcome = driver.run(send(server.url, *set_and_get))
        assert outcome == RedisReply((b"OK", str(number).encode(), [], None))
    assert connections_to(server.port) == 1


def test_large_values(driver: BlockingDriver, server: RedisServer) -> None:
    """A value of several reads and writes arrives as it was."""
    value = os.urandom(3_000_000)
    outcome = driver.run(send(server.url, ("SET", "large", value), ("GET", "large")))
    assert outcome == RedisReply((b"OK", value))


def test_refusal_leaves_the_connection_clean(driver: BlockingDriver, server: RedisServer) -> None:
    """After an error reply among others, the next step gets its own reply."""
    outcome = driver.run(send(server.url, ("SET", "k", "v"), ("LPUSH", "k", 1), ("GET", "k")))
    assert outcome == RedisRefused(
        "WRONGTYPE", "WRONGTYPE Operation against a key holding the wrong kind of value"
    )
    assert driver.run(send(server.url, ("GET", "k"))) == RedisReply((b"v",))
    assert connections_to(server.port) == 1


def test_refused_connection(driver: BlockingDriver) -> None:
    """Without a server, certainly nothing was sent."""
    (port,) = free_ports(1)
    outcome = driver.run(send(f"redis://:hidden@{HOST}:{port}", ("PING",)))
    assert isinstance(outcome, Failure)
    assert (outcome.cause, outcome.bytes_sent) == (Cause.CONNECT, False)
    assert "hidden" not in str(outcome) + repr(outcome)


def test_timeout(driver: BlockingDriver, server: RedisServer) -> None:
    """A command that was sent and not answered in time may have been executed; its late reply is
    never taken for that of another."""
    server.command("DEL", "empty")
    outcome = driver.run(send(server.url, ("BLPOP", "empty", 0), timeout=1.0))
    assert isinstance(outcome, Failure)
    assert (outcome.cause, outcome.bytes_sent) == (Cause.TIMEOUT, True)
    server.command("RPUSH", "empty", "late")
    assert driver.run(send(server.url, ("ECHO", "next"))) == RedisReply((b"next",))


def test_hung_server(driver: BlockingDriver) -> None:
    """A server that accepts connections and says nothing is a timeout."""
    with RedisServer() as hung:
        url = hung.url
        hung.freeze()
        outcome = driver.run(send(url, ("PING",), timeout=0.2))
    assert isinstance(outcome, Failure)
    assert outcome.cause is Cause.TIMEOUT


def test_login_ends_with_the_step(driver: BlockingDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs during the login takes no more time than the step has."""
    monkeypatch.setattr(redis_url, "STALL_TIMEOUT", 3600.0)
    outcomes: list[RedisOutcome] = []
    with RedisServer(password="right") as hung:
        step = send(hung.url, ("PING",), timeout=0.2)
        hung.freeze()
        thread = threading.Thread(target=lambda: outcomes.append(driver.run(step)), daemon=True)
        thread.start()
        assert eventually(lambda: bool(outcomes))
    assert isinstance(outcomes[0], Failure)
    assert (outcomes[0].cause, outcomes[0].bytes_sent) == (Cause.TIMEOUT, False)


def test_wrong_password(driver: BlockingDriver) -> None:
    """A refused login is a refusal, and names no password."""
    with RedisServer(password="right") as locked:
        outcome = driver.run(send(f"redis://:hidden@{HOST}:{locked.port}", ("PING",)))
        assert isinstance(outcome, RedisRefused)
        assert outcome.code == "NOAUTH"
        assert "hidden" not in repr(outcome)
        assert driver.run(send(locked.url, ("ECHO", "a"))) == RedisReply((b"a",))


def test_server_without_tls(driver: BlockingDriver, server: RedisServer) -> None:
    """Redis waits for the rest of a handshake: nothing was sent when the time is over."""
    outcome = driver.run(send(f"rediss://{HOST}:{server.port}", ("PING",), timeout=0.3))
    assert isinstance(outcome, Failure)
    assert (outcome.cause, outcome.bytes_sent) == (Cause.TIMEOUT, False)


def test_blocking_command_has_its_own_connection(server: RedisServer) -> None:
    """While one command blocks, others are answered. Closing ends it at once."""
    driver = Driver(Settings())
    outcome: list[object] = []

    def wait() -> None:
        try:
            outcome.append(driver.run(send(server.url, ("BLPOP", "mail", 0), timeout=3_600)))
        except ClientClosed as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert eventually(lambda: server.command("INFO", "clients")["blocked_clients"] == 1)
    assert driver.run(send(server.url, ("ECHO", "a"))) == RedisReply((b"a",))
    driver.close()
    thread.join(60)
    assert isinstance(outcome[0], ClientClosed)
    assert eventually(lambda: connections_to(server.port) == 0)


def test_cancelled_command_on_asyncio(server: RedisServer) -> None:
    """A cancelled command closes its connection; `aclose` ends one that blocks at once."""

    async def scenario() -> list[Any]:
        driver = AsyncDriver(Settings())
        waits = [
            asyncio.create_task(driver.run(send(server.url, ("BLPOP", key, 0), timeout=3_600)))
            for key in ("mail", "other")
        ]
        assert await asyncio.to_thread(eventually, both_block)
        waits[0].cancel()
        await asyncio.wait(waits[:1])
        await asyncio.to_thread(server.command, "RPUSH", "mail", "late")
        replies = await asyncio.gather(
            *(driver.run(send(server.url, ("ECHO", str(number)))) for number in range(20))
        )
        await driver.aclose()
        return [
            waits[0].cancelled(),
            await asyncio.gather(waits[1], return_exceptions=True),
            replies,
        ]

    def both_block() -> bool:
        return int(server.command("INFO", "clients")["blocked_clients"]) == 2

    cancelled, (closed,), replies = asyncio.run(scenario())
    assert cancelled
    assert isinstance(closed, ClientClosed)
    assert replies == [RedisReply((str(number).encode(),)) for number in range(20)]
    assert server.command("LRANGE", "mail", 0, -1) == [b"late"]
    assert eventually(lambda: connections_to(server.port) == 0)


def test_forked_child_has_its_own_connections(server: RedisServer) -> None:
    """A child that is forked during the parent's use answers with its own connections."""
    driver = Driver(Settings())
    assert driver.run(send(server.url, ("ECHO", "parent"))) == RedisReply((b"parent",))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            right = driver.run(send(server.url, ("ECHO", "child"))) == RedisReply((b"child",))
            status = 0 if right else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert driver.run(send(server.url, ("ECHO", "parent"))) == RedisReply((b"parent",))
    assert connections_to(server.port) == 1
    driver.close()


def test_restarted_server_is_connected_to_again(driver: BlockingDriver) -> None:
    """The connections to a server that ended are replaced."""
    with RedisServer() as restarted:
        assert isinstance(driver.run(send(restarted.url, ("PING",))), RedisReply)
        restarted.restart()
        outcome = driver.run(send(restarted.url, ("PING",)))
        assert isinstance(outcome, Failure)  # the first is sent on the old connection
        assert outcome.bytes_sent
        assert isinstance(driver.run(send(restarted.url, ("PING",))), RedisReply)
