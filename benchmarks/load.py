"""Calls without pause for a while: how many came through, and what CPU they took here."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

AsyncCall = Callable[[int], Awaitable[object]]
"""One call by worker ``k``, which waits for it. Raises when it is not answered well."""
Call = Callable[[], object]

WARM = 0.15
"""Seconds before a measurement: connections are made, sessions opened, code is specialised."""


@dataclass(frozen=True)
class Sample:
    """One measurement: calls a second, and CPU of this process in µs for each."""

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
    """So many callers at once, each with its next call when the last one is answered."""

    async def callers(seconds: float) -> int:
        until = time.perf_counter() + seconds

        async def caller(k: int) -> int:
            calls = 0
            while time.perf_counter() < until:
                await call(k)
                calls += 1
            return calls

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(caller(k)) for k in range(in_flight)]
        return sum(task.result() for task in tasks)

    await callers(WARM)
    with _metered() as meter:
        meter.calls = await callers(seconds)
    return meter.sample()


def repeat(call: Call, seconds: float) -> Sample:
    """One caller, on this thread."""
    until = time.perf_counter() + WARM
    while time.perf_counter() < until:
        call()
    with _metered() as meter:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            call()
            meter.calls += 1
    return meter.sample()
