"""One session, many callers, many processes: here KATO alone keeps 28 of 60 or fewer."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from kato_consul import AsyncKatoClient, CheckDefinition, KatoClient, ServiceDefinition, Settings
from kato_consul._sync.registrar import Registrar
from kato_consul.testing import ConsulAgent, StandInKato
from kato_consul.testing.history import Final, read_session

CALLERS = 16
OBSERVATIONS = 60
SYMBOLS = [f"observation {number:02}" for number in range(OBSERVATIONS)]
IN_ORDER = Final(OBSERVATIONS, [(symbol,) for symbol in SYMBOLS])


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[StandInKato]]:
    """Three instances with four worker processes each, on one store."""
    folder: Path = tmp_path_factory.mktemp("workers")
    with contextlib.ExitStack() as opened, ThreadPoolExecutor(3) as pool:
        started = [StandInKato(store=folder / "store.sqlite", workers=4) for _ in range(3)]
        list(pool.map(opened.enter_context, started))
        yield started


@pytest.fixture(scope="module")
def settings(instances: list[StandInKato]) -> Iterator[Settings]:
    """Settings of a client; the instances are registered."""
    with ConsulAgent() as agent:
        client_settings = Settings(consul_addr=agent.http_addr)
        definitions = [
            ServiceDefinition(
                name=client_settings.service,
                address=one.host,
                port=one.port,
                check=CheckDefinition(interval="1s", timeout="1s"),
            )
            for one in instances
        ]
        with Registrar(definitions, client_settings):
            yield client_settings


def test_without_the_client_observations_are_lost(instances: list[StandInKato]) -> None:
    """Without the client, observations of one session sent to three instances at once are lost.
    Otherwise the tests below would prove nothing."""
    urls = itertools.cycle([one.url for one in instances])
    created = httpx.post(f"{instances[0].url}/sessions", json={"node_id": "alone"}, trust_env=False)
    path = f"/sessions/{created.json()['session_id']}"

    def observe(symbol: str) -> int:
        body = {"strings": [symbol]}
        return httpx.post(f"{next(urls)}{path}/observe", json=body, trust_env=False).status_code

    for one in instances:
        one.switch(slow=0.05)  # so that observations overlap on a busy machine too
    try:
        with ThreadPoolExecutor(CALLERS) as pool:
            assert set(pool.map(observe, SYMBOLS)) == {200}
    finally:
        for one in instances:
            one.switch(slow=0.0)
    final = read_session(instances[0].url, created.json()["session_id"])
    assert final is not None
    assert len(final.stm) < OBSERVATIONS


@pytest.mark.anyio
async def test_tasks_keep_all_in_order(instances: list[StandInKato], settings: Settings) -> None:
    """60 observations of one session from 16 tasks: 60 kept, in the order they were submitted."""
    async with AsyncKatoClient(settings) as kato:
        session = kato.session("tasks")
        queue = iter(SYMBOLS)

        async def caller() -> list[int]:
            # Nothing is awaited between taking a symbol and queueing for the session's lock.
            return [(await session.observe([symbol]))["time"] for symbol in queue]

        times = await asyncio.gather(*(caller() for _ in range(CALLERS)))
        assert sorted(itertools.chain(*times)) == list(range(1, OBSERVATIONS + 1))
        assert read_session(instances[0].url, session.id) == IN_ORDER
        assert (session.facts.repairs, session.facts.settlements) == (0, 0)


def test_threads_keep_all_at_their_position(
    instances: list[StandInKato], settings: Settings
) -> None:
    """60 observations of one session from 16 threads: 60 kept, each at its returned position."""
    with KatoClient(settings) as kato, ThreadPoolExecutor(CALLERS) as pool:
        session = kato.session("threads")
        start = threading.Barrier(CALLERS)
        queue = iter(SYMBOLS)
        positions: dict[int, str] = {}

        def caller(_: int) -> None:
            start.wait(10.0)
            for symbol in queue:
                positions[session.observe([symbol])["time"]] = symbol

        list(pool.map(caller, range(CALLERS)))
        assert sorted(positions) == list(range(1, OBSERVATIONS + 1))
        final = read_session(instances[0].url, session.id)
        assert final is not None
        assert final.stm == [(positions[position],) for position in sorted(positions)]
        assert sorted(positions.values()) == SYMBOLS
        assert (session.facts.repairs, session.facts.settlements) == (0, 0)
