"""Each path of KATO has a typed method, and each works: sync and async, on a real fleet."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kato_consul import (
    AsyncKatoClient,
    BadRequest,
    KatoClient,
    NoInstances,
    NotFound,
    RequestNotSent,
    queries,
)
from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet
from tests.testing.waiting import eventually

EVENTS = [["a"], ["b"], ["c"]]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two instances behind an agent, registered."""
    with Fleet(2) as made, Registrar(made.definitions, made.settings):
        yield made


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A session key that no other test uses."""
    return f"key-of-{request.node.name}"


def test_session_sync(fleet: Fleet, key: str) -> None:
    """Everything that belongs to a session, sync."""
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key, metadata={"who": "test"}, ttl=600)
        assert not session.exists()
        session.observe(["b", "a"], emotives={"joy": 0.5})
        assert session.exists()
        info = session.info()
        assert (info["session_id"], info["node_id"]) == (session.id, key)
        assert 590 <= info["ttl_seconds"] <= 600
        assert info["metadata"]["who"] == "test"
        assert session.percept_data()["strings"] == ["a", "b"]
        mind = session.cognition_data()
        assert (mind["time"], mind["short_term_memory"]) == (1, [["a", "b"]])
        assert session.config()["max_predictions"] == 100
        session.set_config(max_predictions=5, max_pattern_length=2)
        assert session.config()["max_predictions"] == 5
        with pytest.raises(BadRequest) as refused:
            session.set_config(recall_threshold=7)
        assert "recall_threshold" in refused.value.detail["validation_errors"]
        assert session.observe(["c"])["stm_length"] == 0  # learned by itself, as configured
        session.extend(900)
        assert session.finalize_training()["patterns_processed"] >= 1
        assert session.settle() is None
        session.clear_all()
        assert session.stm() == []
        assert kato.node(key).symbols()["symbols"] == {}


@pytest.mark.anyio
async def test_session_async(fleet: Fleet, key: str) -> None:
    """Everything that belongs to a session, async."""
    async with AsyncKatoClient(fleet.settings) as kato:
        session = kato.session(key)
        assert not await session.exists()
        await session.observe(["a"])
        assert (await session.info())["node_id"] == key
        assert (await session.percept_data())["strings"] == ["a"]
        assert (await session.cognition_data())["time"] == 1
        await session.set_config(max_predictions=5)
        assert (await session.config())["max_predictions"] == 5
        await session.extend(900)
        await session.finalize_training()
        assert await session.settle() is None
        await session.clear_all()
        assert await session.stm() == []


def test_node(fleet: Fleet, key: str) -> None:
    """What a node has learned can be asked for; a pattern that is not there is an error."""
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key)
        for event in EVENTS:
            session.observe(event, emotives={"joy": 1.0})
        name = str(session.learn()["pattern_name"])
        node = kato.node(key)
        assert node.pattern(name)["pattern_data"] == EVENTS
        assert node.pattern(name)["frequency"] == 1
        assert set(node.symbols()["symbols"]) == {"a", "b", "c"}
        assert node.affinities()["affinities"]["a"] == {"joy": 1.0}
        assert node.affinity("a")["affinity"] == {"joy": 1.0}
        assert "warning" in node.percept_data()
        assert "warning" in node.cognition_data()
        with pytest.raises(NotFound, match="not found"):
            node.pattern("PTRN|none")


def test_instance(fleet: Fleet, key: str) -> None:
    """What belongs to one instance is asked of that one."""
    with KatoClient(fleet.settings) as kato:
        kato.observe(key, ["so that there is something to count"])
        one = kato.instance(str(kato.session(key).facts.instance))
        assert one.root()["version"] == "3.10.1"
        assert one.health()["status"] == "healthy"
        assert one.status()["base_processor_id"] == "kato"
        assert "timestamp" in one.metrics()
        metric = "kato_requests_total"
        assert one.metric(metric)["metric_name"] == metric
        with pytest.raises(NotFound, match="No data available"):
            one.metric("none")
        assert one.stats(minutes=5)["time_range_minutes"] == 5
        assert one.concurrency()["limits"]["per_worker"] == 100
        assert "status" in one.connection_pools()
        assert "cache_performance" in one.cache_stats()
        assert "status" in one.cache_invalidate()
        assert "status" in one.distributed_stm()
        assert one.session_count()["active_session_count"] >= 0
        with pytest.raises(NotFound, match="test not found"):
            one.echo("hello")
        with pytest.raises(NoInstances, match="nobody"):
            kato.instance("nobody").health()


@pytest.mark.anyio
async def test_all_instances(fleet: Fleet) -> None:
    """All can be asked at once; one that fails gives its error beside the others' answers."""
    async with AsyncKatoClient(fleet.settings) as kato:
        uid = next(iter(fleet.instances))
        answers = await kato.on_all(queries.status())
        assert set(answers) == set(fleet.instances)
        assert (await kato.instance(uid).health())["status"] == "healthy"
        assert (await kato.node("nobody").symbols())["symbols"] == {}
    with KatoClient(fleet.settings) as sync:
        assert set(sync.on_all(queries.health())) == set(fleet.instances)


def test_every_path_is_there() -> None:
    """Each path that KATO's recorded exchanges and routes show is asked by a query or a session."""
    known = json.loads((Path(__file__).parent / "paths.json").read_text(encoding="utf-8"))
    asked = {
        query.target.split("?")[0]
        for query in (
            queries.root(), queries.health(), queries.status(), queries.metrics(),
            queries.metric("{metric_name}"), queries.stats(), queries.concurrency(),
            queries.connection_pools(), queries.cache_stats(), queries.cache_invalidate(),
            queries.distributed_stm(), queries.session_count(), queries.echo("{test_id}"),
            queries.pattern("n", "{pattern_id}"), queries.symbols("n"), queries.affinities("n"),
            queries.affinity("n", "{symbol}"), queries.node_percept("n"),
            queries.node_cognition("n"),
        )
    }  # fmt: skip
    asked = {target.replace("%7B", "{").replace("%7D", "}") for target in asked}
    of_sessions = {path for path in known if path.startswith("/sessions") and "test" not in path}
    assert set(known) - of_sessions <= asked
    assert of_sessions == {
        "/sessions", "/sessions/count", "/sessions/{session_id}",
        *(
            f"/sessions/{{session_id}}/{verb}"
            for verb in (
                "exists", "config", "extend", "observe", "stm", "learn", "finalize-training",
                "clear-stm", "clear-all", "observe-sequence", "predictions", "percept-data",
                "cognition-data",
            )
        ),
    }  # fmt: skip


def test_long_sequence(fleet: Fleet, key: str) -> None:
    """A sequence longer than a chunk goes out in chunks, with progress, as if it were one."""
    told: list[tuple[int, int]] = []
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key)
        events = [[f"e{n:03}"] for n in range(250)]
        result = session.observe_sequence(
            events, chunk=100, progress=lambda done, of: told.append((done, of))
        )
        assert told == [(100, 250), (200, 250), (250, 250)]
        assert result["observations_processed"] == 250
        assert [one["sequence_position"] for one in result["results"]] == list(range(250))
        assert [one["time"] for one in result["results"]] == list(range(1, 251))
        assert (result["initial_stm_length"], result["final_stm_length"]) == (0, 250)
        assert session.stm() == events
        assert session.observe_sequence([])["observations_processed"] == 0


def test_sequence_goes_on_after_a_failure(fleet: Fleet, key: str) -> None:
    """After an error ``applied`` tells where to go on, when KATO is back."""
    settings = replace(fleet.settings, deadline=1.0)
    with KatoClient(settings) as kato:
        session = kato.session(key)
        events = [[f"e{n:02}"] for n in range(30)]

        def lose_all(done: int, of: int) -> None:
            for one in fleet.instances.values():
                one.kill()

        with pytest.raises((RequestNotSent, NoInstances)) as caught:
            session.observe_sequence(events, chunk=10, progress=lose_all)
        assert caught.value.applied == 10
        assert session.settle() is None  # it provably did not leave: nothing is open
        for one in fleet.instances.values():
            one.start()
        assert eventually(lambda: len(kato.discovery.snapshot().usable) == 2)
        session.observe_sequence(events[caught.value.applied :])
        assert session.stm() == events
