"""CPU costs without a network: picks, session placement, snapshots, calls with a stub engine."""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable

from benchmarks.figures import Figure, Progress
from benchmarks.in_process.stubs import (
    make_snapshot,
    with_async_stub_engine,
    with_lone_directory,
    with_snapshot,
    with_stub_engine,
)
from benchmarks.testbed.kato_responses import STRINGS
from kato_consul import AsyncKatoClient, KatoClient, Settings
from kato_consul._balancing.pool import Pool
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.health_query import HealthQuery, HealthResponse
from kato_consul._flow import Reply
from kato_consul._observable import SnapshotStore
from tests.discovery.measuring import entry

PICKS = 20_000
CALLS = 3_000
SESSIONS = 32
PAIRS, CALLS_OF_PAIR = 25, 200


def pick_us(instances: int) -> float:
    """Return µs of CPU to pick the instance of a placed session, once per operation."""
    snapshot = make_snapshot(instances)
    pool = Pool(time.monotonic, random.random)
    keys = [f"session-{n}" for n in range(SESSIONS)]
    placements = [pool.place_session(key, "", "", snapshot) for key in keys]

    def pick(n: int) -> None:
        k = n % SESSIONS
        placements[k] = pool.place_session(keys[k], *placements[k], snapshot)
        assert pool.available(snapshot, placements[k][1]) is not None

    return _us_each(pick, PICKS)


def place_us(instances: int) -> float:
    """Return µs of CPU to choose the primary instance of a new session."""
    snapshot = make_snapshot(instances)
    pool = Pool(time.monotonic, random.random)
    return _us_each(
        lambda n: pool.place_session(f"session-{n}", "", "", snapshot), max(20, 20_000 // instances)
    )


class SnapshotUpdates:
    """Updates of the watch, from the bytes of Consul's response to a published snapshot."""

    def __init__(self, instances: int) -> None:
        self._numbers = range(instances)
        self._consul, self._store = ConsulApi("http://127.0.0.1:1"), SnapshotStore("kato")
        self._query = HealthQuery("kato")
        self._last: HealthResponse | None = None
        self._index = 1
        self._update(self._body())

    def one_changed(self) -> float:
        """Return ms of CPU when one instance's health has changed."""
        self.all_new()
        return self._update(self._body(critical=0))

    def all_new(self) -> float:
        """Return ms of CPU when all instances are new, as at the start."""
        self._last = None
        return self._update(self._body())

    def unchanged(self) -> float:
        """Return ms of CPU when nothing changed: the same bytes with another index."""
        body = self._body()
        self._update(body)
        return self._update(bytes(bytearray(body)))

    def _body(self, critical: int = -1) -> bytes:
        return json.dumps(
            [entry(n, "critical" if n == critical else "passing") for n in self._numbers]
        ).encode()

    def _update(self, body: bytes) -> float:
        self._index += 1
        reply = Reply(200, {"x-consul-index": str(self._index)}, body)
        started = time.process_time()
        call = self._consul.query_health(
            self._query, index=self._index - 1, wait=60.0, last=self._last
        )
        self._last = call.parse(reply)
        self._store.publish(self._last.snapshot, 0.0)
        assert self._store.current is not None
        _ = self._store.current.usable
        return (time.process_time() - started) * 1_000


def async_call_us(instances: int, sessions: int = SESSIONS) -> float:
    """Return µs of CPU of one observe on asyncio, with a stub engine."""

    async def measure() -> float:
        client = with_snapshot(AsyncKatoClient(Settings()), make_snapshot(instances))
        client = with_async_stub_engine(client)
        opened = [client.session(f"user-{n}") for n in range(sessions)]
        for session in opened:
            await session.observe(STRINGS)
        calls, started = max(CALLS, min(sessions, 20_000)), time.process_time()
        for n in range(calls):
            await opened[n * 7_919 % sessions].observe(STRINGS)
        seconds = time.process_time() - started
        await client.aclose()
        return seconds / calls * 1e6

    return asyncio.run(measure())


def sync_call_us(instances: int) -> float:
    """Return µs of CPU of one observe on a thread, with a stub engine."""
    client = with_stub_engine(with_snapshot(KatoClient(Settings()), make_snapshot(instances)))
    opened = [client.session(f"user-{n}") for n in range(SESSIONS)]
    us = _us_each(lambda n: opened[n % SESSIONS].observe(STRINGS), CALLS)
    client.close()
    return us


def owned_us() -> float:
    """Return µs of CPU that a session directory adds to an observe of an owned session: the median
    of many pairs, each a few calls without and as many with it, with a stub engine."""
    alone = with_stub_engine(with_snapshot(KatoClient(Settings()), make_snapshot(3)))
    settings = Settings(session_directory="consul")
    sharing = with_stub_engine(with_snapshot(KatoClient(settings), make_snapshot(3)))
    clients = (alone, with_lone_directory(sharing))
    sessions = [client.session("user-1") for client in clients]

    def us(n: int) -> float:
        session, started = sessions[n], time.process_time()
        for _ in range(CALLS_OF_PAIR):
            session.observe(STRINGS)
        return (time.process_time() - started) / CALLS_OF_PAIR * 1e6

    us(0), us(1)
    added = statistics.median(-us(0) + us(1) for _ in range(PAIRS))
    for client in clients:
        client.close()
    return added


def figures(rounds: int, progress: Progress) -> list[Figure]:
    """Return the goals for work without a network."""
    progress("picks, snapshots and calls without a network")
    pick_10, pick_1000, async_call, sync_call, owned = [], [], [], [], []
    all_new, one_changed, unchanged = [], [], []
    updates = SnapshotUpdates(1_000)
    for _ in range(rounds):
        pick_10.append(pick_us(10))
        pick_1000.append(pick_us(1_000))
        async_call.append(async_call_us(3))
        sync_call.append(sync_call_us(3))
        owned.append(owned_us())
        all_new.append(updates.all_new())
        one_changed.append(updates.one_changed())
        unchanged.append(updates.unchanged())
    return [
        Figure("pick with affinity, 10 instances", "µs", pick_10, at_most=2),
        Figure("pick with affinity, 1,000 instances", "µs", pick_1000, at_most=5),
        Figure("added by an owned session to a call", "µs of CPU", owned, at_most=5),
        Figure("a snapshot of 1,000 instances, all new", "ms of CPU", all_new, at_most=20),
        Figure("a snapshot of 1,000, one changed", "ms of CPU", one_changed, at_most=20),
        Figure("a wake-up without change, 1,000", "ms of CPU", unchanged),
        Figure("async call, stub engine", "µs of CPU", async_call),
        Figure("sync call, stub engine", "µs of CPU", sync_call),
    ]


def _us_each(call: Callable[[int], object], times: int) -> float:
    for n in range(min(times, 200)):
        call(n)
    parts = []
    for part in range(5):  # the median of five, since a garbage collection can fall into one
        numbers = range(part * times // 5, (part + 1) * times // 5)
        started = time.process_time()
        for n in numbers:
            call(n)
        parts.append((time.process_time() - started) / len(numbers) * 1e6)
    return statistics.median(parts)
