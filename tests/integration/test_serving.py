"""KATO's work, through the client, on whatever instances Consul names."""

import uuid

import pytest

from kato_consul import AsyncKatoClient, KatoClient
from tests.integration.deployment import Deployment

STORY = ["arrive", "look around", "ask", "buy"]


def test_learned_and_predicted_by_a_thread(deployment: Deployment) -> None:
    """Sync: what was observed and learned is predicted, with the right future."""
    with KatoClient(deployment.settings) as kato:
        session = kato.session(f"thread-{uuid.uuid4().hex}")
        for time, event in enumerate(STORY, 1):
            assert session.observe([event])["time"] == time
        name = session.learn()["pattern_name"]
        for event in STORY[:2]:
            session.observe([event])
        (prediction,) = session.predictions()
    assert f"PTRN|{prediction['name']}" == name
    assert prediction["future"] == [[event] for event in STORY[2:]]


@pytest.mark.anyio
async def test_learned_and_predicted_by_a_task(deployment: Deployment) -> None:
    """Async: what was observed and learned is predicted, with the right future."""
    async with AsyncKatoClient(deployment.settings) as kato:
        session = kato.session(f"task-{uuid.uuid4().hex}")
        for time, event in enumerate(STORY, 1):
            assert (await session.observe([event]))["time"] == time
        name = (await session.learn())["pattern_name"]
        for event in STORY[:2]:
            await session.observe([event])
        (prediction,) = await session.predictions()
    assert f"PTRN|{prediction['name']}" == name
    assert prediction["future"] == [[event] for event in STORY[2:]]
