"""Failover: an instance is killed under load and started again."""

import asyncio
import time
import uuid
from collections.abc import Callable

import httpx
import pytest

from kato_consul import AsyncDiscovery, AsyncKatoClient, AsyncSession
from tests.integration.deployment import Deployment

SESSIONS = 8
"""Enough that each of three instances usually serves at least one. In one run of a hundred an
instance serves none, which is harmless: the victim is always one that serves a session."""
OBSERVATIONS = 15
"""Observations of each session before the kill, and the minimum after it."""
DEADLINE = 30.0
"""Seconds within which Consul, which checks every second, must report a change."""


@pytest.mark.anyio
async def test_kill_loses_no_observation_and_instance_is_used_again(
    deployment: Deployment,
) -> None:
    """No call fails, each observation is there once and in order, and sessions return later."""
    async with AsyncKatoClient(deployment.settings) as kato:
        sessions = [kato.session(f"shopper-{uuid.uuid4().hex}") for _ in range(SESSIONS)]
        acknowledged: dict[AsyncSession, list[str]] = {session: [] for session in sessions}
        killed = asyncio.Event()

        async def work(session: AsyncSession) -> None:
            left = OBSERVATIONS
            while left:
                event = f"event-{len(acknowledged[session])}"
                await session.observe([event])
                acknowledged[session].append(event)
                left -= killed.is_set()

        workers = [asyncio.create_task(work(session)) for session in sessions]
        await until(lambda: min(map(len, acknowledged.values())) >= OBSERVATIONS)
        victim = sessions[0].facts.instance
        assert victim in deployment.ids
        on_victim = [session for session in sessions if session.facts.instance == victim]
        try:
            await asyncio.to_thread(deployment.kill, victim)
            killed.set()
            await asyncio.gather(*workers)
            facts = [session.facts for session in on_victim]
            assert sum(fact.failovers + fact.settlements for fact in facts) > 0
            await until(lambda: victim not in usable(kato.discovery))
            (other, *_) = (instance_id for instance_id in deployment.ids if instance_id != victim)
            await assert_holds(deployment.url(other), acknowledged)
        finally:
            await asyncio.to_thread(deployment.start, victim)
            await until(lambda: victim in usable(kato.discovery))
        # Consul reports it usable. A client that saw it fail may keep it ejected a little longer.
        # A session that was moved, because its last write may come late, has another primary now.
        deadline = time.monotonic() + DEADLINE
        fresh: AsyncSession | None = None
        while fresh is None or fresh.facts.instance != victim:
            assert time.monotonic() < deadline, "no new session is served by the instance"
            fresh = kato.session(f"late shopper-{uuid.uuid4().hex}")
            acknowledged[fresh] = ["event-0"]
            await fresh.observe(["event-0"])
        for session in [session for session in on_victim if not session.facts.moves]:
            deadline = time.monotonic() + DEADLINE
            while session.facts.instance != victim:
                assert time.monotonic() < deadline, "the instance is not used again"
                event = f"event-{len(acknowledged[session])}"
                await session.observe([event])
                acknowledged[session].append(event)
                await asyncio.sleep(0.1)
        await assert_holds(deployment.url(victim), acknowledged)


def usable(discovery: AsyncDiscovery) -> set[str]:
    """Return the ids of the instances that Consul reports as usable."""
    snapshot = discovery.current
    return {instance.id for instance in snapshot.usable} if snapshot else set()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; fail after `DEADLINE` seconds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        await asyncio.sleep(0.02)


async def assert_holds(url: str, acknowledged: dict[AsyncSession, list[str]]) -> None:
    """Read from an instance directly: each session holds its events, once and in order."""
    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as http:
        for session, events in acknowledged.items():
            response = await http.get(f"/sessions/{session.id}/stm")
            assert response.status_code == 200, response.text
            assert response.json()["stm"] == [[event] for event in events]
