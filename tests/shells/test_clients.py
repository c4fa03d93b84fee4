"""The clients and discoveries on a real fleet, sync and async."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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
from tests.testing.waiting import eventually

STORY = [["wake"], ["coffee", "bread"], ["work"], ["sleep"]]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Three instances behind an agent, registered."""
    with Fleet() as made, Registrar(made.definitions, made.settings):
        yield made


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A session key that no other test uses."""
    return f"key of {request.node.name}"


def test_sync(fleet: Fleet, key: str) -> None:
    """Observe, learn, predict, clear and delete with the sync client."""
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key)
        assert session.id is None
        assert [session.observe(event)["time"] for event in STORY] == [1, 2, 3, 4]
        assert session.id is not None
        assert session.stm() == [sorted(event) for event in STORY]
        assert str(session.learn()["pattern_name"]).startswith("PTRN|")
        assert session.stm() == []
        result = session.observe_sequence(STORY[:2])
        assert [one["time"] for one in result["results"]] == [5, 6]
        prediction = session.predictions()[0]
        assert prediction["present"] == [["wake"], ["bread", "coffee"]]
        assert prediction["future"] == STORY[2:]
        session.clear_stm()
        assert session.observe(["again"])["time"] == 1
        facts = session.facts
        assert (facts.time, facts.journal, facts.key) == (1, 1, key)
        assert facts.instance in fleet.instances
        session.delete()
        assert session.id is None
        session.delete()  # as good as deleted


@pytest.mark.anyio
async def test_async(fleet: Fleet, key: str) -> None:
    """Observe, learn, predict, clear and delete with the async client."""
    async with AsyncKatoClient(fleet.settings) as kato:
        session = kato.session(key)
        assert [(await session.observe(event))["time"] for event in STORY] == [1, 2, 3, 4]
        assert await session.stm() == [sorted(event) for event in STORY]
        assert str((await session.learn())["pattern_name"]).startswith("PTRN|")
        await session.observe_sequence(STORY[:2])
        prediction = (await session.predictions())[0]
        assert prediction["future"] == STORY[2:]
        await session.clear_stm()
        assert (await session.observe(["again"]))["time"] == 1
        await session.delete()
        assert session.id is None


def test_flat_style(fleet: Fleet, key: str) -> None:
    """The flat style works on the same sessions."""
    with KatoClient(fleet.settings) as kato:
        kato.observe(session_id=key, strings=["checkout"], emotives={"price": 0.4})
        assert kato.session(key).stm() == [["checkout"]]
        kato.learn(session_id=key)
        kato.observe(session_id=key, strings=["checkout"])
        assert isinstance(kato.get_predictions(session_id=key), list)


def test_a_lone_symbol_predicts_events_too(fleet: Fleet, key: str) -> None:
    """What KATO gives as a flat list for a single symbol comes as a list of events."""
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key)
        session.observe_sequence([["a"], ["b"], ["c"]], learn_at_end=True)
        session.observe(["a"])
        assert session.predictions()[0]["future"] == [["b"], ["c"]]


def test_threads_share_a_session_in_order(fleet: Fleet, key: str) -> None:
    """60 observations of one session from 16 threads: all kept."""
    with KatoClient(fleet.settings) as kato, ThreadPoolExecutor(16) as pool:
        session = kato.session(key)
        times = list(pool.map(lambda n: session.observe([f"e{n:02}"])["time"], range(60)))
        assert sorted(times) == list(range(1, 61))
        assert sorted(event for (event,) in session.stm()) == [f"e{n:02}" for n in range(60)]


@pytest.mark.anyio
async def test_tasks_share_a_session_in_order(fleet: Fleet, key: str) -> None:
    """60 observations of one session from 60 tasks: all kept, in the order they were made."""
    async with AsyncKatoClient(fleet.settings) as kato:
        session = kato.session(key)
        await asyncio.gather(*(session.observe([f"e{n:02}"]) for n in range(60)))
        assert await session.stm() == [[f"e{n:02}"] for n in range(60)]


@pytest.mark.anyio
async def test_a_cancelled_call_is_settled(fleet: Fleet, key: str) -> None:
    """Cancelled in the middle, an observation is there once or not at all; the next one follows."""
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


def test_kato_says_no(fleet: Fleet, key: str) -> None:
    """Errors of KATO's own come as they are, are not repeated, and leave the session usable."""
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key)
        with pytest.raises(BadRequest, match="empty STM") as refused:
            session.learn()
        assert refused.value.status == 400
        with pytest.raises(ValidationFailed, match="valid list"):
            session.observe("one text")
        assert session.observe(["fine"])["time"] == 1


def test_ignored_configuration_is_told(fleet: Fleet, key: str) -> None:
    """KATO ignores an invalid configuration without a word; we do not."""
    with (
        KatoClient(fleet.settings) as kato,
        pytest.raises(ConfigurationError, match="recall_threshold"),
    ):
        kato.session(key, config={"recall_threshold": 7}).observe(["x"])


def test_auto_learn_is_accounted_for(fleet: Fleet, key: str) -> None:
    """With max_pattern_length the memory empties itself, and the journal with it."""
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


def test_discovery(fleet: Fleet) -> None:
    """The sync discovery shows what is registered; an unknown service is told with the known."""
    with Discovery(fleet.settings) as discovery:
        snapshot = discovery.snapshot()
        assert [one.id for one in snapshot.instances] == list(fleet.instances)
        assert all(one.health is Health.PASSING for one in snapshot.usable)
        assert discovery.current is snapshot
    other = Settings(consul_addr=fleet.agent.http_addr, service="kat")
    with Discovery(other) as discovery, pytest.raises(UnknownService, match="kato"):
        discovery.registered_snapshot()


@pytest.mark.anyio
async def test_discovery_tells_changes(fleet: Fleet) -> None:
    """The async discovery iterates over changes: an instance in maintenance, and back."""
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


def test_no_consul() -> None:
    """Without an agent a call ends at its deadline with the address that was tried."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    settings = Settings(consul_addr=address, deadline=0.5)
    with KatoClient(settings) as kato, pytest.raises(ConsulUnreachable, match=address):
        kato.observe("anyone", ["x"])


def test_nobody_registered(fleet: Fleet) -> None:
    """Without an instance a call ends at its deadline and says what to do."""
    settings = Settings(consul_addr=fleet.agent.http_addr, service="none", deadline=2.0)
    with KatoClient(settings) as kato, pytest.raises(NoInstances, match="kato-consul register"):
        kato.observe("anyone", ["x"])


def test_closing_ends_a_blocked_watch(fleet: Fleet) -> None:
    """Closed in the middle of a blocking query, a discovery leaves no thread and no socket."""
    before = set(threading.enumerate())
    with Discovery(fleet.settings) as discovery:
        discovery.snapshot()
        assert set(threading.enumerate()) - before
    assert set(threading.enumerate()) <= before
    with pytest.raises(ClientClosed):
        discovery.snapshot()


def test_closing_while_in_use(fleet: Fleet, key: str) -> None:
    """A client that is closed while threads call ends their calls with an error, not a hang."""
    kato = KatoClient(fleet.settings)
    for one in fleet.instances.values():
        one.switch(slow=2.0)
    try:
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(kato.observe, f"{key} {n}", ["x"]) for n in range(4)]
            assert eventually(lambda: all(kato.session(f"{key} {n}").id for n in range(4)))
            began = time.monotonic()
            kato.close()
            errors = [call.exception(timeout=5.0) for call in calls]
        assert all(isinstance(error, ClientClosed) for error in errors), errors
        assert time.monotonic() - began < 5.0
    finally:
        for one in fleet.instances.values():
            one.switch(slow=0.0)


@pytest.mark.anyio
async def test_closing_leaves_no_task(fleet: Fleet) -> None:
    """Closed, the async client leaves no task behind and says so when it is used."""
    before = asyncio.all_tasks()
    kato = AsyncKatoClient(fleet.settings)
    await kato.observe("short", ["x"])
    assert asyncio.all_tasks() - before
    await kato.aclose()
    assert asyncio.all_tasks() == before
    with pytest.raises(ClientClosed):
        await kato.observe("short", ["x"])


def test_another_event_loop_is_refused(fleet: Fleet) -> None:
    """An async client used on a second loop says that it belongs to the first."""
    kato = AsyncKatoClient(fleet.settings)

    async def once() -> None:
        await kato.observe("loops", ["x"])

    with asyncio.Runner() as first:
        first.run(once())
        with asyncio.Runner() as second, pytest.raises(ClientClosed, match="another event loop"):
            second.run(once())
        first.run(kato.aclose())
