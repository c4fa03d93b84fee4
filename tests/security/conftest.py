"""Consul agents with ACLs."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kato_consul.testing import ConsulAgent
from tests.cli.running import HealthServer

POLICIES = Path(__file__).parents[2] / "docs" / "policies"


class AclAgent(ConsulAgent):
    """An agent with ACLs, which denies by default. ``root`` is a token that may do anything."""

    def __init__(self) -> None:
        self.root = str(uuid.uuid4())
        super().__init__(token=self.root)

    def token(self, rules: str) -> str:
        """Return a new token with exactly these rules."""
        name = f"test-{uuid.uuid4().hex[:8]}"
        self.put("/v1/acl/policy", {"Name": name, "Rules": rules})
        secret: str = self.put("/v1/acl/token", {"Policies": [{"Name": name}]})["SecretID"]
        return secret

    def delete_token(self, token: str) -> None:
        """Delete a token."""
        own = self._send("GET", "/v1/acl/token/self", token=token).json()
        self._send("DELETE", f"/v1/acl/token/{own['AccessorID']}")

    def register(
        self, service: str, service_id: str, address: str = "127.0.0.1", port: int = 1
    ) -> None:
        """Register an instance without checks."""
        body: dict[str, object] = {"Name": service, "ID": service_id}
        body |= {"Address": address, "Port": port}
        self._send("PUT", "/v1/agent/service/register", body)

    def deregister(self, service_id: str) -> None:
        """Deregister an instance."""
        self._send("PUT", f"/v1/agent/service/deregister/{service_id}")

    def put(self, path: str, body: dict[str, object]) -> dict[str, str]:
        """Send a PUT request with the root token and return its JSON."""
        created: dict[str, str] = self._send("PUT", path, body).json()
        return created

    def _send(
        self, method: str, path: str, body: dict[str, object] | None = None, *, token: str = ""
    ) -> httpx.Response:
        with httpx.Client(trust_env=False, headers={"X-Consul-Token": token or self.root}) as http:
            return http.request(method, f"{self.url}{path}", json=body).raise_for_status()


@pytest.fixture(scope="session")
def acl_agent() -> Iterator[AclAgent]:
    """One agent for all tests."""
    with AclAgent() as running:
        yield running


@pytest.fixture
def instance() -> Iterator[HealthServer]:
    """A healthy instance."""
    with HealthServer() as running:
        yield running


def policy(name: str, service: str) -> str:
    """Return a policy from the documentation, for another service's name."""
    return (POLICIES / f"{name}.hcl").read_text().replace('"kato"', f'"{service}"')
