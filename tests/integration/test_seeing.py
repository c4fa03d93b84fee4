"""Instances that were registered are seen, and registering them again changes nothing."""

import asyncio

import pytest

from kato_consul import AsyncDiscovery, Discovery, Health, Snapshot
from tests.integration.deployment import Deployment

SEVERAL_CHECKS = 3.0
"""Seconds in which Consul looks at each instance two or three times."""


def passing(snapshot: Snapshot) -> tuple[str, ...]:
    """The ids of the instances that Consul calls passing."""
    return tuple(one.id for one in snapshot.instances if one.health is Health.PASSING)


def test_seen_from_a_thread(deployment: Deployment) -> None:
    """After the registrar's job, a sync client sees all instances passing, and where they are."""
    with Discovery(deployment.settings) as discovery:
        snapshot = discovery.registered_snapshot()
    assert passing(snapshot) == deployment.ids
    assert [one.origin for one in snapshot.usable] == [deployment.url(i) for i in deployment.ids]


@pytest.mark.anyio
async def test_seen_from_a_task(deployment: Deployment) -> None:
    """After the registrar's job, an async client sees all instances passing, and where they are."""
    async with AsyncDiscovery(deployment.settings) as discovery:
        snapshot = await discovery.registered_snapshot()
    assert passing(snapshot) == deployment.ids
    assert [one.origin for one in snapshot.usable] == [deployment.url(i) for i in deployment.ids]


@pytest.mark.anyio
async def test_registering_again_does_not_flap(deployment: Deployment) -> None:
    """While the registrar's job runs a second time, all instances stay passing."""
    seen: list[Snapshot] = []

    async def watch(discovery: AsyncDiscovery) -> None:
        async for snapshot in discovery.changes():
            seen.append(snapshot)  # noqa: PERF401 - it never ends

    async with AsyncDiscovery(deployment.settings) as discovery:
        watching = asyncio.create_task(watch(discovery))
        await discovery.registered_snapshot()
        await asyncio.to_thread(deployment.register)
        await asyncio.sleep(SEVERAL_CHECKS)
        assert not watching.done()
        watching.cancel()
    assert seen
    assert [snapshot for snapshot in seen if passing(snapshot) != deployment.ids] == []
