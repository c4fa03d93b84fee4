"""Where a call's time goes: ``python -m benchmarks.profiling``.

One observe after the other, 32 in flight, under cProfile, over each engine; own time by package, as
a share of the whole. The profiler makes everything slower, small functions most: compare shares.
"""

import asyncio
import cProfile
import pstats
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks import contenders
from benchmarks.load import drive
from benchmarks.site import Site, site

SECONDS = 2.0
ENGINES = ("httpx", "httptools")
ROOMS = ("sessions", "requesting", "balancing", "drivers")
SHOWN = 0.01
"""A package with a smaller share is not shown."""


async def _profile(where: Site, engine: str) -> tuple[pstats.Stats, float]:
    profile = cProfile.Profile()
    settings = replace(where.settings, engine=engine)
    async with contenders.ours(where, settings) as call:
        await drive(call, 0.2, 32)
        profile.enable()
        sample = await drive(call, SECONDS, 32)
        profile.disable()
    return pstats.Stats(profile), sample.rate


def by_package(stats: pstats.Stats) -> Counter[str]:
    """Own seconds of each package; of ours, of each room."""
    found: Counter[str] = Counter()
    # The stub of pstats does not know of what it keeps.
    for (file, _, name), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        found[_package(file, name)] += own
    return found


def _package(file: str, name: str) -> str:
    if file == "~":
        return "waiting for the network" if "epoll" in name else "built in"
    parts = Path(file).parts
    if "kato_consul" in parts:
        room = parts[parts.index("kato_consul") + 1]
        return f"kato_consul.{room}" if room in ROOMS else "kato_consul, the rest"
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return "asyncio" if "asyncio" in parts else "standard library"


def main() -> None:
    """Print a table for each engine."""
    with site() as where:
        for engine in ENGINES:
            stats, rate = asyncio.run(_profile(where, engine))
            found = by_package(stats)
            del found["waiting for the network"]
            whole = found.total()
            print(f"\nengine {engine}: {rate:,.0f} calls/s under the profiler")
            for package, own in found.most_common():
                if own >= SHOWN * whole:
                    print(f"  {own / whole:5.1%}  {package}")


if __name__ == "__main__":
    main()
