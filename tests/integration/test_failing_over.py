"""An instance dies in the middle of the work, and comes back."""

import asyncio
import time
import uuid
from collections.abc import Callable

import httpx
import pytest

from kato_consul import AsyncDiscovery, AsyncKatoClient, AsyncSession
from tests.integration.deployment import Deployment

SESSIONS = 8
"""Enough that each of three instances serves one; a run in which one serves none (one in a
hundred, by affinity) is as good, since the victim is one that serves."""
BEFORE = 15
"""Observations of each session before the kill, and the least there are after it."""
SOON = 30.0
"""Seconds within which Consul, which looks every second, must have seen what we did."""


@pytest.mark.anyio
async def test_nothing_is_lost_when_an_instance_dies(deployment: Deployment) -> None:
    """No call fails, all is kept once and in order, and the instance is used when it is back."""
    async with AsyncKatoClient(deployment.settings) as kato:
        sessions = [kato.session(f"shopper-{uuid.uuid4().hex}") for _ in range(SESSIONS)]
        told: dict[AsyncSession, list[str]] = {session: [] for session in sessions}
        killed = asyncio.Event()

        async def work(session: AsyncSession) -> None:
            left = BEFORE
            while left:
                event = f"event-{len(told[session])}"
                await session.observe([event])
                told[session].append(event)
                left -= killed.is_set()

        working = [asyncio.create_task(work(session)) for session in sessions]
        await until(lambda: min(map(len, told.values())) >= BEFORE)
        victim = sessions[0].facts.instance
        assert victim in deployment.ids
        its_own = [session for session in sessions if session.facts.instance == victim]
        try:
            await asyncio.to_thread(deployment.kill, victim)
            killed.set()
            await asyncio.gather(*working)
            facts = [session.facts for session in its_own]
            assert sum(one.failovers + one.settlements for one in facts) > 0
            await until(lambda: victim not in usable(kato.discovery))
            (witness, *_) = (one for one in deployment.ids if one != victim)
            await read_back(deployment.url(witness), told)
        finally:
            await asyncio.to_thread(deployment.start, victim)
            await until(lambda: victim in usable(kato.discovery))
        # By Consul's word it may be used again. A client that saw it fail may take a little longer.
        for session in its_own:
            deadline = time.monotonic() + SOON
            while session.facts.instance != victim:
                assert time.monotonic() < deadline, "it is not used again"
                event = f"event-{len(told[session])}"
                await session.observe([event])
                told[session].append(event)
                await asyncio.sleep(0.1)
        await read_back(deployment.url(victim), told)


def usable(discovery: AsyncDiscovery) -> set[str]:
    """The ids of the instances that may be used by Consul's word."""
    snapshot = discovery.current
    return {one.id for one in snapshot.usable} if snapshot else set()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come soon."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        await asyncio.sleep(0.02)


async def read_back(url: str, told: dict[AsyncSession, list[str]]) -> None:
    """Ask an instance, past our client: each session holds what was told, once and in order."""
    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as http:
        for session, events in told.items():
            answer = await http.get(f"/sessions/{session.id}/stm")
            assert answer.status_code == 200, answer.text
            assert answer.json()["stm"] == [[event] for event in events]
