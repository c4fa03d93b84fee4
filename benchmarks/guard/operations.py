"""The operations that the guard counts: each is a step of a call in its most common case."""

import asyncio
import random
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.guard.instruction_count import count_instructions
from benchmarks.in_process.lone_directory import LoneDirectory
from benchmarks.in_process.stubs import (
    make_snapshot,
    stub_connections,
    with_fixed_clock,
    with_snapshot,
)
from benchmarks.testbed.kato_responses import BODY, JSON, STRINGS, PreparedKato, as_http
from kato_consul import AsyncKatoClient, KatoClient, Settings
from kato_consul._balancing.pool import Pool
from kato_consul._flow import Flow, Send
from kato_consul._http.endpoint import Endpoint
from kato_consul._http.http1 import ResponseParser, request_bytes
from kato_consul._kato import writes
from kato_consul._kato.execute import execute_write
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.write import Write
from kato_consul._observable import SnapshotStore
from kato_consul._owning.owned_sessions import OwnedSessions
from kato_consul._owning.owner import SessionOwner
from kato_consul._requests.failover import Failover
from kato_consul.testing.clock import ManualClock

WARM_UP_CALLS = 20
"""Calls before the first count: they open the session and the connection."""
COUNTED_CALLS = 5
"""Calls that are counted; the result is their median."""


def observe_flow(instances: int, owner: SessionOwner | None = None) -> int:
    """Count the flow of an observe alone: `execute_write`, without a driver."""
    clock, kato = ManualClock(), PreparedKato()
    store = SnapshotStore("kato")
    store.publish(make_snapshot(instances))
    uniform = random.Random(1).random
    api = KatoApi(Failover(store, Pool(clock, uniform), clock, uniform), 10.0, owner=owner)
    state = SessionState("guard", "guard")

    def observe() -> None:
        write: Write[Any] = writes.observe({"strings": STRINGS})
        deadline = clock() + 30.0
        if owner is None:
            _run(execute_write(api, state, deadline, write), kato)
        else:
            _run(owner.run(api, partial(execute_write, write=write), state, deadline), kato)

    return _median_count(observe)


def owned_observe_flow() -> int:
    """Count the same with a session directory, of a session that this process owns."""
    return observe_flow(3, SessionOwner(OwnedSessions(LoneDirectory(), keeps_observations=True)))


def serialize_request() -> int:
    """Count the conversion of a step into request bytes."""
    step = Send("http://10.0.0.1:8000", "POST", "/sessions/session-1/observe", 10.0, JSON, BODY)
    to = Endpoint("10.0.0.1", 8000, "10.0.0.1:8000", is_kato=True)
    return _median_count(lambda: request_bytes(step, to))


def parse_response() -> int:
    """Count the conversion of response bytes into a reply."""
    parser, kato = ResponseParser(), PreparedKato()

    def parse() -> None:
        parser.start_response()
        parser.feed(as_http(kato.body("/sessions/session-1/observe")))
        assert parser.complete
        parser.reply()

    return _median_count(parse)


def sync_observe() -> int:
    """Count `Session.observe`, from the caller to the socket and back."""
    with stub_connections():
        client = with_fixed_clock(with_snapshot(KatoClient(Settings()), make_snapshot(3)))
        try:
            session = client.session("guard")
            return _median_count(lambda: session.observe(STRINGS))
        finally:
            client.close()


def async_observe() -> int:
    """Count `AsyncSession.observe`, from the caller to the transport and back."""
    return asyncio.run(_async_observe())


async def _async_observe() -> int:
    counts = []
    with stub_connections():
        client = with_fixed_clock(with_snapshot(AsyncKatoClient(Settings()), make_snapshot(3)))
        session = client.session("guard")
        for _ in range(WARM_UP_CALLS):
            await session.observe(STRINGS)
        for _ in range(COUNTED_CALLS):
            with count_instructions() as count:
                await session.observe(STRINGS)  # never suspends, so the event loop does not run
            counts.append(count.instructions)
        await client.aclose()
    return statistics.median_low(counts)


OPERATIONS: dict[str, Callable[[], int]] = {
    "observe flow, 3 instances": lambda: observe_flow(3),
    "observe flow, 1,000 instances": lambda: observe_flow(1_000),
    "observe flow, owned session": owned_observe_flow,
    "serialize a request": serialize_request,
    "parse a response": parse_response,
    "async observe, caller to transport": async_observe,
    "sync observe, caller to socket": sync_observe,
}


def count_all() -> Iterator[tuple[str, int]]:
    """Yield the name and the current count of each operation."""
    for name, count in OPERATIONS.items():
        yield name, count()


def _median_count(operation: Callable[[], object]) -> int:
    for _ in range(WARM_UP_CALLS):
        operation()
    counts = []
    for _ in range(COUNTED_CALLS):
        with count_instructions() as count:
            operation()
        counts.append(count.instructions)
    return statistics.median_low(counts)


def _run(flow: Flow[Any], kato: PreparedKato) -> None:
    try:
        step = next(flow)
        while True:
            assert isinstance(step, Send)
            step = flow.send(kato.reply(step))
    except StopIteration:
        return
