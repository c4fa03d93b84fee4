"""Clients and discovery on a real fleet, sync and async."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kato_consul import (
    AsyncDiscovery,
    AsyncKatoClient,
    BadRequest,
    ClientClosed,
    ConfigurationError,
    ConsulUnreachable,
    Discovery,
    Health,
    KatoClient,
    NoInstances,
    Settings,
    UnknownService,
    ValidationFailed,
)
from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet
from kato_consul.testing.ports import free_ports

EVENTS = [["wake"], ["coffee", "bread"], ["work"], ["sleep"]]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Three instances, registered with an agent."""
    with Fleet() as made, Registrar(made.definitions, made.settings):
        yield made
        for one in made.instances.values():
            one.kill()  # so that `stop` does not wait for abandoned calls


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A session key that no other test uses."""
    return f"key of {request.node.name}"


def test_sync_session_observes_learns_and_predicts(fleet: Fleet, key: str) -> None:
    """A sync session observes, learns, predicts, clears and deletes."""
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key)
        assert session.id is None
        assert [session.observe(event)["time"] for event in EVENTS] == [1, 2, 3, 4]
        assert session.id is not None
        assert session.stm() == [sorted(event) for event in EVENTS]
        assert str(session.learn()["pattern_name"]).startswith("PTRN|")
        assert session.stm() == []
        result = session.observe_sequence(EVENTS[:2])
        assert [one["time"] for one in result["results"]] == [5, 6]
        prediction = session.predictions()[0]
        assert prediction["present"] == [["wake"], ["bread", "coffee"]]
        assert prediction["future"] == EVENTS[2:]
        session.clear_stm()
        assert session.observe(["again"])["time"] == 1
        facts = session.facts
        assert (facts.time, facts.journal, facts.key) == (1, 1, key)
        assert facts.instance in fleet.instances
        session.delete()
        assert session.id is None
        session.delete()  # deleting again is not an error


@pytest.mark.anyio
async def test_async_session_observes_learns_and_predicts(fleet: Fleet, key: str) -> None:
    """An async session observes, learns, predicts, clears and deletes."""
    async with AsyncKatoClient(fleet.settings) as kato:
        session = kato.session(key)
        assert [(await session.observe(event))["time"] for event in EVENTS] == [1, 2, 3, 4]
        assert await session.stm() == [sorted(event) for event in EVENTS]
        assert str((await session.learn())["pattern_name"]).startswith("PTRN|")
        await session.observe_sequence(EVENTS[:2])
        prediction = (await session.predictions())[0]
        assert prediction["future"] == EVENTS[2:]
        await session.clear_stm()
        assert (await session.observe(["again"]))["time"] == 1
        await session.delete()
        assert session.id is None


def test_flat_methods_use_the_same_sessions(fleet: Fleet, key: str) -> None:
    """The client's own `observe`, `learn` and `get_predictions` use the sessions of `session`."""
    with KatoClient(fleet.settings) as kato:
        kato.observe(session_id=key, strings=["checkout"], emotives={"price": 0.4})
        assert kato.session(key).stm() == [["checkout"]]
        kato.learn(session_id=key)
        kato.observe(session_id=key, strings=["checkout"])
        assert isinstance(kato.get_predictions(session_id=key), list)


def test_single_symbol_predicts_a_list_of_events(fleet: Fleet, key: str) -> None:
    """For a single symbol KATO returns a flat list; the client returns a list of events."""
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key)
        session.observe_sequence([["a"], ["b"], ["c"]], learn_at_end=True)
        session.observe(["a"])
        assert session.predictions()[0]["future"] == [["b"], ["c"]]


def test_threads_on_one_session_lose_no_observation(fleet: Fleet, key: str) -> None:
    """KATO keeps all of 60 observations made on one session from 16 threads."""
    with KatoClient(fleet.settings) as kato, ThreadPoolExecutor(16) as pool:
        session = kato.session(key)
        times = list(pool.map(lambda n: session.observe([f"e{n:02}"])["time"], range(60)))
        assert sorted(times) == list(range(1, 61))
        assert sorted(event for (event,) in session.stm()) == [f"e{n:02}" for n in range(60)]


@pytest.mark.anyio
async def test_tasks_on_one_session_keep_the_call_order(fleet: Fleet, key: str) -> None:
    """KATO keeps 60 observations made on one session from 60 tasks, in the order of the calls."""
    async with AsyncKatoClient(fleet.settings) as kato:
        session = kato.session(key)
        await asyncio.gather(*(session.observe([f"e{n:02}"]) for n in range(60)))
        assert await session.stm() == [[f"e{n:02}"] for n in range(60)]


@pytest.mark.anyio
async def test_cancelled_observation_is_applied_at_most_once(fleet: Fleet, key: str) -> None:
    """A cancelled observation is applied once or not at all, and the next one comes after it."""
    async with AsyncKatoClient(fleet.settings) as kato:
        session = kato.session(key)
        await session.observe(["first"])
        for one in fleet.instances.values():
            one.switch(slow=0.3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.observe(["cancelled"]), 0.1)
        for one in fleet.instances.values():
            one.switch(slow=0.0)
        await session.observe(["last"])
        stm = await session.stm()
        assert stm in ([["first"], ["last"]], [["first"], ["cancelled"], ["last"]])
        assert session.facts.time == len(stm)


def test_errors_of_kato_are_raised_and_session_stays_usable(fleet: Fleet, key: str) -> None:
    """Errors that KATO returns are raised without a retry, and leave the session usable."""
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key)
        with pytest.raises(BadRequest, match="empty STM") as refused:
            session.learn()
        assert refused.value.status == 400
        unknown: Any = {"strings": ["x"], "unique_id": 5}
        with pytest.raises(ValidationFailed, match="unique_id"):
            session.observe_sequence([unknown])
        assert session.observe(["fine"])["time"] == 1


def test_invalid_configuration_that_kato_ignores_raises(fleet: Fleet, key: str) -> None:
    """KATO silently ignores an invalid configuration; the client raises `ConfigurationError`."""
    with (
        KatoClient(fleet.settings) as kato,
        pytest.raises(ConfigurationError, match="recall_threshold"),
    ):
        kato.session(key, config={"recall_threshold": 7}).observe(["x"])


def test_auto_learn_empties_the_journal(fleet: Fleet, key: str) -> None:
    """With max_pattern_length KATO learns and empties its STM by itself; the journal follows."""
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key, config={"max_pattern_length": 3})
        lengths = [session.observe([f"k{n}"])["stm_length"] for n in range(5)]
        assert lengths == [1, 2, 0, 1, 2]
        assert session.facts.journal == 2
        rolling = kato.session(
            f"{key} rolling", config={"max_pattern_length": 3, "stm_mode": "ROLLING"}
        )
        assert [rolling.observe([f"k{n}"])["stm_length"] for n in range(5)] == [1, 2, 2, 2, 2]
        assert rolling.stm() == [["k3"], ["k4"]]


def test_sync_discovery_lists_instances_and_unknown_service_raises(fleet: Fleet) -> None:
    """Discovery returns the registered instances; an unknown service raises with the known ones."""
    with Discovery(fleet.settings) as discovery:
        snapshot = discovery.snapshot()
        assert [one.id for one in snapshot.instances] == list(fleet.instances)
        assert all(one.health is Health.PASSING for one in snapshot.usable)
        assert discovery.current is snapshot
    other = Settings(consul_addr=fleet.agent.http_addr, service="kat")
    with Discovery(other) as discovery, pytest.raises(UnknownService, match="kato"):
        discovery.registered_snapshot()


@pytest.mark.anyio
async def test_async_discovery_yields_changes(fleet: Fleet) -> None:
    """`changes` yields a snapshot when an instance enters maintenance, and when it leaves it."""
    async with AsyncDiscovery(fleet.settings) as discovery:
        changes = discovery.changes()
        assert len((await anext(changes)).usable) == 3
        service_id = next(iter(fleet.instances))
        fleet.agent.cli("maint", "-enable", f"-service={service_id}", "-reason=test")
        drained = await anext(changes)
        states = {one.id: one.health for one in drained.instances}
        assert states[service_id] is Health.MAINTENANCE
        assert len(drained.usable) == 2
        fleet.agent.cli("maint", "-disable", f"-service={service_id}")
        assert len((await anext(changes)).usable) == 3
        await changes.aclose()


def test_unreachable_consul_raises_with_its_address() -> None:
    """Without an agent, a call fails at its deadline; the error has the address that was tried."""
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    settings = Settings(consul_addr=address, deadline=0.5)
    with KatoClient(settings) as kato, pytest.raises(ConsulUnreachable, match=address):
        kato.observe("any key", ["x"])


def test_service_without_instances_raises_no_instances(fleet: Fleet) -> None:
    """Without an instance, a call fails at its deadline; the error says what to do."""
    settings = Settings(consul_addr=fleet.agent.http_addr, service="none", deadline=2.0)
    with KatoClient(settings) as kato, pytest.raises(NoInstances, match="kato-consul register"):
        kato.observe("any key", ["x"])


def test_close_ends_a_blocking_query(fleet: Fleet) -> None:
    """Discovery that is closed during a blocking query leaves no thread and refuses calls."""
    before = set(threading.enumerate())
    with Discovery(fleet.settings) as discovery:
        discovery.snapshot()
        assert set(threading.enumerate()) - before
    assert set(threading.enumerate()) <= before
    with pytest.raises(ClientClosed):
        discovery.snapshot()


@pytest.mark.anyio
async def test_aclose_leaves_no_task(fleet: Fleet) -> None:
    """A closed async client leaves no task behind, and raises `ClientClosed` when used."""
    before = asyncio.all_tasks()
    kato = AsyncKatoClient(fleet.settings)
    await kato.observe("short", ["x"])
    assert asyncio.all_tasks() - before
    await kato.aclose()
    assert asyncio.all_tasks() == before
    with pytest.raises(ClientClosed):
        await kato.observe("short", ["x"])


def test_second_event_loop_is_refused(fleet: Fleet) -> None:
    """An async client that is used on a second event loop raises `ClientClosed`."""
    kato = AsyncKatoClient(fleet.settings)

    async def call_once() -> None:
        await kato.observe("loops", ["x"])

    with asyncio.Runner() as first:
        first.run(call_once())
        with asyncio.Runner() as second, pytest.raises(ClientClosed, match="another event loop"):
            second.run(call_once())
        first.run(kato.aclose())
