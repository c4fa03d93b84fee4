"""Agents that do not let everybody in."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kato_consul.testing import ConsulAgent
from tests.cli.running import Instance

POLICIES = Path(__file__).parents[2] / "docs" / "policies"


class Guarded(ConsulAgent):
    """An agent with ACLs on, which denies by default."""

    def __init__(self) -> None:
        self.root = str(uuid.uuid4())
        super().__init__(token=self.root)

    def token(self, rules: str) -> str:
        """A new token with just these rules."""
        name = f"test-{uuid.uuid4().hex[:8]}"
        self.put("/v1/acl/policy", {"Name": name, "Rules": rules})
        secret: str = self.put("/v1/acl/token", {"Policies": [{"Name": name}]})["SecretID"]
        return secret

    def put(self, path: str, body: dict[str, object]) -> dict[str, str]:
        """An answer to the one who may do anything."""
        answer = httpx.put(
            f"{self.url}{path}", json=body, headers={"X-Consul-Token": self.root}, trust_env=False
        )
        found: dict[str, str] = answer.raise_for_status().json()
        return found


@pytest.fixture(scope="session")
def guarded() -> Iterator[Guarded]:
    """One for all."""
    with Guarded() as running:
        yield running


@pytest.fixture
def instance() -> Iterator[Instance]:
    """An instance that is well."""
    with Instance() as running:
        yield running


def policy(name: str, service: str) -> str:
    """A policy of the documentation, for another service's name."""
    return (POLICIES / f"{name}.hcl").read_text().replace('"kato"', f'"{service}"')
