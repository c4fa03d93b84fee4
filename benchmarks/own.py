"""Our own work without a wire: picking, applying a snapshot, a call with many instances."""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable

from benchmarks.canned import STRINGS
from benchmarks.figures import Figure
from benchmarks.wireless import known, snapshot, without_engine, without_engine_async
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


def pick(instances: int) -> float:
    """µs of CPU for one pick of a session that lives somewhere: what each operation asks."""
    chosen = snapshot(instances)
    pool = Pool(time.monotonic, random.random)
    keys = [f"session-{n}" for n in range(SESSIONS)]
    homes = [pool.place_session(key, "", "", chosen) for key in keys]

    def once(n: int) -> None:
        place = n % SESSIONS
        homes[place] = pool.place_session(keys[place], *homes[place], chosen)
        assert pool.available(chosen, homes[place][1]) is not None

    return _each(once, PICKS)


def place(instances: int) -> float:
    """µs of CPU for the choice of a home: once in a session's life."""
    chosen = snapshot(instances)
    pool = Pool(time.monotonic, random.random)
    return _each(
        lambda n: pool.place_session(f"session-{n}", "", "", chosen), max(20, 20_000 // instances)
    )


class Applied:
    """Wake-ups of a watch, from an answer's bytes to what readers see."""

    def __init__(self, instances: int) -> None:
        self._numbers = range(instances)
        self._calls, self._board = ConsulApi("http://127.0.0.1:1"), SnapshotStore("kato")
        self._look = HealthQuery("kato")
        self._last: HealthResponse | None = None
        self._index = 1
        self._wake(self._body(-1))

    def changed_once(self) -> float:
        """ms of CPU when one instance's health is another than the time before."""
        self.fresh()
        return self._wake(self._body(0))

    def fresh(self) -> float:
        """ms of CPU when all is new, as at the start."""
        self._last = None
        return self._wake(self._body(-1))

    def unchanged(self) -> float:
        """ms of CPU of a wake-up without change: the same bytes under another index."""
        body = self._body(-1)
        self._wake(body)
        return self._wake(bytes(bytearray(body)))

    def _body(self, ill: int) -> bytes:
        return json.dumps(
            [entry(n, "critical" if n == ill else "passing") for n in self._numbers]
        ).encode()

    def _wake(self, body: bytes) -> float:
        self._index += 1
        reply = Reply(200, {"x-consul-index": str(self._index)}, body)
        began = time.process_time()
        question = self._calls.query_health(
            self._look, index=self._index - 1, wait=60.0, last=self._last
        )
        self._last = question.parse(reply)
        self._board.publish(self._last.snapshot, 0.0)
        assert self._board.current is not None
        _ = self._board.current.usable
        return (time.process_time() - began) * 1_000


def async_call(instances: int, sessions: int = SESSIONS) -> float:
    """µs of CPU of one observe, with an engine that answers at once."""

    async def measured() -> float:
        client = known(AsyncKatoClient(Settings()), snapshot(instances))
        client = without_engine_async(client)
        opened = [client.session(f"user-{n}") for n in range(sessions)]
        for one in opened:
            await one.observe(STRINGS)
        calls, began = max(CALLS, min(sessions, 20_000)), time.process_time()
        for n in range(calls):
            await opened[n * 7_919 % sessions].observe(STRINGS)
        took = time.process_time() - began
        await client.aclose()
        return took / calls * 1e6

    return asyncio.run(measured())


def sync_call(instances: int) -> float:
    """The same on a thread."""
    client = without_engine(known(KatoClient(Settings()), snapshot(instances)))
    opened = [client.session(f"user-{n}") for n in range(SESSIONS)]
    took = _each(lambda n: opened[n % SESSIONS].observe(STRINGS), CALLS)
    client.close()
    return took


def figures(rounds: int, say: Callable[[str], None]) -> list[Figure]:
    """The goals of what has no wire."""
    say("picks, snapshots and calls without a wire")
    ten, thousand, alone, sync = [], [], [], []
    new, changed, unchanged = [], [], []
    applied = Applied(1_000)
    for _ in range(rounds):
        ten.append(pick(10))
        thousand.append(pick(1_000))
        alone.append(async_call(3))
        sync.append(sync_call(3))
        new.append(applied.fresh())
        changed.append(applied.changed_once())
        unchanged.append(applied.unchanged())
    return [
        Figure("pick with affinity, 10 instances", "µs", ten, at_most=2),
        Figure("pick with affinity, 1,000 instances", "µs", thousand, at_most=5),
        Figure("a snapshot of 1,000 instances, all new", "ms of CPU", new, at_most=20),
        Figure("a snapshot of 1,000, one changed", "ms of CPU", changed, at_most=20),
        Figure("a wake-up without change, 1,000", "ms of CPU", unchanged),
        Figure("async call, engine answers at once", "µs of CPU", alone),
        Figure("sync call, engine answers at once", "µs of CPU", sync),
    ]


def _each(once: Callable[[int], object], times: int) -> float:
    for n in range(min(times, 200)):
        once(n)
    pieces = []
    for piece in range(5):  # the median of five: a garbage collection falls into one of them
        span = range(piece * times // 5, (piece + 1) * times // 5)
        began = time.process_time()
        for n in span:
            once(n)
        pieces.append((time.process_time() - began) / len(span) * 1e6)
    return statistics.median(pieces)
