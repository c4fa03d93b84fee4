"""From an instance's being registered in Consul until a client has used it.

Beside it what nobody can be quicker than: until a bare blocking query has its answer.
"""

import asyncio
import time

import httpx

from benchmarks.canned import STRINGS
from benchmarks.figures import Figure, ratios
from benchmarks.site import Site
from kato_consul import AsyncKatoClient, Settings

SETTLED = 0.2
"""Seconds until a query that was sent is waiting at the agent."""


async def _bare(site: Site, service: str, port: int) -> float:
    async with _agent(site) as http:
        path = f"/v1/health/service/{service}"
        index = (await http.get(path)).headers["x-consul-index"]
        waiting = asyncio.create_task(http.get(path, params={"index": index, "wait": "60s"}))
        await asyncio.sleep(SETTLED)
        began = await _put(site, service, port)
        assert (await waiting).json()
        return time.perf_counter() - began


async def _ours(site: Site, service: str, port: int) -> float:
    settings = Settings(consul_addr=site.agent.http_addr, service=service)
    async with AsyncKatoClient(settings) as kato:
        assert not (await kato.discovery.snapshot()).instances
        waiting = asyncio.create_task(kato.session("user-1").observe(STRINGS))
        await asyncio.sleep(SETTLED)
        began = await _put(site, service, port)
        await waiting  # a session was opened there, and it observed
        return time.perf_counter() - began


async def _put(site: Site, service: str, port: int) -> float:
    payload = {"Name": service, "ID": f"{service}-1", "Address": "127.0.0.1", "Port": port}
    async with _agent(site) as http:
        await http.get("/v1/status/leader")  # the connection is there
        began = time.perf_counter()
        (await http.put("/v1/agent/service/register", json=payload)).raise_for_status()
        return began


def _agent(site: Site) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=site.agent.url, trust_env=False, timeout=90.0)


def figures(site: Site, rounds: int) -> list[Figure]:
    """The goal, and both in ms. A round is three of each, of which the middle one counts."""
    port = int(site.urls[0].rpartition(":")[2])
    bare, ours = [], []
    for number in range(rounds):
        pairs = []
        for turn in range(3):
            name = f"{number}-{turn}-{time.monotonic_ns()}"
            pairs.append(
                (
                    asyncio.run(_bare(site, f"bare-{name}", port)) * 1_000,
                    asyncio.run(_ours(site, f"ours-{name}", port)) * 1_000,
                )
            )
        bare.append(sorted(one for one, _ in pairs)[1])
        ours.append(sorted(one for _, one in pairs)[1])
    return [
        Figure("registered until used", "× a bare blocking query", ratios(ours, bare), at_most=2),
        Figure("a bare blocking query", "ms", bare),
        Figure("registered until observed in", "ms", ours),
    ]
