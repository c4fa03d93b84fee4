"""Services that embed the client, served as people serve them, while an instance is killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet
from kato_consul.testing.ports import free_ports
from tests.testing.waiting import eventually

ROOT = Path(__file__).parents[2]

UVICORN = ["uvicorn", "examples.fastapi_service:app", "--port", "{port}", "--log-level", "warning"]
GUNICORN = [
    "gunicorn", "--preload", "--workers", "2", "--threads", "4", "--bind", "127.0.0.1:{port}",
    "--log-level", "warning", "examples.flask_service:app",
]  # fmt: skip


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Three instances behind an agent, registered."""
    with Fleet(3) as made, Registrar(made.definitions, made.settings):
        yield made


@contextmanager
def served(fleet: Fleet, command: list[str]) -> Iterator[httpx.Client]:
    """The service, and a client of it. It ends well, on SIGTERM."""
    (port,) = free_ports(1)
    program = [one.format(port=port) for one in command]
    env = {
        "CONSUL_HTTP_ADDR": fleet.agent.http_addr,
        "PATH": str(Path(sys.executable).parent),
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen([sys.executable, "-m", *program], cwd=ROOT, env=env)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=40.0
        ) as http:
            assert eventually(lambda: _answers(http), within=60.0)
            yield http
        process.send_signal(signal.SIGTERM)
        assert process.wait(30.0) in (0, -signal.SIGTERM)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/").status_code == 404
    except httpx.TransportError:
        return False


def visits(http: httpx.Client, user: str, *products: str) -> list[str]:
    """A user looks at products one after the other; what is offered in the end."""
    offered: list[str] = []
    for product in products:
        answer = http.post(f"/visits/{user}/{product}")
        assert answer.status_code == 200, answer.text
        offered = answer.json()["next"]
    return offered


def test_fastapi(fleet: Fleet) -> None:
    """What two users taught it, a third is offered; a kill in the middle costs nobody a call."""
    with served(fleet, UVICORN) as http:
        for user in ("ann", "bob"):
            visits(http, user, "tent", "stove", f"rope-{user}")
            assert http.post(f"/visits/{user}").json()["learned"].startswith("PTRN|")
        assert {"rope-ann", "rope-bob"} <= set(visits(http, "cleo", "tent", "stove"))

        def shops(user: str) -> None:
            visits(http, user, *(f"{user}-{number}" for number in range(20)))

        with ThreadPoolExecutor(6) as pool:
            shopping = [pool.submit(shops, f"user-{number}") for number in range(6)]
            fleet.instances["kato-2"].kill()
            for one in shopping:
                one.result(60.0)
        fleet.instances["kato-2"].start()


def test_flask_in_forked_workers(fleet: Fleet) -> None:
    """Workers that were forked after the client was made each work with sessions of their own."""
    with served(fleet, GUNICORN) as http:
        workers: set[int] = set()

        def both() -> bool:
            # A new connection goes to whichever worker takes it, and stays with it.
            with httpx.Client(base_url=http.base_url, trust_env=False, timeout=40.0) as other:
                workers.add(other.get("/worker").json()["pid"])
                assert visits(other, f"user-of-{len(workers)}", "a", "b") == []
            return len(workers) == 2

        assert eventually(both, within=60.0)
