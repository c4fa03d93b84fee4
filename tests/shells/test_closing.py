"""Closing and cancelling during calls: no thread, no task and no socket is left behind."""

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
from tests.shells.sockets import open_sockets
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually

CALLS = 6


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, without blocking the event loop."""
    assert await asyncio.to_thread(eventually, condition, within=30.0)


@pytest.fixture(scope="module")
def registered() -> Iterator[Fleet]:
    """Two instances, registered with an agent; no registrar stays."""
    with Fleet(2) as made:
        registrar = Registrar(made.definitions, made.settings)
        registrar.register()
        registrar.close()
        yield made
        for one in made.instances.values():
            one.kill()  # so that `stop` does not wait for abandoned calls


@pytest.fixture
def fleet(registered: Fleet) -> Iterator[Fleet]:
    """The fleet, with slow instances."""
    for one in registered.instances.values():
        one.switch(slow=60.0)
    yield registered
    for one in registered.instances.values():
        one.switch(slow=0.0)


def test_close_ends_calls_on_threads_and_leaves_nothing(fleet: Fleet, engine: str) -> None:
    """Calls in flight on threads end with `ClientClosed`, without delay; nothing is left."""
    gc.collect()
    sockets_before, threads_before = open_sockets(), set(threading.enumerate())
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
    assert eventually(lambda: open_sockets() <= sockets_before)


@pytest.mark.anyio
async def test_aclose_ends_calls_on_tasks_and_leaves_nothing(fleet: Fleet, engine: str) -> None:
    """Calls in flight on tasks end with `ClientClosed`, without delay; nothing is left."""
    gc.collect()
    sockets_before, tasks_before = open_sockets(), asyncio.all_tasks()
    kato = AsyncKatoClient(replace(fleet.settings, engine=engine))
    sessions = [kato.session(f"aclosing {engine} {number}") for number in range(CALLS)]
    calls = [asyncio.create_task(one.observe(["x"])) for one in sessions]
    await wait_until(lambda: all(one.id for one in sessions))
    async with asyncio.timeout(30.0):
        await kato.aclose()
        await kato.aclose()
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [ClientClosed] * CALLS, errors
    assert asyncio.all_tasks() == tasks_before
    assert open_sockets() <= sockets_before


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
        assert (outcome.cause, outcome.bytes_sent) == (Cause.CUT, True)
    assert open_sockets() <= before
