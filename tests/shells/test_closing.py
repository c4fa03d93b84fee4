"""Closed in the middle of calls, a client leaves no thread, no task and no socket behind."""

import asyncio
import gc
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from kato_consul import AsyncKatoClient, ClientClosed, KatoClient
from kato_consul._async.driver import AsyncDriver
from kato_consul._flow import Cause, Failure, Reply
from kato_consul._sync.registrar import Registrar
from kato_consul.settings import Settings
from kato_consul.testing import Fleet
from tests.shells import test_wire, wire_server
from tests.shells.sockets import sockets
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually

CALLS = 6


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, while the loop goes on."""
    assert await asyncio.to_thread(eventually, condition, within=30.0)


@pytest.fixture(scope="module")
def registered() -> Iterator[Fleet]:
    """Two instances behind an agent, registered by nobody who stays."""
    with Fleet(2) as made:
        registrar = Registrar(made.definitions, made.settings)
        registrar.register()
        registrar.close()
        yield made


@pytest.fixture
def fleet(registered: Fleet) -> Iterator[Fleet]:
    """The fleet, which takes its time."""
    for one in registered.instances.values():
        one.switch(slow=3.0)
    yield registered
    for one in registered.instances.values():
        one.switch(slow=0.0)


def test_sync(fleet: Fleet, engine: str) -> None:
    """Calls in flight on threads end with `ClientClosed`, soon, and nothing stays."""
    gc.collect()
    sockets_before, threads_before = sockets(), set(threading.enumerate())
    kato = KatoClient(replace(fleet.settings, engine=engine))
    sessions = [kato.session(f"closing {engine} {number}") for number in range(CALLS)]
    with ThreadPoolExecutor(CALLS) as pool:
        calls = [pool.submit(one.observe, ["x"]) for one in sessions]
        assert eventually(lambda: all(one.id for one in sessions), within=30.0)
        kato.close()
        kato.close()
        errors = [call.exception(timeout=30.0) for call in calls]
    assert [type(error) for error in errors] == [ClientClosed] * CALLS, errors
    assert set(threading.enumerate()) <= threads_before
    assert eventually(lambda: sockets() <= sockets_before)


@pytest.mark.anyio
async def test_async(fleet: Fleet, engine: str) -> None:
    """Calls in flight on tasks end with `ClientClosed`, soon, and nothing stays."""
    gc.collect()
    sockets_before, tasks_before = sockets(), asyncio.all_tasks()
    kato = AsyncKatoClient(replace(fleet.settings, engine=engine))
    sessions = [kato.session(f"aclosing {engine} {number}") for number in range(CALLS)]
    calls = [asyncio.create_task(one.observe(["x"])) for one in sessions]
    await until(lambda: all(one.id for one in sessions))
    async with asyncio.timeout(30.0):
        await kato.aclose()
        await kato.aclose()
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [ClientClosed] * CALLS, errors
    assert asyncio.all_tasks() == tasks_before
    assert sockets() <= sockets_before


@pytest.mark.anyio
async def test_a_cancelled_call_drops_its_connection(engine: str) -> None:
    """A call that is cancelled takes its connection with it: the answer that comes later would be
    the next request's."""

    def says_nothing(server: WireServer, connection: socket.socket) -> None:
        while server.read(connection):
            pass

    driver = AsyncDriver(Settings(engine=engine))
    with WireServer(says_nothing, wire_server.answer) as server:
        call = asyncio.create_task(driver.run(test_wire.one(server.origin)))
        await until(lambda: len(server.requests) == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
        await until(lambda: server.closed == 1)
        assert isinstance(await driver.run(test_wire.one(server.origin)), Reply)
        assert server.connections == 2
        await driver.aclose()


@pytest.mark.anyio
async def test_closing_after_an_instance_left(engine: str) -> None:
    """A call to an instance that left goes on; closing ends it all the same, and its socket."""
    gc.collect()
    before = sockets()
    driver = AsyncDriver(Settings(engine=engine))
    with WireServer(wire_server.silence) as server:
        call = asyncio.create_task(driver.run(test_wire.one(server.origin, timeout=60.0)))
        await until(lambda: len(server.requests) == 1)
        await driver.run(test_wire.dropping(server.origin))
        assert not call.done()
        await driver.aclose()
        outcome = await asyncio.wait_for(call, 10.0)
        assert isinstance(outcome, Failure)
        assert (outcome.cause, outcome.bytes_sent) == (Cause.CUT, True)
    assert sockets() <= before
