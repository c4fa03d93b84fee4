"""Nobody gets another's answer, whatever is cancelled or too late meanwhile."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kato_consul._async.driver import AsyncDriver
from kato_consul._flow import Cause, Flow, Outcome, Reply, Send
from kato_consul._sync.driver import Driver
from kato_consul.settings import Settings

CALLERS = 16
EACH = 60
LONGEST = 0.004
"""Seconds that the server takes at most; callers wait about as long, so that all happens."""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with its target, a little later."""
    chance = random.Random(5)
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ", 2)[1]
            await asyncio.sleep(chance.uniform(0.0, LONGEST))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(target))
            await asyncio.sleep(0)
            writer.write(target)
    except (OSError, EOFError):
        pass
    finally:
        writer.close()


@pytest.fixture
def origin() -> Iterator[str]:
    """Where the echo is."""
    started = threading.Event()
    ports: list[int] = []
    loop = asyncio.new_event_loop()
    ending = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1_000)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()
        await ending.wait()
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(10.0)
    yield f"http://127.0.0.1:{ports[0]}"
    loop.call_soon_threadsafe(ending.set)
    thread.join()
    loop.close()


def asking(origin: str, target: str, timeout: float) -> Flow[Outcome]:
    """One request."""
    outcome: Outcome = yield Send(origin, "GET", target, timeout)
    return outcome


def told(outcome: Outcome, target: str, timeout: float) -> str:
    """What it was, in a word; an answer must be one's own, and so must the time."""
    if isinstance(outcome, Reply):
        assert outcome.body.decode() == target
        return "answered"
    assert outcome.cause in (Cause.TIMEOUT, Cause.CONNECT), outcome
    assert timeout <= LONGEST
    return "late"


@pytest.mark.anyio
async def test_tasks(origin: str, engine: str) -> None:
    """Tasks that share a driver, are cancelled or give up, and go on."""
    driver = AsyncDriver(Settings(engine=engine))
    seen: Counter[str] = Counter()

    async def caller(number: int) -> None:
        chance = random.Random(number)
        for turn in range(EACH):
            target = f"/{number}/{turn}"
            timeout = chance.choice((chance.uniform(0.001, LONGEST), 10.0))
            call = asyncio.create_task(driver.run(asking(origin, target, timeout)))
            if chance.random() < 0.3:
                await asyncio.sleep(chance.uniform(0.0, LONGEST))
                call.cancel()
            try:
                seen[told(await call, target, timeout)] += 1
            except asyncio.CancelledError:
                seen["cancelled"] += 1

    await asyncio.gather(*map(caller, range(CALLERS)))
    await driver.aclose()
    assert seen["answered"] > EACH
    assert seen["cancelled"]
    assert seen["late"]


def test_threads(origin: str, engine: str) -> None:
    """Threads that share a driver, give up, and go on."""
    driver = Driver(Settings(engine=engine))

    def caller(number: int) -> Counter[str]:
        chance = random.Random(number)
        seen: Counter[str] = Counter()
        for turn in range(EACH):
            target = f"/{number}/{turn}"
            timeout = chance.choice((chance.uniform(0.001, LONGEST), 10.0))
            outcome = driver.run(asking(origin, target, timeout))
            seen[told(outcome, target, timeout)] += 1
        return seen

    with ThreadPoolExecutor(CALLERS) as pool:
        seen = sum(pool.map(caller, range(CALLERS)), start=Counter[str]())
    driver.close()
    assert seen["answered"] > EACH
    assert seen["late"]
