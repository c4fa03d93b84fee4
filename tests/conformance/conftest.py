"""Who is asked: three stand-ins, or the real instances that KATO_CONFORMANCE_URLS names.

    KATO_CONFORMANCE_URLS=http://host:8000,http://host:8001 pytest tests/conformance

The instances must share their stores and their SERVICE_NAME. They are not switched, flushed or
stopped, and each run works on nodes of its own, so one in use will do.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from kato_consul.testing.kato import StandInKato

URLS = "KATO_CONFORMANCE_URLS"
# No connection is used twice: an idle one may be closed by the server at any moment.
NO_REUSE = httpx.Limits(max_keepalive_connections=0)


@dataclass(frozen=True)
class Pool:
    """The instances, and the SERVICE_NAME they have in common."""

    urls: tuple[str, ...]
    service_name: str

    def kb(self, node_id: str) -> str:
        """The name under which an instance knows a node with a short and plain name."""
        return f"{node_id}_{self.service_name.replace('-', '_')}"


@dataclass(frozen=True)
class Talk:
    """One session at one instance."""

    http: httpx.Client
    url: str
    id: str
    node_id: str

    def at(self, url: str) -> "Talk":
        """The same session at another instance."""
        return Talk(self.http, url, self.id, self.node_id)

    def get(self, what: str = "") -> httpx.Response:
        """`what` is the rest of the path, with its slash."""
        return self.http.get(f"{self.url}/sessions/{self.id}{what}")

    def post(self, what: str, json: object = None) -> httpx.Response:
        """`what` is the rest of the path, with its slash."""
        return self.http.post(f"{self.url}/sessions/{self.id}{what}", json=json)

    def observe(self, *strings: str) -> dict[str, object]:
        """What the instance answers to one observation."""
        answer = self.post("/observe", {"strings": strings})
        assert answer.status_code == 200, answer.text
        seen: dict[str, object] = answer.json()
        return seen

    def learn(self) -> str:
        """The name of what is learned from the memory."""
        answer = self.post("/learn")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["pattern_name"])

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
    """The instances; the id of each test tells of which kind they are."""
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
    """A client that never sends on a used connection."""
    with httpx.Client(timeout=30, limits=NO_REUSE) as client:
        yield client


@pytest.fixture
def node_id() -> str:
    """A node that nobody used before."""
    return fresh_node()


@pytest.fixture
def talk(pool: Pool, http: httpx.Client, node_id: str) -> Talk:
    """A new session at the first instance."""
    return opened(pool, http, node_id)


@pytest.fixture
def anyio_backend() -> str:
    """The only event loop we ask with."""
    return "asyncio"


def fresh_node() -> str:
    """A node that nobody used before."""
    return f"n{uuid.uuid4().hex[:12]}"


def opened(
    pool: Pool,
    http: httpx.Client,
    node_id: str,
    *,
    config: dict[str, object] | None = None,
    ttl_seconds: int = 600,
) -> Talk:
    """A new session at the first instance."""
    body = {"node_id": node_id, "ttl_seconds": ttl_seconds, "config": config}
    answer = http.post(f"{pool.urls[0]}/sessions", json=body)
    assert answer.status_code == 200, answer.text
    return Talk(http, pool.urls[0], answer.json()["session_id"], node_id)
