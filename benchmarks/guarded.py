"""What the guard counts: each is one step of a call as it is most of the time."""

import asyncio
import random
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.canned import BODY, JSON, STRINGS, Kato, on_the_wire
from benchmarks.counting import counting
from benchmarks.wireless import known, snapshot, timeless, wired
from kato_consul import AsyncKatoClient, KatoClient, Settings
from kato_consul._balancing.pool import Pool
from kato_consul._flow import Flow, Send
from kato_consul._http.http1 import ResponseParser, request_bytes
from kato_consul._kato import writes
from kato_consul._kato.execute import execute
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.writes import Write
from kato_consul._observable import SnapshotStore
from kato_consul._requests.failover import Failover
from kato_consul.testing.clock import ManualClock

BEFORE = 20
"""Calls that go before: by then the session is open, and the connection there."""
COUNTED = 5
"""Calls that are counted, of which the middle one stands for all."""


def flow_of_an_observe(instances: int) -> int:
    """Deciding alone: `perform`, without a driver."""
    clock, kato = ManualClock(), Kato()
    store = SnapshotStore("kato")
    store.publish(snapshot(instances))
    chance = random.Random(1).random
    api = KatoApi(Failover(store, Pool(clock, chance), clock, chance), 10.0)
    state = SessionState("guard", "guard")

    def observe() -> None:
        write: Write[Any] = writes.observe({"strings": STRINGS})
        _run(execute(api, state, clock() + 30.0, write), kato)

    return _middle(observe)


def request_as_bytes() -> int:
    """What goes out, from a step."""
    step = Send("http://10.0.0.1:8000", "POST", "/sessions/session-1/observe", 10.0, JSON, BODY)
    return _middle(lambda: request_bytes(step, "10.0.0.1:8000"))


def answer_from_bytes() -> int:
    """What came in, to a reply."""
    answers, kato = ResponseParser(), Kato()

    def read() -> None:
        answers.start_response()
        answers.feed(on_the_wire(kato.body("/sessions/session-1/observe")))
        assert answers.complete
        answers.reply()

    return _middle(read)


def sync_observe() -> int:
    """`Session.observe`, from the caller to the socket and back."""
    with wired():
        client = timeless(known(KatoClient(Settings()), snapshot(3)))
        try:
            session = client.session("guard")
            return _middle(lambda: session.observe(STRINGS))
        finally:
            client.close()


def async_observe() -> int:
    """`AsyncSession.observe`, from the caller to the transport and back."""
    return asyncio.run(_async_observe())


async def _async_observe() -> int:
    counts = []
    with wired():
        client = timeless(known(AsyncKatoClient(Settings()), snapshot(3)))
        session = client.session("guard")
        for _ in range(BEFORE):
            await session.observe(STRINGS)
        for _ in range(COUNTED):
            with counting() as count:
                await session.observe(STRINGS)  # answered at once: the loop has no turn in between
            counts.append(count.instructions)
        await client.aclose()
    return statistics.median_low(counts)


GUARDED: dict[str, Callable[[], int]] = {
    "flow of an observe, 3 instances": lambda: flow_of_an_observe(3),
    "flow of an observe, 1,000 instances": lambda: flow_of_an_observe(1_000),
    "request as bytes": request_as_bytes,
    "answer from bytes": answer_from_bytes,
    "async observe, to the wire and back": async_observe,
    "sync observe, to the wire and back": sync_observe,
}


def counts() -> Iterator[tuple[str, int]]:
    """Each, counted now."""
    for name, count in GUARDED.items():
        yield name, count()


def _middle(once: Callable[[], object]) -> int:
    for _ in range(BEFORE):
        once()
    found = []
    for _ in range(COUNTED):
        with counting() as count:
            once()
        found.append(count.instructions)
    return statistics.median_low(found)


def _run(flow: Flow[Any], kato: Kato) -> None:
    try:
        step = next(flow)
        while True:
            assert isinstance(step, Send)
            step = flow.send(kato.reply(step))
    except StopIteration:
        return
