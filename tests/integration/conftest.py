"""Fixtures: the deployment that all integration tests share, native or with pytest-docker."""

import shlex
from collections.abc import Iterator

import pytest
from pytest_docker import Services

from kato_consul.testing import Fleet
from kato_consul.testing.ports import HOST, free_ports
from tests.integration.choosing import CHOICE, COMPOSE_FILE
from tests.integration.deployment import (
    ComposeDeployment,
    Deployment,
    NativeDeployment,
    checked,
)


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """Three instances, registered and passing; the header of the run shows the deployment.

    All tests share it: each uses its own sessions and leaves all three instances running.
    """
    if request.config.stash[CHOICE].kind == "docker":
        yield request.getfixturevalue("compose_deployment")
        return
    with Fleet() as fleet:
        native = NativeDeployment(fleet)
        native.register()
        yield native


@pytest.fixture(scope="session")
def compose_deployment(
    docker_services: Services,
    docker_compose_command: str,
    docker_compose_file: str,
    docker_compose_project_name: str,
) -> ComposeDeployment:
    """The running compose project, after its registrar succeeded. `docker_services` stops it."""
    command = shlex.split(docker_compose_command)
    compose = [*command, "-f", docker_compose_file, "-p", docker_compose_project_name]
    checked([*compose, "up", "--detach", "--no-build", "--pull", "never"])
    (registrar,) = checked([*compose, "ps", "--all", "--quiet", "registrar"]).split()
    status = checked([*command[:1], "wait", registrar]).strip()
    assert status == "0", checked([*compose, "logs", "--no-color", "--tail", "50"])
    urls = {
        service_id: f"http://{HOST}:{docker_services.port_for(service_id, 8000)}"
        for service_id in ComposeDeployment.ids
    }
    consul = f"{HOST}:{docker_services.port_for('consul', 8500)}"
    return ComposeDeployment(compose, consul, urls)


@pytest.fixture(scope="session")
def docker_compose_file() -> Iterator[str]:
    """The compose file, with free ports, because another project may be running."""
    names = ["CONSUL", "KATO_1", "KATO_2", "KATO_3"]
    with pytest.MonkeyPatch.context() as environment:
        for name, port in zip(names, free_ports(len(names)), strict=True):
            environment.setenv(f"KATO_CONSUL_{name}_PORT", str(port))
        environment.delenv("KATO_CONSUL_HOST_IP", raising=False)
        yield str(COMPOSE_FILE)


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    """No commands: after a failure here nothing would be stopped. See `compose_deployment`."""
    return []


@pytest.fixture
def anyio_backend() -> str:
    """asyncio, the only event loop that the async client supports."""
    return "asyncio"
