"""Profile of a call: ``python -m benchmarks.profiling`` prints own time by package.

Observes with 32 calls in flight under cProfile, once per engine. The profiler slows down small
functions most, so compare shares, not times.
"""

import asyncio
import cProfile
import pstats
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks.clients import async_clients
from benchmarks.load import drive
from benchmarks.testbed.processes import Testbed, start_testbed

SECONDS = 2.0
ENGINES = ("httpx", "httptools")
SMALLEST_SHARE = 0.01
"""A package with a smaller share is not printed."""


async def _profile(testbed: Testbed, engine: str) -> tuple[pstats.Stats, float]:
    profile = cProfile.Profile()
    settings = replace(testbed.settings, engine=engine)
    async with async_clients.kato_consul(testbed, settings) as call:
        await drive(call, 0.2, 32)
        profile.enable()
        sample = await drive(call, SECONDS, 32)
        profile.disable()
    return pstats.Stats(profile), sample.rate


def by_package(stats: pstats.Stats) -> Counter[str]:
    """Return own seconds by package; within kato_consul, by sub-package."""
    seconds: Counter[str] = Counter()
    # typeshed does not declare `Stats.stats`.
    for (file, _, name), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        seconds[_package(file, name)] += own
    return seconds


def _package(file: str, name: str) -> str:
    if file == "~":
        return "waiting for the network" if "epoll" in name else "built in"
    parts = Path(file).parts
    if "kato_consul" in parts:
        inner = parts[parts.index("kato_consul") + 1]
        return "kato_consul, other" if inner.endswith(".py") else f"kato_consul.{inner}"
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return "asyncio" if "asyncio" in parts else "standard library"


def main() -> None:
    """Print a table for each engine."""
    with start_testbed() as testbed:
        for engine in ENGINES:
            stats, rate = asyncio.run(_profile(testbed, engine))
            seconds = by_package(stats)
            del seconds["waiting for the network"]
            total = seconds.total()
            print(f"\nengine {engine}: {rate:,.0f} calls/s under the profiler")
            for package, own in seconds.most_common():
                if own >= SMALLEST_SHARE * total:
                    print(f"  {own / total:5.1%}  {package}")


if __name__ == "__main__":
    main()
