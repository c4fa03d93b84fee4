"""After a 500 the connection is closed. It must not be in use by another caller by then."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kato_consul._async.driver import AsyncDriver
from kato_consul._flow import Flow, Outcome, Reply, Send
from kato_consul._sync.driver import Driver
from kato_consul.settings import Settings
from kato_consul.testing.ports import free_ports

CALLERS = 12
SECONDS = 2.0
ANSWER = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain\r\n"
    b"content-length: 21\r\n\r\nInternal Server Error"
)


@pytest.fixture
def origin() -> Iterator[str]:
    """A server that responds with 500 to all requests and keeps connections open."""
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(ANSWER)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def serve() -> asyncio.Server:
        return await asyncio.start_server(answer, "127.0.0.1", free_ports(1)[0], backlog=1_000)

    async def end() -> None:
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    server = loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    asyncio.run_coroutine_threadsafe(end(), loop).result(10.0)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def request(origin: str) -> Flow[Outcome]:
    """Flow: send one request."""
    outcome: Outcome = yield Send(origin, "GET", "/", 5.0)
    return outcome


def describe(outcome: Outcome) -> str:
    """Return a short description of the outcome."""
    return str(outcome.status) if isinstance(outcome, Reply) else str(outcome)


def test_threads_do_not_close_each_others_connections(origin: str) -> None:
    """Threads that share a driver never interrupt each other's requests."""
    driver = Driver(Settings())
    until = time.monotonic() + SECONDS

    def caller(_: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        while time.monotonic() < until:
            seen[describe(driver.run(request(origin)))] += 1
        return seen

    try:
        with ThreadPoolExecutor(CALLERS) as pool:
            seen = sum(pool.map(caller, range(CALLERS)), start=Counter[str]())
    finally:
        driver.close()
    assert set(seen) == {"500"}, seen


@pytest.mark.anyio
async def test_tasks_do_not_close_each_others_connections(origin: str) -> None:
    """Tasks that share a driver never interrupt each other's requests."""
    driver = AsyncDriver(Settings())
    until = time.monotonic() + SECONDS

    async def caller() -> Counter[str]:
        seen: Counter[str] = Counter()
        while time.monotonic() < until:
            seen[describe(await driver.run(request(origin)))] += 1
        return seen

    try:
        counts = await asyncio.gather(*(caller() for _ in range(CALLERS)))
        seen = sum(counts, start=Counter[str]())
    finally:
        await driver.aclose()
    assert set(seen) == {"500"}, seen
