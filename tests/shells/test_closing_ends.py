"""Closing ends: when its caller is cancelled, when something does not end, on other loops."""

import asyncio
import contextlib
import threading

import pytest

from kato_consul import AsyncDiscovery, ClientClosed, Settings
from kato_consul._async import driver as async_driver
from kato_consul._async.driver import AsyncDriver
from kato_consul._sync import driver as sync_driver
from kato_consul._sync.driver import Driver
from tests.event_loops import EVENT_LOOPS, loop_factory
from tests.shells.one_instance_consul import list_one_instance
from tests.shells.wire_server import WireServer


@pytest.fixture(params=EVENT_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """The async tests run on each event loop."""
    return "asyncio", {"loop_factory": loop_factory(request.param)}


@pytest.mark.anyio
async def test_cancelled_aclose_closes_and_is_cancelled() -> None:
    """If the caller of `aclose` is cancelled, the client is closed, and the caller is cancelled."""
    driver = AsyncDriver(Settings())
    ended = asyncio.Event()

    async def end_slowly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)
            ended.set()

    driver.start_work(end_slowly, "slow")
    await asyncio.sleep(0)
    closing = asyncio.create_task(driver.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert ended.is_set()


@pytest.mark.anyio
async def test_aclose_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`aclose` returns although something does not end, and logs what."""
    monkeypatch.setattr(async_driver, "CLOSE_TIMEOUT", 0.1)
    driver, go_on = AsyncDriver(Settings()), asyncio.Event()

    async def never_end() -> None:
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()

    work = driver.start_work(never_end, "endless work")
    await asyncio.sleep(0)
    async with asyncio.timeout(30.0):
        await driver.aclose()
    assert "close.incomplete" in caplog.text
    assert "endless work" in caplog.text
    go_on.set()
    await work


def test_close_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`close` returns although a thread does not end, and logs which."""
    monkeypatch.setattr(sync_driver, "CLOSE_TIMEOUT", 0.1)
    driver, go_on = Driver(Settings()), threading.Event()

    def wait() -> None:
        go_on.wait(60.0)

    work = driver.start_work(wait, "endless work")
    driver.close()
    assert "close.incomplete" in caplog.text
    assert "endless work" in caplog.text
    go_on.set()
    work.join()


def test_close_from_a_background_thread() -> None:
    """A callback on a thread of the client may close it."""
    driver = Driver(Settings())
    errors: list[BaseException] = []

    def close() -> None:
        try:
            driver.close()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    driver.start_work(close, "closing").join()
    assert errors == []


@pytest.mark.anyio
async def test_aclose_on_another_loop_is_refused() -> None:
    """A client is closed on the event loop to which it belongs."""
    driver = AsyncDriver(Settings())
    driver.check_usable()

    def close_elsewhere() -> None:
        asyncio.run(driver.aclose())

    with pytest.raises(ClientClosed, match="another event loop"):
        await asyncio.to_thread(close_elsewhere)
    driver.check_usable()
    await driver.aclose()


def test_aclose_when_the_loop_is_closed() -> None:
    """A client whose event loop has ended can be closed on a new one."""
    driver = AsyncDriver(Settings())

    async def use() -> None:
        driver.check_usable()

    asyncio.run(use())
    asyncio.run(driver.aclose())
    with pytest.raises(ClientClosed, match="closed"):
        asyncio.run(use())


@pytest.mark.parametrize("engine", ["httptools", "httpx"])
def test_aclose_when_the_loop_is_stopped(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed from another loop, it does not wait: the stopped loop closes it when it runs again."""
    monkeypatch.setattr(async_driver, "CLOSE_TIMEOUT", 600.0)
    own_loop = asyncio.new_event_loop()
    with WireServer(list_one_instance) as consul:
        discovery = AsyncDiscovery(Settings(consul_addr=consul.origin, engine=engine))
        own_loop.run_until_complete(discovery.snapshot())
        closing = threading.Thread(target=lambda: asyncio.run(discovery.aclose()))
        closing.start()
        closing.join(60.0)
        assert not closing.is_alive()
        with pytest.raises(ClientClosed):
            own_loop.run_until_complete(discovery.snapshot())

        async def until_no_task_is_left() -> None:
            await asyncio.sleep(0)  # now the loop has begun to close it
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if others:
                await asyncio.wait(others, timeout=60.0)
            assert len(asyncio.all_tasks()) == 1

        own_loop.run_until_complete(until_no_task_is_left())
    own_loop.close()
