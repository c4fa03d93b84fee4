"""Definition files as users of Consul have them, registered on a real agent.

``cases.json`` has for each file in ``cases/``:

- ``{"registered": […]}``: the services that the agent must have. ``"checks": 0``: the file has
  none, so there is the probe's.
- ``"as Consul"``: the agent must have what ``consul services register`` leaves there.
- ``{"mistake": […]}``: nothing is registered, and the error has these words (``a|b`` is either).
- ``{"refused": […]}``: the agent refuses it, with these words.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kato_consul import ConsulRejected, DefinitionError, Registrar, Settings, read_definitions
from kato_consul.testing import ConsulAgent

FOLDER = Path(__file__).parent / "cases"
CASES: dict[str, Any] = json.loads(FOLDER.with_suffix(".json").read_text(encoding="utf-8"))

Record = dict[str, Any]


def names(kind: str) -> list[str]:
    """Return the files of this kind."""
    return [name for name, case in CASES.items() if case == kind or kind in case]


class Agent:
    """A real agent, read and cleared without this library's client."""

    def __init__(self, consul: ConsulAgent) -> None:
        self.consul = consul
        self._http = httpx.Client(base_url=consul.url, trust_env=False)

    def register(self, file: Path) -> None:
        """Register a file with this library."""
        definitions = read_definitions(file, on_warning=lambda text: None)
        settings = Settings(consul_addr=self.consul.http_addr)
        registrar = Registrar(definitions, settings, wait=0, on_event=lambda *_, **__: None)
        try:
            registrar.register()
        finally:
            registrar.close()

    def services(self) -> dict[str, Record]:
        """Return the agent's services, each with its checks under ``Checks``."""
        services: dict[str, Record] = self._http.get("/v1/agent/services").json()
        checks = self._http.get("/v1/agent/checks").json()
        return {
            service_id: {
                **service,
                "Checks": {
                    check_id: {key: check[key] for key in ("Name", "Type", "Notes")}
                    for check_id, check in checks.items()
                    if check["ServiceID"] == service_id
                },
            }
            for service_id, service in services.items()
        }

    def clear(self) -> None:
        """Deregister everything."""
        for service_id in self.services():
            path = f"/v1/agent/service/deregister/{service_id.replace('/', '%2F')}"
            self._http.put(path).raise_for_status()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


@pytest.fixture(scope="module")
def only_agent() -> Iterator[Agent]:
    """One agent for all files."""
    with ConsulAgent() as consul:
        agent = Agent(consul)
        yield agent
        agent.close()


@pytest.fixture
def agent(only_agent: Agent) -> Agent:
    """The agent, without services."""
    only_agent.clear()
    assert only_agent.services() == {}
    return only_agent


def test_every_file_has_a_case() -> None:
    """No file is left out, and no case is without its file."""
    assert sorted(CASES) == sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", names("registered"))
def test_registered(agent: Agent, name: str) -> None:
    """The agent has exactly the services of the file, as they are written there."""
    agent.register(FOLDER / name)
    found = agent.services()
    expected = {one["id"]: one for one in CASES[name]["registered"]}
    assert found.keys() == expected.keys()
    for service_id, one in expected.items():
        service = found[service_id]
        assert (service["Service"], service["Port"]) == (one["name"], one["port"])
        assert len(service["Checks"]) == (one["checks"] or 1)
        assert service["Address"] == one.get("address", service["Address"])
        assert service["Tags"] == one.get("tags", service["Tags"])
        assert service["Meta"] == one.get("meta", service["Meta"])
        weights = {key.lower(): weight for key, weight in service["Weights"].items()}
        assert weights == one.get("weights", weights)
        assert sorted(service["Checks"]) == sorted(one.get("check_ids", service["Checks"]))


@pytest.mark.parametrize("name", names("as Consul"))
def test_as_consul(agent: Agent, name: str) -> None:
    """The agent has what Consul's own command leaves there; and the probe, if there is no check."""
    agent.consul.cli("services", "register", str(FOLDER / name))
    by_consul = agent.services()
    agent.clear()
    agent.register(FOLDER / name)
    found = agent.services()
    for service_id, service in found.items():
        probe = service["Checks"].pop(f"kato-probe:{service_id}", None)
        assert (probe is None) or not by_consul[service_id]["Checks"]
    assert found == by_consul


@pytest.mark.parametrize("name", names("mistake"))
def test_mistake(agent: Agent, name: str) -> None:
    """The mistake is reported in words, and nothing is registered."""
    with pytest.raises(DefinitionError) as caught:
        agent.register(FOLDER / name)
    message = str(caught.value).replace(name, "").lower()
    for words in CASES[name]["mistake"]:
        assert any(word.lower() in message for word in words.split("|")), message
    assert agent.services() == {}


@pytest.mark.parametrize("name", names("refused"))
def test_refused_by_an_agent_that_does_not_know_it(agent: Agent, name: str) -> None:
    """A newer kind of check is handed on. This agent refuses it, and nothing is registered."""
    version = agent.consul.cli("version")
    if "v1.8." not in version:
        pytest.skip(f"this agent may know it: {version.splitlines()[0]}")
    with pytest.raises(ConsulRejected) as caught:
        agent.register(FOLDER / name)
    assert all(word in str(caught.value) for word in CASES[name]["refused"])
    assert agent.services() == {}
