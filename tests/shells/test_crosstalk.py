"""Crosstalk: no caller gets the response to another request, whatever is cancelled or late."""

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
from kato_consul.testing.ports import free_ports

CALLERS = 16
REQUESTS_EACH = 60
MAX_DELAY = 0.004
"""Longest delay of the server in seconds. Callers wait about as long, so all outcomes occur."""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond to each request with its target, after a random delay."""
    rng = random.Random(5)
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ", 2)[1]
            await asyncio.sleep(rng.uniform(0.0, MAX_DELAY))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(target))
            await asyncio.sleep(0)
            writer.write(target)
    except (OSError, EOFError):
        pass
    finally:
        writer.close()


@pytest.fixture
def origin() -> Iterator[str]:
    """The origin of a server that runs `echo`."""
    started = threading.Event()
    ports: list[int] = []
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", free_ports(1)[0], backlog=1_000)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()
        await stopping.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(10.0)
    yield f"http://127.0.0.1:{ports[0]}"
    loop.call_soon_threadsafe(stopping.set)
    thread.join()
    loop.close()


def send_one(origin: str, target: str, timeout: float) -> Flow[Outcome]:
    """Flow: send one request and return its outcome."""
    outcome: Outcome = yield Send(origin, "GET", target, timeout)
    return outcome


def classify(outcome: Outcome, target: str, timeout: float) -> str:
    """Return "answered" or "late". A response must echo the target; only short timeouts expire."""
    if isinstance(outcome, Reply):
        assert outcome.body.decode() == target
        return "answered"
    assert outcome.cause in (Cause.TIMEOUT, Cause.CONNECT), outcome
    assert timeout <= MAX_DELAY
    return "late"


@pytest.mark.anyio
async def test_tasks_get_only_their_own_responses(origin: str, engine: str) -> None:
    """Tasks share a driver; some of their calls are cancelled or time out."""
    driver = AsyncDriver(Settings(engine=engine))
    outcomes: Counter[str] = Counter()

    async def caller(number: int) -> None:
        rng = random.Random(number)
        for request in range(REQUESTS_EACH):
            target = f"/{number}/{request}"
            timeout = rng.choice((rng.uniform(0.001, MAX_DELAY), 10.0))
            call = asyncio.create_task(driver.run(send_one(origin, target, timeout)))
            if rng.random() < 0.3:
                await asyncio.sleep(rng.uniform(0.0, MAX_DELAY))
                call.cancel()
            try:
                outcomes[classify(await call, target, timeout)] += 1
            except asyncio.CancelledError:
                outcomes["cancelled"] += 1

    await asyncio.gather(*map(caller, range(CALLERS)))
    await driver.aclose()
    assert outcomes["answered"] > REQUESTS_EACH
    assert outcomes["cancelled"]
    assert outcomes["late"]


def test_threads_get_only_their_own_responses(origin: str, engine: str) -> None:
    """Threads share a driver; some of their calls time out."""
    driver = Driver(Settings(engine=engine))

    def caller(number: int) -> Counter[str]:
        rng = random.Random(number)
        outcomes: Counter[str] = Counter()
        for request in range(REQUESTS_EACH):
            target = f"/{number}/{request}"
            timeout = rng.choice((rng.uniform(0.001, MAX_DELAY), 10.0))
            outcome = driver.run(send_one(origin, target, timeout))
            outcomes[classify(outcome, target, timeout)] += 1
        return outcomes

    with ThreadPoolExecutor(CALLERS) as pool:
        outcomes = sum(pool.map(caller, range(CALLERS)), start=Counter[str]())
    driver.close()
    assert outcomes["answered"] > REQUESTS_EACH
    assert outcomes["late"]
