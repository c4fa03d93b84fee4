"""Closing and cancelling during calls: each call ends with an error that is true, and no thread, no
task and no socket is left behind."""

import asyncio
import contextlib
import gc
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from kato_consul import (
    AsyncKatoClient,
    ClientClosed,
    KatoClient,
    KatoConsulError,
    OutcomeUnknown,
)
from kato_consul._async.driver import AsyncDriver
from kato_consul._flow import Cause, Failure, Flow, Hedge, Reply, Send, Sleep, WaitForChange
from kato_consul._observable import Observable
from kato_consul._sync.driver import Driver
from kato_consul.settings import Settings
from kato_consul.testing.ports import free_ports
from tests.event_loops import EVENT_LOOPS, loop_factory
from tests.shells import silent_kato, test_wire, wire_server
from tests.shells.sockets import open_sockets
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually

CALLS = 6


@pytest.fixture(params=EVENT_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """The async tests run on each event loop."""
    return "asyncio", {"loop_factory": loop_factory(request.param)}


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, without blocking the event loop."""
    assert await asyncio.to_thread(eventually, condition, within=30.0)


@pytest.fixture
def kato_server() -> Iterator[WireServer]:
    """A KATO that never responds to a call on a session."""
    with WireServer(silent_kato.open_sessions_only) as server:
        yield server


@pytest.fixture
def settings(kato_server: WireServer, engine: str) -> Settings:
    """The settings of its clients. No call ends by itself during a test."""
    return Settings(
        kato_urls=(kato_server.origin,), engine=engine, attempt_timeout=60.0, deadline=60.0
    )


@contextlib.contextmanager
def full_listener() -> Iterator[str]:
    """The origin of a listener whose queue is full: connections to it are never established."""
    with (
        socket.create_server(("127.0.0.1", free_ports(1)[0]), backlog=0) as listener,
        contextlib.ExitStack() as s,
    ):
        address = listener.getsockname()
        for _ in range(3):
            waiting = s.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


def check_errors(errors: list[BaseException | None]) -> None:
    """Check the errors of CALLS writes and CALLS reads, all of them in flight when the client was
    closed, and of as many writes that waited for the turn."""
    writes, reads, waiting = errors[:CALLS], errors[CALLS : 2 * CALLS], errors[2 * CALLS :]
    for error in writes:
        assert isinstance(error, OutcomeUnknown)
        assert (error.reason, error.closed, error.sent) == ("this client was closed", True, True)
        assert "next call" not in str(error)
    for error in reads:
        assert isinstance(error, ClientClosed)
        assert error.sent
    for error in waiting:
        assert isinstance(error, ClientClosed)
        assert error.sent is False


def test_close_during_calls_on_threads(kato_server: WireServer, settings: Settings) -> None:
    """Calls in flight on threads end at once: the writes with an unknown outcome. What had not been
    sent ends with `ClientClosed`. Nothing is left."""
    gc.collect()
    sockets_before, threads_before = open_sockets(), set(threading.enumerate())
    kato = KatoClient(settings)
    writers = [kato.session(f"writer {number}") for number in range(CALLS)]
    readers = [kato.session(f"reader {number}") for number in range(CALLS)]
    with ThreadPoolExecutor(3 * CALLS) as pool:
        calls: list[Future[Any]] = [pool.submit(one.observe, ["x"]) for one in writers]
        calls += [pool.submit(one.stm) for one in readers]
        assert eventually(
            lambda: silent_kato.requests_in_flight(kato_server) == 2 * CALLS, within=30.0
        )
        calls += [pool.submit(one.observe, ["y"]) for one in writers]
        assert eventually(lambda: all(len(one._turn._line) == 2 for one in writers), within=30.0)
        kato.close()
        kato.close()
        check_errors([call.exception(timeout=30.0) for call in calls])
    assert eventually(lambda: set(threading.enumerate()) <= threads_before)
    assert eventually(lambda: open_sockets() <= sockets_before, within=30.0)


@pytest.mark.anyio
async def test_aclose_during_calls_on_tasks(kato_server: WireServer, settings: Settings) -> None:
    """As on threads; also, no task of the client is left when `aclose` returns."""
    gc.collect()
    sockets_before, tasks_before = open_sockets(), asyncio.all_tasks()
    kato = AsyncKatoClient(settings)
    writers = [kato.session(f"writer {number}") for number in range(CALLS)]
    readers = [kato.session(f"reader {number}") for number in range(CALLS)]
    calls: list[asyncio.Task[object]] = [
        *(asyncio.create_task(one.observe(["x"])) for one in writers),
        *(asyncio.create_task(one.stm()) for one in readers),
    ]
    await wait_until(lambda: silent_kato.requests_in_flight(kato_server) == 2 * CALLS)
    calls += [asyncio.create_task(one.observe(["y"])) for one in writers]
    await wait_until(lambda: all(one._turn._calls == 2 for one in writers))
    async with asyncio.timeout(30.0):
        await kato.aclose()
        await kato.aclose()
        errors = await asyncio.gather(*calls, return_exceptions=True)
    check_errors([error if isinstance(error, BaseException) else None for error in errors])
    assert asyncio.all_tasks() == tasks_before
    await wait_until(lambda: open_sockets() <= sockets_before)


def retry_once(origin: str) -> Flow[None]:
    """Flow: send a hedged read, and, since it failed, once more."""
    send = Send(origin, "GET", "/", 60.0)
    yield Hedge(send, send, 0.01)
    yield send


def test_close_during_a_hedged_read_on_threads(kato_server: WireServer, settings: Settings) -> None:
    """A hedged read that was in flight ends with a `ClientClosed` that says that it was sent."""
    driver = Driver(settings)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(driver.run, retry_once(kato_server.origin))
        assert eventually(lambda: silent_kato.requests_in_flight(kato_server) == 2, within=30.0)
        driver.close()
        error = call.exception(timeout=30.0)
    assert isinstance(error, ClientClosed)
    assert error.sent


@pytest.mark.anyio
async def test_aclose_during_a_hedged_read_on_tasks(
    kato_server: WireServer, settings: Settings
) -> None:
    """As on threads."""
    driver = AsyncDriver(settings)
    call = asyncio.create_task(driver.run(retry_once(kato_server.origin)))
    await wait_until(lambda: silent_kato.requests_in_flight(kato_server) == 2)
    await driver.aclose()
    with pytest.raises(ClientClosed) as closed:
        await asyncio.wait_for(call, 30.0)
    assert closed.value.sent


def settling(origin: str, seen: list[str]) -> Flow[str]:
    """Flow: send a request; if the client is closed at the next step, say so."""
    yield Send(origin, "GET", "/", 60.0)
    try:
        yield Sleep(0.0)
    except ClientClosed as closed:
        seen.append(str(closed))
        raise KatoConsulError("what the flow says") from closed
    return "not closed"


def test_flow_learns_that_the_client_is_closed(kato_server: WireServer, settings: Settings) -> None:
    """`ClientClosed` is raised in the flow, which may raise another error in its place."""
    driver, seen = Driver(settings), list[str]()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(driver.run, settling(kato_server.origin, seen))
        assert eventually(lambda: silent_kato.requests_in_flight(kato_server) == 1, within=30.0)
        driver.close()
        assert str(call.exception(timeout=30.0)) == "what the flow says"
    assert seen == ["this client is closed; create a new one"]


def waits(kind: str) -> Flow[None]:
    """Flow: wait for a long time, in one of the ways in which flows wait."""
    if kind == "sleep":
        yield Sleep(60.0)
    else:
        yield WaitForChange(Observable(None), None, 60.0)


@pytest.mark.parametrize("kind", ["sleep", "change"])
def test_close_ends_waits_on_threads(kind: str) -> None:
    """A call that waits when the client is closed ends at once."""
    driver = Driver(Settings())
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(driver.run, waits(kind))
        assert eventually(lambda: len(driver._wakers) == 1, within=30.0)
        driver.close()
        assert isinstance(call.exception(timeout=30.0), ClientClosed)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["sleep", "change"])
async def test_aclose_ends_waits_on_tasks(kind: str) -> None:
    """As on threads."""
    driver = AsyncDriver(Settings())
    call = asyncio.create_task(driver.run(waits(kind)))
    await wait_until(lambda: len(driver._wakers) == 1)
    await driver.aclose()
    with pytest.raises(ClientClosed):
        await asyncio.wait_for(call, 30.0)


@pytest.mark.anyio
async def test_aclose_during_a_connect(engine: str) -> None:
    """A connection that is being established when the client is closed is given up."""
    gc.collect()
    before = open_sockets()
    with full_listener() as origin:
        inside = open_sockets()
        driver = AsyncDriver(Settings(engine=engine, connect_timeout=60.0))
        call = asyncio.create_task(driver.run(test_wire.send_one(origin, timeout=60.0)))
        await wait_until(lambda: len(open_sockets()) > len(inside))
        await driver.aclose()
        outcome = await asyncio.wait_for(call, 30.0)
        assert isinstance(outcome, Failure)
        assert (outcome.cause, outcome.bytes_sent) == (Cause.CLOSED, False)
    await wait_until(lambda: open_sockets() <= before)


@pytest.mark.anyio
@pytest.mark.parametrize("turns", range(12))
async def test_aclose_after_a_call_was_cancelled_while_connecting(turns: int, engine: str) -> None:
    """However far a cancelled call got, `aclose` returns and closes its socket."""
    gc.collect()
    before = open_sockets()
    with WireServer(wire_server.never_respond) as server:
        driver = AsyncDriver(Settings(engine=engine))
        call = asyncio.create_task(driver.run(test_wire.send_one(server.origin, timeout=60.0)))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(30.0):
            await driver.aclose()
    await wait_until(lambda: open_sockets() <= before)


@pytest.mark.anyio
async def test_cancelled_call_closes_its_connection(engine: str) -> None:
    """A cancelled call closes its connection: a late response would be taken for the next one."""

    def read_only(server: WireServer, connection: socket.socket) -> None:
        while server.read(connection):
            pass

    driver = AsyncDriver(Settings(engine=engine))
    with WireServer(read_only, wire_server.respond_ok) as server:
        call = asyncio.create_task(driver.run(test_wire.send_one(server.origin)))
        await wait_until(lambda: len(server.requests) == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
        await wait_until(lambda: server.closed == 1)
        assert isinstance(await driver.run(test_wire.send_one(server.origin)), Reply)
        assert server.connections == 2
        await driver.aclose()


@pytest.mark.anyio
async def test_aclose_ends_a_call_to_a_closed_origin(engine: str) -> None:
    """A call outlives the closing of its origin; `aclose` ends it and closes its socket."""
    gc.collect()
    before = open_sockets()
    driver = AsyncDriver(Settings(engine=engine))
    with WireServer(wire_server.never_respond) as server:
        call = asyncio.create_task(driver.run(test_wire.send_one(server.origin, timeout=60.0)))
        await wait_until(lambda: len(server.requests) == 1)
        await driver.run(test_wire.close_origin(server.origin))
        assert not call.done()
        await driver.aclose()
        outcome = await asyncio.wait_for(call, 10.0)
        assert isinstance(outcome, Failure)
        assert (outcome.cause, outcome.bytes_sent) == (Cause.CLOSED, True)
    await wait_until(lambda: open_sockets() <= before)
