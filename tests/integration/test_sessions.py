"""Sessions on the instances registered in Consul: observe, learn, predict."""

import uuid

import pytest

from kato_consul import AsyncKatoClient, KatoClient
from tests.integration.deployment import Deployment

SEQUENCE = ["arrive", "look around", "ask", "buy"]


def test_sync_session_predicts_what_it_learned(deployment: Deployment) -> None:
    """A learned sequence is predicted from its beginning, with the right future."""
    with KatoClient(deployment.settings) as kato:
        session = kato.session(f"thread-{uuid.uuid4().hex}")
        for time, event in enumerate(SEQUENCE, 1):
            assert session.observe([event])["time"] == time
        name = session.learn()["pattern_name"]
        for event in SEQUENCE[:2]:
            session.observe([event])
        (prediction,) = session.predictions()
    assert f"PTRN|{prediction['name']}" == name
    assert prediction["future"] == [[event] for event in SEQUENCE[2:]]


@pytest.mark.anyio
async def test_async_session_predicts_what_it_learned(deployment: Deployment) -> None:
    """A learned sequence is predicted from its beginning, with the right future."""
    async with AsyncKatoClient(deployment.settings) as kato:
        session = kato.session(f"task-{uuid.uuid4().hex}")
        for time, event in enumerate(SEQUENCE, 1):
            assert (await session.observe([event]))["time"] == time
        name = (await session.learn())["pattern_name"]
        for event in SEQUENCE[:2]:
            await session.observe([event])
        (prediction,) = await session.predictions()
    assert f"PTRN|{prediction['name']}" == name
    assert prediction["future"] == [[event] for event in SEQUENCE[2:]]
