"""Time from an instance's registration in Consul until a client has used it.

The lower bound is measured beside it: the time until a bare blocking query returns.
"""

import asyncio
import time

import httpx

from benchmarks.figures import Figure, ratios
from benchmarks.testbed.kato_responses import STRINGS
from benchmarks.testbed.processes import Testbed
from kato_consul import AsyncKatoClient, Settings

QUERY_OPEN_AFTER = 0.2
"""Seconds until a blocking query that was sent is waiting at the agent."""


async def _bare_query_seconds(testbed: Testbed, service: str, port: int) -> float:
    async with _agent(testbed) as http:
        path = f"/v1/health/service/{service}"
        index = (await http.get(path)).headers["x-consul-index"]
        query = asyncio.create_task(http.get(path, params={"index": index, "wait": "60s"}))
        await asyncio.sleep(QUERY_OPEN_AFTER)
        started = await _register(testbed, service, port)
        assert (await query).json()
        return time.perf_counter() - started


async def _first_call_seconds(testbed: Testbed, service: str, port: int) -> float:
    settings = Settings(consul_addr=testbed.agent.http_addr, service=service)
    async with AsyncKatoClient(settings) as kato:
        assert not (await kato.discovery.snapshot()).instances
        call = asyncio.create_task(kato.session("user-1").observe(STRINGS))
        await asyncio.sleep(QUERY_OPEN_AFTER)
        started = await _register(testbed, service, port)
        await call  # two requests: open the session, observe
        return time.perf_counter() - started


async def _register(testbed: Testbed, service: str, port: int) -> float:
    payload = {"Name": service, "ID": f"{service}-1", "Address": "127.0.0.1", "Port": port}
    async with _agent(testbed) as http:
        await http.get("/v1/status/leader")  # opens the connection, which must not count
        started = time.perf_counter()
        (await http.put("/v1/agent/service/register", json=payload)).raise_for_status()
        return started


def _agent(testbed: Testbed) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=testbed.agent.url, trust_env=False, timeout=90.0)


def figures(testbed: Testbed, rounds: int) -> list[Figure]:
    """Return the goal and both times in ms. A round is three of each; its median counts."""
    port = int(testbed.urls[0].rpartition(":")[2])
    bare, ours = [], []
    for number in range(rounds):
        pairs = []
        for repeat in range(3):
            name = f"{number}-{repeat}-{time.monotonic_ns()}"
            pairs.append(
                (
                    asyncio.run(_bare_query_seconds(testbed, f"bare-{name}", port)) * 1_000,
                    asyncio.run(_first_call_seconds(testbed, f"ours-{name}", port)) * 1_000,
                )
            )
        bare.append(sorted(query for query, _ in pairs)[1])
        ours.append(sorted(call for _, call in pairs)[1])
    return [
        Figure(
            "registration to first call", "× a bare blocking query", ratios(ours, bare), at_most=2
        ),
        Figure("a bare blocking query", "ms", bare),
        Figure("registration to first observation", "ms", ours),
    ]
