"""Instances under test: three stand-ins, or the real instances in KATO_CONFORMANCE_URLS.

    KATO_CONFORMANCE_URLS=http://host:8000,http://host:8001 pytest tests/conformance

The instances must share their stores and their SERVICE_NAME. They are not switched, flushed or
stopped, and each run uses new nodes, so a deployment in use can be tested.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from kato_consul.testing.kato import StandInKato
from tests.testing.http import NO_REUSE

URLS = "KATO_CONFORMANCE_URLS"


@dataclass(frozen=True)
class Pool:
    """The instances and their common SERVICE_NAME."""

    urls: tuple[str, ...]
    service_name: str

    def kb(self, node_id: str) -> str:
        """Return the knowledge base of a node with a short and plain name."""
        return f"{node_id}_{self.service_name.replace('-', '_')}"


@dataclass(frozen=True)
class SessionClient:
    """Requests to one session at one instance."""

    http: httpx.Client
    url: str
    id: str
    node_id: str

    def at(self, url: str) -> "SessionClient":
        """Return the same session at another instance."""
        return SessionClient(self.http, url, self.id, self.node_id)

    def get(self, path: str = "") -> httpx.Response:
        """Send a GET request; `path` is the rest of the path, with its slash."""
        return self.http.get(f"{self.url}/sessions/{self.id}{path}")

    def post(self, path: str, json: object = None) -> httpx.Response:
        """Send a POST request; `path` is the rest of the path, with its slash."""
        return self.http.post(f"{self.url}/sessions/{self.id}{path}", json=json)

    def observe(self, *strings: str) -> dict[str, object]:
        """Send one observation and return the response body."""
        response = self.post("/observe", {"strings": strings})
        assert response.status_code == 200, response.text
        body: dict[str, object] = response.json()
        return body

    def learn(self) -> str:
        """Learn from the memory and return the pattern's name."""
        response = self.post("/learn")
        assert response.status_code == 200, response.text
        return str(response.json()["pattern_name"])

    @property
    def time(self) -> int:
        """The counter, read without changing it."""
        return int(self.get("/cognition-data").json()["cognition_data"]["time"])

    @property
    def stm(self) -> list[list[str]]:
        """The events in memory."""
        events: list[list[str]] = self.get("/stm").json()["stm"]
        return events


@pytest.fixture(scope="session", params=["real" if os.environ.get(URLS) else "stand-in"])
def pool(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pool]:
    """The instances. The id of each test has their kind: stand-in or real."""
    with contextlib.ExitStack() as running:
        if request.param == "real":
            urls = [url.strip().rstrip("/") for url in os.environ[URLS].split(",")]
        else:
            folder = tmp_path_factory.mktemp("kato")
            store = folder / "store.sqlite"
            katos = [StandInKato(store=store, name="kato-sim", folder=folder) for _ in range(3)]
            urls = [running.enter_context(kato).url for kato in katos]
        status = httpx.get(f"{urls[0]}/status", timeout=10).json()
        yield Pool(tuple(urls), status["base_processor_id"])


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """A client that does not reuse connections."""
    with httpx.Client(timeout=30, limits=NO_REUSE) as client:
        yield client


@pytest.fixture
def node_id() -> str:
    """A new node id."""
    return fresh_node()


@pytest.fixture
def session(pool: Pool, http: httpx.Client, node_id: str) -> SessionClient:
    """A new session at the first instance."""
    return create_session(pool, http, node_id)


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio only."""
    return "asyncio"


def fresh_node() -> str:
    """A new node id."""
    return f"n{uuid.uuid4().hex[:12]}"


def create_session(
    pool: Pool,
    http: httpx.Client,
    node_id: str,
    *,
    config: dict[str, object] | None = None,
    ttl_seconds: int = 600,
) -> SessionClient:
    """A new session at the first instance."""
    body = {"node_id": node_id, "ttl_seconds": ttl_seconds, "config": config}
    response = http.post(f"{pool.urls[0]}/sessions", json=body)
    assert response.status_code == 200, response.text
    return SessionClient(http, pool.urls[0], response.json()["session_id"], node_id)
