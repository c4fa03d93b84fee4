"""Scaling: how costs grow with instances, sessions and calls in flight."""

import asyncio
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.clients import async_clients
from benchmarks.clients.comparison import why_not_measurable
from benchmarks.figures import Progress
from benchmarks.in_process import cpu_costs, memory
from benchmarks.load import drive
from benchmarks.testbed.processes import Testbed

INSTANCES = (1, 3, 10, 100, 1_000)
SESSIONS = (1, 100, 1_000, 10_000, 100_000)
IN_FLIGHT = (1, 4, 16, 64, 256)
SECONDS = 0.3
COMPARED = (
    async_clients.KATO_CONSUL,
    async_clients.AIOHTTP,
    async_clients.HTTPX_AIOHTTP,
    async_clients.HTTPX,
)
FEWEST_SESSIONS = 1_000
"""Below this number memory per session cannot be measured: a process grows by pages and arenas."""

Points = list[tuple[int, float | None]]


@dataclass(frozen=True)
class Curve:
    """A quantity over a size. A value is None if it cannot be measured at that size."""

    by: str
    name: str
    unit: str
    points: Points


def by_instances(rounds: int, progress: Progress) -> list[Curve]:
    """Measure a call, a pick, a session placement and a snapshot update by number of instances."""
    points: dict[tuple[str, str], Points] = {}

    def add(name: str, unit: str, size: int, measure: Callable[[], float]) -> None:
        median = statistics.median(measure() for _ in range(rounds))
        points.setdefault((name, unit), []).append((size, median))

    def measure_all(size: int) -> None:
        progress(f"{size:,} instances")
        updates = cpu_costs.SnapshotUpdates(size)
        add("a call, engine excluded", "µs", size, lambda: cpu_costs.async_call_us(size))
        add("pick with affinity", "µs", size, lambda: cpu_costs.pick_us(size))
        add("place a new session", "µs", size, lambda: cpu_costs.place_us(size))
        add("snapshot, all new", "ms", size, updates.all_new)
        add("snapshot, one changed", "ms", size, updates.one_changed)
        add("wake-up without change", "ms", size, updates.unchanged)

    for size in INSTANCES:
        measure_all(size)
    return [Curve("instances", *name_and_unit, curve) for name_and_unit, curve in points.items()]


def by_sessions(progress: Progress) -> list[Curve]:
    """Measure the CPU of a call and the memory of a session by number of sessions."""
    cpu: Points = []
    bytes_each: Points = []
    for size in SESSIONS:
        progress(f"{size:,} sessions")
        cpu.append((size, cpu_costs.async_call_us(3, size)))
        bytes_each.append((size, memory.measure(size) if size >= FEWEST_SESSIONS else None))
    return [
        Curve("sessions", "a call, engine excluded", "µs", cpu),
        Curve("sessions", "memory of a session, without its journal", "bytes", bytes_each),
    ]


def by_calls_in_flight(testbed: Testbed, rounds: int, progress: Progress) -> list[Curve]:
    """Measure calls per second and CPU of the client and its alternatives by calls in flight."""
    names = [name for name in COMPARED if not why_not_measurable(testbed, name)]
    rate: dict[str, Points] = {name: [] for name in names}
    cpu: dict[str, Points] = {name: [] for name in names}

    async def measure(name: str, in_flight: int) -> tuple[float, float]:
        async with async_clients.CLIENTS[name](testbed) as call:
            sample = await drive(call, SECONDS, in_flight)
        return sample.rate, sample.cpu

    for in_flight in IN_FLIGHT:
        progress(f"{in_flight} in flight")
        samples: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for name in names:
                samples.setdefault(name, []).append(asyncio.run(measure(name, in_flight)))
        for name, pairs in samples.items():
            rate[name].append((in_flight, statistics.median(calls for calls, _ in pairs)))
            cpu[name].append((in_flight, statistics.median(us for _, us in pairs)))
    curves = []
    for name in names:
        curves.append(Curve("calls in flight", name, "calls/s", rate[name]))
        curves.append(Curve("calls in flight", name, "µs of CPU", cpu[name]))
    return curves
