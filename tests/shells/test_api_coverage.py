"""API coverage: each path of KATO's API has a typed method, sync and async, on a real fleet."""

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
    """Two instances, registered with an agent."""
    with Fleet(2) as made, Registrar(made.definitions, made.settings):
        yield made


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A session key that no other test uses."""
    return f"key-of-{request.node.name}"


def test_every_method_of_a_sync_session_works(fleet: Fleet, key: str) -> None:
    """Each method of a sync session works."""
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key, metadata={"owner": "test"}, ttl=600)
        assert not session.exists()
        session.observe(["b", "a"], emotives={"joy": 0.5})
        assert session.exists()
        info = session.info()
        assert (info["session_id"], info["node_id"]) == (session.id, key)
        assert 590 <= info["ttl_seconds"] <= 600
        assert info["metadata"]["owner"] == "test"
        assert session.percept_data()["strings"] == ["a", "b"]
        cognition = session.cognition_data()
        assert (cognition["time"], cognition["short_term_memory"]) == (1, [["a", "b"]])
        assert session.config()["max_predictions"] == 100
        session.set_config(max_predictions=5, max_pattern_length=2)
        assert session.config()["max_predictions"] == 5
        with pytest.raises(BadRequest) as refused:
            session.set_config(recall_threshold=7)
        assert "recall_threshold" in refused.value.detail["validation_errors"]
        assert session.observe(["c"])["stm_length"] == 0  # KATO learned at max_pattern_length
        session.extend(900)
        assert session.finalize_training()["patterns_processed"] >= 1
        assert session.settle() is None
        session.clear_all()
        assert session.stm() == []
        assert kato.node(key).symbols()["symbols"] == {}


@pytest.mark.anyio
async def test_every_method_of_an_async_session_works(fleet: Fleet, key: str) -> None:
    """Each method of an async session works."""
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


def test_every_method_of_a_node_works(fleet: Fleet, key: str) -> None:
    """Each query of a node works; an unknown pattern raises `NotFound`."""
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


def test_every_method_of_an_instance_works(fleet: Fleet, key: str) -> None:
    """Each query of one instance works; an unknown instance raises `NoInstances`."""
    with KatoClient(fleet.settings) as kato:
        kato.observe(key, ["one observation, so that metrics exist"])
        instance = kato.instance(str(kato.session(key).facts.instance))
        assert instance.root()["version"] == "3.10.1"
        assert instance.health()["status"] == "healthy"
        assert instance.status()["base_processor_id"] == "kato"
        assert "timestamp" in instance.metrics()
        metric = "kato_requests_total"
        assert instance.metric(metric)["metric_name"] == metric
        with pytest.raises(NotFound, match="No data available"):
            instance.metric("none")
        assert instance.stats(minutes=5)["time_range_minutes"] == 5
        assert instance.concurrency()["limits"]["per_worker"] == 100
        assert "status" in instance.connection_pools()
        assert "cache_performance" in instance.cache_stats()
        assert "status" in instance.cache_invalidate()
        assert "status" in instance.distributed_stm()
        assert instance.session_count()["active_session_count"] >= 0
        with pytest.raises(NotFound, match="test not found"):
            instance.echo("hello")
        with pytest.raises(NoInstances, match="no-such-id"):
            kato.instance("no-such-id").health()


@pytest.mark.anyio
async def test_on_all_returns_a_result_for_each_instance(fleet: Fleet) -> None:
    """`on_all` returns the result of each instance."""
    async with AsyncKatoClient(fleet.settings) as kato:
        uid = next(iter(fleet.instances))
        results = await kato.on_all(queries.status())
        assert set(results) == set(fleet.instances)
        assert (await kato.instance(uid).health())["status"] == "healthy"
        assert (await kato.node("unknown node").symbols())["symbols"] == {}
    with KatoClient(fleet.settings) as sync:
        assert set(sync.on_all(queries.health())) == set(fleet.instances)


def test_every_path_of_kato_has_a_query_or_session_method() -> None:
    """Each path in KATO's routes and recorded exchanges is used by a query or a session."""
    paths = json.loads((Path(__file__).parent / "paths.json").read_text(encoding="utf-8"))
    queried = {
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
    queried = {target.replace("%7B", "{").replace("%7D", "}") for target in queried}
    of_sessions = {path for path in paths if path.startswith("/sessions") and "test" not in path}
    assert set(paths) - of_sessions <= queried
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


def test_long_sequence_is_sent_in_chunks(fleet: Fleet, key: str) -> None:
    """A long sequence is sent in chunks, with progress; the result is that of one request."""
    progress: list[tuple[int, int]] = []
    with KatoClient(fleet.settings) as kato:
        session = kato.session(key)
        events = [[f"e{n:03}"] for n in range(250)]
        result = session.observe_sequence(
            events, chunk=100, progress=lambda done, of: progress.append((done, of))
        )
        assert progress == [(100, 250), (200, 250), (250, 250)]
        assert result["observations_processed"] == 250
        assert [one["sequence_position"] for one in result["results"]] == list(range(250))
        assert [one["time"] for one in result["results"]] == list(range(1, 251))
        assert (result["initial_stm_length"], result["final_stm_length"]) == (0, 250)
        assert session.stm() == events
        assert session.observe_sequence([])["observations_processed"] == 0


def test_sequence_can_be_continued_after_a_failure(fleet: Fleet, key: str) -> None:
    """After an error, ``applied`` is the index at which to continue once KATO is back."""
    settings = replace(fleet.settings, deadline=1.0)
    with KatoClient(settings) as kato:
        session = kato.session(key)
        events = [[f"e{n:02}"] for n in range(30)]

        def kill_all(done: int, of: int) -> None:
            for one in fleet.instances.values():
                one.kill()

        with pytest.raises((RequestNotSent, NoInstances)) as caught:
            session.observe_sequence(events, chunk=10, progress=kill_all)
        assert caught.value.applied == 10
        assert session.settle() is None  # certainly not sent: no outcome is open
        for one in fleet.instances.values():
            one.start()
        assert eventually(lambda: len(kato.discovery.snapshot().usable) == 2)
        session.observe_sequence(events[caught.value.applied :])
        assert session.stm() == events
