"""Load generators: closed-loop calls for a fixed time, with the rate and the CPU they took."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

AsyncCall = Callable[[int], Awaitable[object]]
"""One call of worker ``k``. Raises if the call fails."""
Call = Callable[[], object]

WARM_UP = 0.15
"""Seconds of load before a measurement: opens connections and sessions, specialises bytecode."""


@dataclass(frozen=True)
class Sample:
    """One measurement: calls per second, and µs of this process's CPU per call."""

    rate: float
    cpu: float


@dataclass
class _Meter:
    calls: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    def sample(self) -> Sample:
        return Sample(self.calls / self.wall, self.cpu / self.calls * 1e6)


@contextmanager
def _metered() -> Iterator[_Meter]:
    meter = _Meter()
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    yield meter
    meter.wall, meter.cpu = time.perf_counter() - wall, time.process_time() - cpu


async def drive(call: AsyncCall, seconds: float, in_flight: int) -> Sample:
    """Run ``in_flight`` workers for ``seconds``; each calls again when its last call returned."""

    async def run_workers(seconds: float) -> int:
        until = time.perf_counter() + seconds

        async def worker(k: int) -> int:
            calls = 0
            while time.perf_counter() < until:
                await call(k)
                calls += 1
            return calls

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(worker(k)) for k in range(in_flight)]
        return sum(task.result() for task in tasks)

    await run_workers(WARM_UP)
    with _metered() as meter:
        meter.calls = await run_workers(seconds)
    return meter.sample()


def repeat(call: Call, seconds: float) -> Sample:
    """Call again and again on this thread for ``seconds``."""
    until = time.perf_counter() + WARM_UP
    while time.perf_counter() < until:
        call()
    with _metered() as meter:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            call()
            meter.calls += 1
    return meter.sample()
