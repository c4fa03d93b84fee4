"""Comparison over the network: each client in turn, round by round, on the same servers."""

import asyncio
import time
from importlib.util import find_spec

from benchmarks.clients import async_clients, sync_clients
from benchmarks.figures import Figure, Progress, ratios
from benchmarks.load import Sample, drive, repeat
from benchmarks.testbed.processes import Testbed
from benchmarks.testbed.server_capacity import measure_capacity

IN_FLIGHT = 32

PACKAGE_OF = {async_clients.HTTPX_AIOHTTP: "httpx_aiohttp"}
SEQUENTIAL = (
    async_clients.HTTPX,
    async_clients.KATO_CONSUL,
    async_clients.HTTPX_AIOHTTP,
    async_clients.AIOHTTP,
)
"""The clients that are also measured with one call in flight."""


class Comparison:
    """Measurements so far, by client."""

    def __init__(self, testbed: Testbed, seconds: float) -> None:
        self._testbed = testbed
        self._seconds = seconds
        self._concurrent: dict[str, list[Sample]] = {}
        self._sequential: dict[str, list[Sample]] = {}
        self._sync: dict[str, list[Sample]] = {}
        self._server_capacity: list[float] = []
        self._server_cpu_shares: list[float] = []

    def run_concurrent_round(self, progress: Progress) -> None:
        """Measure each async client once, with 32 calls in flight."""
        testbed = self._testbed
        progress("the test servers alone")
        self._server_capacity.append(asyncio.run(measure_capacity(testbed.urls, self._seconds)))
        for name, client in async_clients.CLIENTS.items():
            if why_not_measurable(testbed, name):
                continue
            progress(f"{name}, {IN_FLIGHT} in flight")
            started, cpu_before = time.perf_counter(), testbed.servers_cpu()
            sample = asyncio.run(self._measure(client, IN_FLIGHT))
            self._concurrent.setdefault(name, []).append(sample)
            if name == async_clients.KATO_CONSUL:
                wall = time.perf_counter() - started
                share = (testbed.servers_cpu() - cpu_before) / wall / len(testbed.urls)
                self._server_cpu_shares.append(100 * share)

    def run_sequential_round(self, progress: Progress) -> None:
        """Measure the async clients of `SEQUENTIAL` once, with one call in flight."""
        for name in SEQUENTIAL:
            if why_not_measurable(self._testbed, name):
                continue
            progress(f"{name}, 1 in flight")
            sample = asyncio.run(self._measure(async_clients.CLIENTS[name], 1))
            self._sequential.setdefault(name, []).append(sample)

    def run_sync_round(self, progress: Progress) -> None:
        """Measure each sync client once, with one call at a time."""
        for name, client in sync_clients.CLIENTS.items():
            progress(name)
            with client(self._testbed) as call:
                self._sync.setdefault(name, []).append(repeat(call, self._seconds))

    async def _measure(self, client: async_clients.OpenClient, in_flight: int) -> Sample:
        async with client(self._testbed) as call:
            return await drive(call, self._seconds, in_flight)

    def concurrent_figures(self) -> list[Figure]:
        """Return the goals at 32 in flight, then the figures of each client."""
        rate, cpu = _rates(self._concurrent), _cpus(self._concurrent)
        ours, bare = async_clients.KATO_CONSUL, async_clients.HTTPX
        over_aiohttp = async_clients.HTTPX_AIOHTTP
        goals = [
            Figure("async, 32 in flight", "× httpx.AsyncClient", ratios(rate[ours], rate[bare]), 6),
            Figure(
                "async, 32 in flight, CPU",
                "× httpx over aiohttp",
                ratios(cpu[ours], cpu[over_aiohttp]) if over_aiohttp in cpu else (),
                at_most=1.25,
                not_measured=why_not_measurable(self._testbed, over_aiohttp),
            ),
            Figure(
                "added to an async call",
                "µs of CPU",
                _differences(cpu[ours], cpu[async_clients.ENGINE]),
                at_most=60,
            ),
        ]
        clients = [
            figure
            for name in async_clients.CLIENTS
            for figure in _client_figures(
                f"{name}, {IN_FLIGHT} in flight",
                rate.get(name),
                cpu.get(name),
                why_not_measurable(self._testbed, name),
            )
        ]
        servers = [
            Figure("the test servers alone", "responses/s", self._server_capacity),
            Figure("CPU of each server meanwhile", "% of a core", self._server_cpu_shares),
        ]
        return goals + clients + servers

    def sequential_figures(self) -> list[Figure]:
        """Return the goal at one in flight, then the figures of each client."""
        rate, cpu = _rates(self._sequential), _cpus(self._sequential)
        ratio = ratios(rate[async_clients.KATO_CONSUL], rate[async_clients.HTTPX])
        figures = [Figure("async, 1 in flight", "× httpx.AsyncClient", ratio, 1.5)]
        for name in SEQUENTIAL:
            figures += _client_figures(
                f"{name}, 1 in flight",
                rate.get(name),
                cpu.get(name),
                why_not_measurable(self._testbed, name),
            )
        return figures

    def sync_figures(self) -> list[Figure]:
        """Return the goals of the sync client, then the figures of each client."""
        rate, cpu = _rates(self._sync), _cpus(self._sync)
        ours = rate[sync_clients.KATO_CONSUL]
        to_httpx = ratios(ours, rate[sync_clients.HTTPX])
        to_lookup = ratios(ours, rate[sync_clients.CONSUL_LOOKUP])
        added = _differences(cpu[sync_clients.KATO_CONSUL], cpu[sync_clients.ENGINE])
        figures = [
            Figure("sync", "× httpx.Client", to_httpx, 1),
            Figure("sync, vs. a Consul lookup per call", "× lookup and post", to_lookup, 6),
            Figure("added to a sync call", "µs of CPU", added, at_most=50),
        ]
        for name in sync_clients.CLIENTS:
            figures += _client_figures(name, rate[name], cpu[name])
        return figures


def why_not_measurable(testbed: Testbed, name: str) -> str:
    """Return why a client cannot be measured here; "" if it can."""
    if testbed.nginx_urls is None and name in (async_clients.NGINX, async_clients.NGINX_HASHED):
        return "no nginx on the PATH"
    package = "aiohttp" if name.startswith("aiohttp") else PACKAGE_OF.get(name)
    if package is not None and find_spec(package) is None:
        return f"{package} is not installed; `make bench` installs it"
    return ""


def _rates(samples: dict[str, list[Sample]]) -> dict[str, list[float]]:
    return {name: [sample.rate for sample in rounds] for name, rounds in samples.items()}


def _cpus(samples: dict[str, list[Sample]]) -> dict[str, list[float]]:
    return {name: [sample.cpu for sample in rounds] for name, rounds in samples.items()}


def _differences(totals: list[float], parts: list[float]) -> list[float]:
    return [total - part for total, part in zip(totals, parts, strict=True)]


def _client_figures(
    name: str, rate: list[float] | None, cpu: list[float] | None, not_measured: str = ""
) -> list[Figure]:
    return [
        Figure(name, "calls/s", rate or (), not_measured=not_measured),
        Figure(name, "µs of CPU a call", cpu or (), not_measured=not_measured),
    ]
