"""Fixtures: instances that record their requests, and each gateway in front of them."""

from collections.abc import Iterator

import pytest

from kato_consul.testing import ConsulAgent
from tests.gateways.recorder import Recorder
from tests.gateways.site import KINDS, GatewaySite, gateway_site, register


@pytest.fixture(scope="class", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each gateway that runs here, by its name."""
    return str(request.param)


@pytest.fixture(scope="class")
def agent() -> Iterator[ConsulAgent]:
    """A Consul agent."""
    with ConsulAgent() as agent:
        yield agent


@pytest.fixture(scope="class")
def recorders(agent: ConsulAgent) -> Iterator[dict[str, Recorder]]:
    """Three instances, registered as ``recorded``."""
    with Recorder("a") as one, Recorder("b") as two, Recorder("c") as three:
        recorders = {each.name: each for each in (one, two, three)}
        for each in recorders.values():
            register(agent, "recorded", each)
        yield recorders


@pytest.fixture(scope="class")
def site(
    kind: str,
    agent: ConsulAgent,
    recorders: dict[str, Recorder],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewaySite]:
    """The gateway in front of the recorders."""
    with gateway_site(kind, agent, "recorded", tmp_path_factory.mktemp("gateway")) as site:
        yield site
