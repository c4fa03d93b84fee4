"""Calls over the wire: everybody in turn, round after round, on the same three instances."""

import asyncio
import time
from collections.abc import Callable
from importlib.util import find_spec

from benchmarks import contenders, contenders_sync
from benchmarks.figures import Figure, ratios
from benchmarks.load import Sample, drive, repeat
from benchmarks.raw import flood
from benchmarks.site import Site

IN_FLIGHT = 32
Say = Callable[[str], None]

PACKAGE_OF = {contenders.HTTPX_AIOHTTP: "httpx_aiohttp"}
AT_ONE = (contenders.HTTPX, contenders.OURS, contenders.HTTPX_AIOHTTP, contenders.AIOHTTP)


class Calls:
    """What was measured so far, by contender."""

    def __init__(self, site: Site, seconds: float) -> None:
        self._site = site
        self._seconds = seconds
        self._many: dict[str, list[Sample]] = {}
        self._one: dict[str, list[Sample]] = {}
        self._sync: dict[str, list[Sample]] = {}
        self._server: list[float] = []
        self._shares: list[float] = []

    def round_of_many(self, say: Say) -> None:
        """Everybody once, with 32 calls in flight."""
        say("the server alone")
        self._server.append(asyncio.run(flood(self._site.urls, self._seconds)))
        for name, contender in contenders.CONTENDERS.items():
            if missing(self._site, name):
                continue
            say(f"{name}, {IN_FLIGHT} in flight")
            began, before = time.perf_counter(), self._site.servers_cpu()
            found = asyncio.run(self._measure(contender, IN_FLIGHT))
            self._many.setdefault(name, []).append(found)
            if name == contenders.OURS:
                wall = time.perf_counter() - began
                share = (self._site.servers_cpu() - before) / wall / len(self._site.urls)
                self._shares.append(100 * share)

    def round_of_one(self, say: Say) -> None:
        """Those of interest once, with one call in flight."""
        for name in AT_ONE:
            if missing(self._site, name):
                continue
            say(f"{name}, 1 in flight")
            found = asyncio.run(self._measure(contenders.CONTENDERS[name], 1))
            self._one.setdefault(name, []).append(found)

    def round_of_sync(self, say: Say) -> None:
        """Everybody on threads once, with one caller."""
        for name, contender in contenders_sync.CONTENDERS.items():
            say(name)
            with contender(self._site) as call:
                self._sync.setdefault(name, []).append(repeat(call, self._seconds))

    async def _measure(self, contender: contenders.Contender, in_flight: int) -> Sample:
        async with contender(self._site) as call:
            return await drive(call, self._seconds, in_flight)

    def figures_of_many(self) -> list[Figure]:
        """The goals at 32 in flight, and everybody's figures."""
        rate, cpu = _rates(self._many), _cpus(self._many)
        ours, bare, over = contenders.OURS, contenders.HTTPX, contenders.HTTPX_AIOHTTP
        found = [
            Figure("async, 32 in flight", "× httpx.AsyncClient", ratios(rate[ours], rate[bare]), 6),
            Figure(
                "async, 32 in flight, CPU",
                "× httpx over aiohttp",
                ratios(cpu[ours], cpu[over]) if over in cpu else (),
                at_most=1.25,
                why_not=missing(self._site, over),
            ),
            Figure(
                "added to an async call",
                "µs of CPU",
                _less(cpu[ours], cpu[contenders.ENGINE]),
                at_most=60,
            ),
        ]
        for name in contenders.CONTENDERS:
            words = f"{name}, {IN_FLIGHT} in flight"
            found += _told(words, rate.get(name), cpu.get(name), missing(self._site, name))
        return [
            *found,
            Figure("the answering server alone", "answers/s", self._server),
            Figure("CPU of each server meanwhile", "% of a core", self._shares),
        ]

    def figures_of_one(self) -> list[Figure]:
        """The goal at one in flight, and everybody's figures."""
        rate, cpu = _rates(self._one), _cpus(self._one)
        faster = ratios(rate[contenders.OURS], rate[contenders.HTTPX])
        found = [Figure("async, 1 in flight", "× httpx.AsyncClient", faster, 1.5)]
        for name in AT_ONE:
            words = f"{name}, 1 in flight"
            found += _told(words, rate.get(name), cpu.get(name), missing(self._site, name))
        return found

    def figures_of_sync(self) -> list[Figure]:
        """The goals on threads, and everybody's figures."""
        rate, cpu = _rates(self._sync), _cpus(self._sync)
        ours = rate[contenders_sync.OURS]
        added = _less(cpu[contenders_sync.OURS], cpu[contenders_sync.ENGINE])
        seeds = ratios(ours, rate[contenders_sync.SEED])
        found = [
            Figure("sync", "× httpx.Client", ratios(ours, rate[contenders_sync.HTTPX]), 1),
            Figure("sync, beside the seed", "× the seed's way", seeds, 6),
            Figure("added to a sync call", "µs of CPU", added, at_most=50),
        ]
        for name in contenders_sync.CONTENDERS:
            found += _told(name, rate[name], cpu[name])
        return found


def missing(site: Site, name: str) -> str:
    """Why somebody cannot be measured; "" when they can."""
    if site.nginx is None and name in (contenders.NGINX, contenders.NGINX_HASHED):
        return "no nginx on the PATH"
    package = "aiohttp" if name.startswith("aiohttp") else PACKAGE_OF.get(name)
    if package is not None and find_spec(package) is None:
        return f"{package} is not installed; `make bench` does"
    return ""


def _rates(samples: dict[str, list[Sample]]) -> dict[str, list[float]]:
    return {name: [one.rate for one in found] for name, found in samples.items()}


def _cpus(samples: dict[str, list[Sample]]) -> dict[str, list[float]]:
    return {name: [one.cpu for one in found] for name, found in samples.items()}


def _less(whole: list[float], part: list[float]) -> list[float]:
    return [one - other for one, other in zip(whole, part, strict=True)]


def _told(
    words: str, rate: list[float] | None, cpu: list[float] | None, why_not: str = ""
) -> list[Figure]:
    return [
        Figure(words, "calls/s", rate or (), why_not=why_not),
        Figure(words, "µs of CPU a call", cpu or (), why_not=why_not),
    ]
