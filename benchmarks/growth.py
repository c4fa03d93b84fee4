"""How cost grows: by instances, by sessions, by calls in flight."""

import asyncio
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import contenders, memory, own
from benchmarks.calls import missing
from benchmarks.load import drive
from benchmarks.site import Site

INSTANCES = (1, 3, 10, 100, 1_000)
SESSIONS = (1, 100, 1_000, 10_000, 100_000)
IN_FLIGHT = (1, 4, 16, 64, 256)
SECONDS = 0.3
COMPARED = (contenders.OURS, contenders.AIOHTTP, contenders.HTTPX_AIOHTTP, contenders.HTTPX)
FEWEST = 1_000
"""Sessions from which memory can be told: a process's own grows by pages and arenas."""


@dataclass(frozen=True)
class Curve:
    """One figure, as another grows. A value is None where it cannot be told."""

    by: str
    name: str
    unit: str
    points: list[tuple[int, float | None]]


def by_instances(rounds: int, say: Callable[[str], None]) -> list[Curve]:
    """What a call, a pick, a home, and a wake-up cost."""
    found: dict[tuple[str, str], list[tuple[int, float | None]]] = {}

    def tell(name: str, unit: str, size: int, once: Callable[[], float]) -> None:
        median = statistics.median(once() for _ in range(rounds))
        found.setdefault((name, unit), []).append((size, median))

    def measure(size: int) -> None:
        say(f"{size:,} instances")
        applied = own.Applied(size)
        tell("a call, engine excluded", "µs", size, lambda: own.async_call(size))
        tell("pick with affinity", "µs", size, lambda: own.pick(size))
        tell("a new session's home", "µs", size, lambda: own.place(size))
        tell("snapshot, all new", "ms", size, applied.fresh)
        tell("snapshot, one changed", "ms", size, applied.changed_once)
        tell("wake-up without change", "ms", size, applied.unchanged)

    for size in INSTANCES:
        measure(size)
    return [Curve("instances", *told, points) for told, points in found.items()]


def by_sessions(say: Callable[[str], None]) -> list[Curve]:
    """What a call costs, and a session takes."""
    calls: list[tuple[int, float | None]] = []
    sizes: list[tuple[int, float | None]] = []
    for size in SESSIONS:
        say(f"{size:,} sessions")
        calls.append((size, own.async_call(3, size)))
        sizes.append((size, memory.measured(size) if size >= FEWEST else None))
    return [
        Curve("sessions", "a call, engine excluded", "µs", calls),
        Curve("sessions", "memory of a session, journal aside", "bytes", sizes),
    ]


def by_calls_in_flight(site: Site, rounds: int, say: Callable[[str], None]) -> list[Curve]:
    """Calls a second of ours and of the peers, and their CPU."""
    names = [one for one in COMPARED if not missing(site, one)]
    curves = []
    rate: dict[str, list[tuple[int, float | None]]] = {name: [] for name in names}
    cpu: dict[str, list[tuple[int, float | None]]] = {name: [] for name in names}

    async def measure(name: str, in_flight: int) -> tuple[float, float]:
        async with contenders.CONTENDERS[name](site) as call:
            sample = await drive(call, SECONDS, in_flight)
        return sample.rate, sample.cpu

    for in_flight in IN_FLIGHT:
        say(f"{in_flight} in flight")
        samples: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for name in names:
                samples.setdefault(name, []).append(asyncio.run(measure(name, in_flight)))
        for name, found in samples.items():
            rate[name].append((in_flight, statistics.median(one for one, _ in found)))
            cpu[name].append((in_flight, statistics.median(one for _, one in found)))
    for name in names:
        curves.append(Curve("calls in flight", name, "calls/s", rate[name]))
        curves.append(Curve("calls in flight", name, "µs of CPU", cpu[name]))
    return curves
