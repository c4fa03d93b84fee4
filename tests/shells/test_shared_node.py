"""Sessions that share a node, as the visitors of a shop do, sync and async, on a real fleet.

A real KATO and the stand-in hang, or exchange memories, if predictions are processed with each
observation.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from kato_consul import AsyncKatoClient, AsyncSession, KatoClient, Session
from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet
from kato_consul.testing.kato import flush_sessions

LEARNED = [["tent"], ["rope", "stove"], ["boots"], ["map"]]
ANY_MATCH = {"recall_threshold": 0.0}
"""So that there are predictions however long the memory grows."""
SESSIONS, TURNS = 6, 10


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two instances, registered with an agent."""
    with Fleet(2) as made, Registrar(made.definitions, made.settings):
        yield made
        for one in made.instances.values():
            one.kill()  # a hung one does not end on SIGTERM


@pytest.fixture
def slow_fleet(fleet: Fleet) -> Iterator[Fleet]:
    """The fleet with calls slow enough to overlap."""
    for one in fleet.instances.values():
        one.switch(slow=0.01)
    yield fleet
    for one in fleet.instances.values():
        one.switch(slow=0.0)


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A session key and a node that no other test uses."""
    return f"key of {request.node.name}"


def test_sync_sessions_of_a_node_are_independent(slow_fleet: Fleet, engine: str, key: str) -> None:
    """Six sessions of a node observe and predict at the same time: no call fails or is repaired."""
    settings = replace(slow_fleet.settings, engine=engine)
    with KatoClient(settings) as kato, ThreadPoolExecutor(SESSIONS) as threads:
        kato.session(key).observe_sequence(LEARNED, learn_at_end=True)

        def visit(number: int) -> Session:
            session = kato.session(f"{key} {number}", node_id=key, config=ANY_MATCH)
            for turn in range(TURNS):
                assert session.observe(["stove", f"{number}-{turn}"])["time"] == turn + 1
                assert session.predictions()
            return session

        for number, session in enumerate(threads.map(visit, range(SESSIONS))):
            assert session.stm() == memory_of(number)
            assert (session.facts.repairs, session.facts.reopened) == (0, 0)


@pytest.mark.anyio
async def test_async_sessions_of_a_node_are_independent(
    slow_fleet: Fleet, engine: str, key: str
) -> None:
    """Six sessions of a node observe and predict at the same time: no call fails or is repaired."""
    async with AsyncKatoClient(replace(slow_fleet.settings, engine=engine)) as kato:
        await kato.session(key).observe_sequence(LEARNED, learn_at_end=True)

        async def visit(number: int) -> AsyncSession:
            session = kato.session(f"{key} {number}", node_id=key, config=ANY_MATCH)
            for turn in range(TURNS):
                assert (await session.observe(["stove", f"{number}-{turn}"]))["time"] == turn + 1
                assert await session.predictions()
            return session

        visits = await asyncio.gather(*(visit(number) for number in range(SESSIONS)))
        for number, session in enumerate(visits):
            assert await session.stm() == memory_of(number)
            assert (session.facts.repairs, session.facts.reopened) == (0, 0)


def memory_of(number: int) -> list[list[str]]:
    """Return the memory of a session after its visit."""
    return [sorted(["stove", f"{number}-{turn}"]) for turn in range(TURNS)]


def test_sync_cognition_data_has_predictions(fleet: Fleet, key: str) -> None:
    """They are in it whether or not KATO processes them, and always as lists of events."""
    with KatoClient(fleet.settings) as kato:
        by_default = kato.session(key)
        assert by_default.config()["process_predictions"] is False
        by_default.observe_sequence(LEARNED, learn_at_end=True)
        assert by_default.cognition_data()["predictions"] == []  # the memory is empty
        processing = kato.session(f"{key} 2", node_id=key, config={"process_predictions": True})
        for session in (by_default, processing):
            session.observe(["tent"])
            (prediction,) = session.cognition_data()["predictions"]
            assert prediction["future"] == [["rope"], ["stove"], ["boots"], ["map"]]
            session.observe(["stove"])
            assert session.cognition_data()["predictions"] == session.predictions()
            session.observe()  # KATO's own have none after an observation without symbols
        assert len(by_default.cognition_data()["predictions"]) == 1
        assert processing.cognition_data()["predictions"] == []


@pytest.mark.anyio
async def test_async_cognition_data_has_predictions(fleet: Fleet, key: str) -> None:
    """They are in it although KATO does not process them."""
    async with AsyncKatoClient(fleet.settings) as kato:
        session = kato.session(key)
        await session.observe_sequence(LEARNED, learn_at_end=True)
        await session.observe(["tent"])
        (prediction,) = (await session.cognition_data())["predictions"]
        assert prediction["future"] == [["rope"], ["stove"], ["boots"], ["map"]]


def test_reopened_session_processes_predictions_as_configured(fleet: Fleet, key: str) -> None:
    """The default, what `session` was given and what `set_config` changed are all kept."""
    with KatoClient(fleet.settings) as kato:
        by_default = kato.session(key)
        named = kato.session(f"{key} named", config={"process_predictions": True})
        changed = kato.session(f"{key} changed")
        for session in (by_default, named, changed):
            session.observe(["tent"])
        changed.set_config(process_predictions=True)
        flush_sessions(fleet.folder / "store.sqlite")
        for session, processes in ((by_default, False), (named, True), (changed, True)):
            assert session.config()["process_predictions"] is processes
            assert session.stm() == [["tent"]]
            assert session.facts.reopened == 1
