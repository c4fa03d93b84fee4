"""Discovery of registered instances, before and during a second registration."""

import asyncio

import pytest

from kato_consul import AsyncDiscovery, Discovery, Health, Snapshot
from tests.integration.deployment import Deployment

SEVERAL_CHECKS = 3.0
"""Seconds in which Consul checks each instance two or three times."""


def passing_ids(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the ids of the passing instances."""
    return tuple(
        instance.id for instance in snapshot.instances if instance.health is Health.PASSING
    )


def usable_origins(snapshot: Snapshot) -> list[str]:
    """Return the origins of the usable instances."""
    return [instance.origin for instance in snapshot.usable]


def test_sync_discovery_returns_registered_instances(deployment: Deployment) -> None:
    """After the registration job all instances are passing, with the right addresses."""
    with Discovery(deployment.settings) as discovery:
        snapshot = discovery.registered_snapshot()
    assert passing_ids(snapshot) == deployment.ids
    assert usable_origins(snapshot) == [deployment.url(one) for one in deployment.ids]


@pytest.mark.anyio
async def test_async_discovery_returns_registered_instances(deployment: Deployment) -> None:
    """After the registration job all instances are passing, with the right addresses."""
    async with AsyncDiscovery(deployment.settings) as discovery:
        snapshot = await discovery.registered_snapshot()
    assert passing_ids(snapshot) == deployment.ids
    assert usable_origins(snapshot) == [deployment.url(one) for one in deployment.ids]


@pytest.mark.anyio
async def test_instances_stay_passing_while_registered_again(deployment: Deployment) -> None:
    """While the registration job runs a second time, every snapshot has all instances passing."""
    snapshots: list[Snapshot] = []

    async def watch(discovery: AsyncDiscovery) -> None:
        async for snapshot in discovery.changes():
            snapshots.append(snapshot)  # noqa: PERF401 - the iterator never ends

    async with AsyncDiscovery(deployment.settings) as discovery:
        watch_task = asyncio.create_task(watch(discovery))
        await discovery.registered_snapshot()
        await asyncio.to_thread(deployment.register)
        await asyncio.sleep(SEVERAL_CHECKS)
        assert not watch_task.done()
        watch_task.cancel()
    assert snapshots
    assert [snapshot for snapshot in snapshots if passing_ids(snapshot) != deployment.ids] == []
