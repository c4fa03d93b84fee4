"""The stand-in KATO: its faults on demand.

tests/conformance tests what it has in common with the real KATO.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from kato_consul.testing.kato import StandInKato, flush_sessions
from kato_consul.testing.kato.switches import STORE_STATES, Switches
from tests.testing.http import NO_REUSE, create_session, is_busy, observe, read_stm
from tests.testing.waiting import eventually

MISSING = {"exists": False, "expired": False}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StandInKato, StandInKato]]:
    """Two instances that share a store."""
    folder = tmp_path_factory.mktemp("kato")
    store = folder / "store.sqlite"
    with (
        StandInKato(store=store, folder=folder) as one,
        StandInKato(store=store, folder=folder) as other,
    ):
        yield one, other


@pytest.fixture
def kato(pair: tuple[StandInKato, StandInKato]) -> Iterator[StandInKato]:
    """The first of the two instances; all switches are reset afterwards."""
    yield pair[0]
    pair[0].switch(healthy=True, slow=0, hung=False, store="up")


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """A client that does not reuse connections."""
    with httpx.Client(timeout=10, limits=NO_REUSE) as client:
        yield client


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for calls that run during the test."""
    with ThreadPoolExecutor() as pool:
        yield pool


def test_unhealthy_is_a_200_and_requests_still_work(http: httpx.Client, kato: StandInKato) -> None:
    """/health returns "unhealthy" with status 200, and the instance processes requests."""
    kato.switch(healthy=False)
    answer = http.get(f"{kato.url}/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "unhealthy")
    assert observe(http, kato, create_session(http, kato), "a").status_code == 200
    kato.switch(healthy=True)
    assert http.get(f"{kato.url}/health").json()["status"] == "healthy"


def test_issues_determine_the_reported_health(http: httpx.Client, kato: StandInKato) -> None:
    """/health reports the issues, with the status that KATO 3.10.1 has for them."""
    cpu, memory, errors = "High CPU usage", "High memory usage", "High error rate"
    for issues, status in (
        ([cpu], "degraded"),
        ([cpu, memory], "unhealthy"),
        ([memory, errors], "degraded"),  # as KATO: a later issue replaces the status
        ([], "healthy"),
    ):
        kato.switch(issues=issues)
        body = http.get(f"{kato.url}/health").json()
        assert (body["issues"], body["status"]) == (issues, status)


def test_slow_delays_between_reading_and_writing(
    http: httpx.Client,
    pair: tuple[StandInKato, StandInKato],
    kato: StandInKato,
    threads: ThreadPoolExecutor,
) -> None:
    """An observation that another instance saves meanwhile is lost; both return 200."""
    other = pair[1]
    session = create_session(http, kato)
    kato.switch(slow=2.0)
    started = time.monotonic()
    slow = threads.submit(observe, http, kato, session, "slow")
    assert eventually(lambda: is_busy(http, kato))  # the slow instance has read the session by now
    assert observe(http, other, session, "quick").json()["time"] == 1
    assert read_stm(http, other, session) == [["quick"]]
    assert slow.result().json()["time"] == 1
    assert time.monotonic() - started >= 2.0
    assert read_stm(http, other, session) == [["slow"]]


def test_slow_delays_reads_of_a_session(http: httpx.Client, kato: StandInKato) -> None:
    """Reading a session is slow too, but `exists` and /health are not."""
    session = create_session(http, kato)
    kato.switch(slow=1.0)
    assert seconds(http, f"{kato.url}{session}/stm") >= 1.0
    assert seconds(http, f"{kato.url}{session}/exists") < 1.0
    assert seconds(http, f"{kato.url}/health") < 1.0


def seconds(http: httpx.Client, url: str) -> float:
    """Return the duration of a request with status 200, in seconds."""
    started = time.monotonic()
    assert http.get(url).status_code == 200
    return time.monotonic() - started


def test_hung_delays_all_requests(
    http: httpx.Client, kato: StandInKato, threads: ThreadPoolExecutor
) -> None:
    """A hung instance accepts requests, and processes them when it no longer hangs."""
    session = create_session(http, kato)
    kato.switch(hung=True)
    calls: list[Future[httpx.Response]] = [
        threads.submit(http.get, f"{kato.url}/"),
        threads.submit(http.get, f"{kato.url}/health"),
        threads.submit(observe, http, kato, session, "late"),
    ]
    time.sleep(0.3)
    assert not any(call.done() for call in calls)
    kato.switch(hung=False)
    assert [call.result().status_code for call in calls] == [200, 200, 200]
    assert read_stm(http, kato, session) == [["late"]]


def test_hung_delays_the_event_stream(http: httpx.Client, kato: StandInKato) -> None:
    """A hung instance neither accepts a client of its event stream nor answers a heartbeat."""
    url = f"ws{kato.url.removeprefix('http')}/ws/events"
    with connect(url, proxy=None) as client:
        client.recv(10)
        kato.switch(hung=True)
        client.send("ping")
        with pytest.raises(TimeoutError):
            client.recv(0.3)
        with pytest.raises(TimeoutError), connect(url, proxy=None, open_timeout=0.3):
            pass
        kato.switch(hung=False)
        assert client.recv(10) == "pong"


def test_the_snapshot_without_the_store(kato: StandInKato) -> None:
    """While the store is down, the snapshot has the number of sessions that the worker handled."""
    kato.switch(store="down")
    with connect(f"ws{kato.url.removeprefix('http')}/ws/events", proxy=None) as client:
        assert json.loads(client.recv(10))["data"]["system_status"] == "healthy"


def test_a_hung_write_is_applied_after_its_caller_gave_up(
    http: httpx.Client, kato: StandInKato
) -> None:
    """An observation whose caller gave up is applied when the instance no longer hangs."""
    session = create_session(http, kato)
    kato.switch(hung=True)
    with pytest.raises(httpx.ReadTimeout):
        http.post(f"{kato.url}{session}/observe", json={"strings": ["late"]}, timeout=0.3)
    kato.switch(hung=False)
    assert eventually(lambda: read_stm(http, kato, session) == [["late"]])


def test_store_down_is_404_or_500(http: httpx.Client, kato: StandInKato) -> None:
    """Sessions appear missing (404); `exists` and creation return 500; /health is healthy."""
    session = create_session(http, kato)
    observe(http, kato, session, "a")
    kato.switch(store="down")
    error = observe(http, kato, session, "b")
    assert (error.status_code, error.json()["error"]["code"]) == (404, "SESSION_NOT_FOUND")
    for method, path in (
        ("GET", "/stm"),
        ("GET", "/predictions"),
        ("GET", "/config"),
        ("POST", "/learn"),
        ("POST", "/clear-stm"),
        ("DELETE", ""),
    ):
        answer = http.request(method, f"{kato.url}{session}{path}")
        assert answer.status_code == 404
        assert answer.json() == error.json()
    assert http.get(f"{kato.url}{session}").json() == {"detail": error.json()["error"]["message"]}
    for answer in (
        http.get(f"{kato.url}{session}/exists"),
        http.post(f"{kato.url}/sessions", json={"node_id": "n"}),
    ):
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    health = http.get(f"{kato.url}/health")
    assert (health.status_code, health.json()["status"]) == (200, "healthy")
    assert http.get(f"{kato.url}/sessions/count").status_code == 200
    kato.switch(store="up")
    assert read_stm(http, kato, session) == [["a"]]


def test_store_down_affects_one_instance_only(
    http: httpx.Client, pair: tuple[StandInKato, StandInKato], kato: StandInKato
) -> None:
    """The other instance can still use the store."""
    session = create_session(http, kato)
    kato.switch(store="down")
    assert observe(http, kato, session, "a").status_code == 404
    assert observe(http, pair[1], session, "a").status_code == 200


def test_store_full_loses_acknowledged_observations(http: httpx.Client, kato: StandInKato) -> None:
    """Observations are acknowledged but not saved; learning, creating and clearing fail."""
    session = create_session(http, kato)
    observe(http, kato, session, "a")
    kato.switch(store="full")
    for _ in range(2):
        answer = observe(http, kato, session, "b")
        assert answer.status_code == 200
        assert (answer.json()["time"], answer.json()["stm_length"]) == (2, 2)
    observe_two = {"observations": [{"strings": ["b"]}, {"strings": ["c"]}]}
    answer = http.post(f"{kato.url}{session}/observe-sequence", json=observe_two)
    assert (answer.status_code, answer.json()["final_stm_length"]) == (200, 3)
    assert read_stm(http, kato, session) == [["a"]]
    assert http.post(f"{kato.url}{session}/clear-stm").status_code == 404
    assert http.post(f"{kato.url}/sessions", json={"node_id": "n"}).status_code == 500
    assert http.get(f"{kato.url}{session}/exists").json()["exists"] is True
    kato.switch(store="up")
    observe(http, kato, session, "b")
    kato.switch(store="full")
    assert http.post(f"{kato.url}{session}/learn").status_code == 500
    kato.switch(store="up")
    assert read_stm(http, kato, session) == [["a"], ["b"]]


def test_store_hung_delays_calls_that_need_the_store(
    http: httpx.Client, kato: StandInKato, threads: ThreadPoolExecutor
) -> None:
    """All calls that need the store hang, /health included, until it responds again."""
    session = create_session(http, kato)
    kato.switch(store="hung")
    calls: list[Future[httpx.Response]] = [
        threads.submit(http.get, f"{kato.url}/health"),
        threads.submit(http.get, f"{kato.url}{session}/exists"),
        threads.submit(observe, http, kato, session, "a"),
    ]
    time.sleep(0.3)
    assert not any(call.done() for call in calls)
    kato.switch(store="up")
    assert [call.result().status_code for call in calls] == [200, 200, 200]
    assert read_stm(http, kato, session) == [["a"]]


def test_an_expired_session_is_counted(http: httpx.Client, kato: StandInKato) -> None:
    """As in KATO, only a deletion reduces the number of active sessions."""
    created = http.post(f"{kato.url}/sessions", json={"node_id": "n", "ttl_seconds": 1}).json()
    expiring, other = f"/sessions/{created['session_id']}", create_session(http, kato)

    def active() -> int:
        return int(http.get(f"{kato.url}/health").json()["active_sessions"])

    before = active()
    assert eventually(lambda: not http.get(f"{kato.url}{expiring}/exists").json()["exists"])
    assert active() == before
    http.delete(f"{kato.url}{other}")
    assert active() == before - 1


def test_invalid_switches_are_errors() -> None:
    """An unknown store state and a negative time raise ValueError."""
    for state in STORE_STATES:
        Switches(store=state)
    with pytest.raises(ValueError, match="it may be up, down, full, hung"):
        Switches(store="gone")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has 'High CPU'; it may have High CPU usage, High memory"):
        Switches(issues=("High CPU usage", "High CPU"))
    with pytest.raises(ValueError, match="issues has 'H'"):
        Switches(issues=tuple("High CPU usage"))
    with pytest.raises(ValueError, match="0 or more seconds"):
        Switches(slow=-1)


def test_flush_sessions_keeps_knowledge(http: httpx.Client, kato: StandInKato) -> None:
    """Sessions are deleted while the instance runs, and learned patterns are kept."""
    session = create_session(http, kato, "flushed")
    for string in "ab":
        observe(http, kato, session, string)
    name = http.post(f"{kato.url}{session}/learn").json()["pattern_name"]
    flush_sessions(kato.store)
    assert http.get(f"{kato.url}{session}/exists").json().items() >= MISSING.items()
    assert observe(http, kato, session, "c").status_code == 404
    answer = http.get(f"{kato.url}/pattern/{name}", params={"node_id": "flushed"}).json()
    assert answer["pattern"]["pattern"]["frequency"] == 1


def test_knowledge_is_separate_by_service_name(
    http: httpx.Client, kato: StandInKato, tmp_path: Path
) -> None:
    """Instances with different SERVICE_NAMEs share sessions, but no learned patterns."""
    with StandInKato(store=kato.store, name="other-name", folder=tmp_path) as other:
        session = create_session(http, kato, "divided")
        for string in "abc":
            observe(http, kato, session, string)
        http.post(f"{kato.url}{session}/learn")
        for string in "ab":
            observe(http, other, session, string)
        counts = [
            http.get(f"{one.url}{session}/predictions").json()["count"] for one in (kato, other)
        ]
        assert counts == [1, 0]
        status = http.get(f"{other.url}/status").json()
        assert status["base_processor_id"] == "other-name"
        stats = http.get(f"{other.url}/symbols/stats", params={"node_id": "divided"}).json()
        assert stats == {"symbols": {}, "node_id": "divided_other_name"}
