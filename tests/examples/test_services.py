"""The example services under their real servers, while an instance is killed."""

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
    """Three instances, registered with an agent."""
    with Fleet(3) as fleet, Registrar(fleet.definitions, fleet.settings):
        yield fleet


@contextmanager
def running_service(fleet: Fleet, command: list[str]) -> Iterator[httpx.Client]:
    """Run the service for the block; yield an HTTP client of it. It must exit on SIGTERM."""
    (port,) = free_ports(1)
    program = [argument.format(port=port) for argument in command]
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
            assert eventually(lambda: _is_serving(http), within=60.0)
            yield http
        process.send_signal(signal.SIGTERM)
        assert process.wait(30.0) in (0, -signal.SIGTERM)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _is_serving(http: httpx.Client) -> bool:
    try:
        return http.get("/").status_code == 404
    except httpx.TransportError:
        return False


def view_products(http: httpx.Client, user: str, *products: str) -> list[str]:
    """View products one after the other; return the last predictions."""
    predicted: list[str] = []
    for product in products:
        response = http.post(f"/visits/{user}/{product}")
        assert response.status_code == 200, response.text
        predicted = response.json()["next"]
    return predicted


def test_fastapi_service_predicts_and_survives_a_kill(fleet: Fleet) -> None:
    """A third user gets predictions from two others' visits; no call fails during a kill."""
    with running_service(fleet, UVICORN) as http:
        for user in ("ann", "bob"):
            view_products(http, user, "tent", "stove", f"rope-{user}")
            assert http.post(f"/visits/{user}").json()["learned"].startswith("PTRN|")
        assert {"rope-ann", "rope-bob"} <= set(view_products(http, "cleo", "tent", "stove"))

        def view_twenty_products(user: str) -> None:
            view_products(http, user, *(f"{user}-{number}" for number in range(20)))

        with ThreadPoolExecutor(6) as pool:
            visits = [pool.submit(view_twenty_products, f"user-{n}") for n in range(6)]
            fleet.instances["kato-2"].kill()
            for visit in visits:
                visit.result(60.0)
        fleet.instances["kato-2"].start()


def test_flask_service_works_in_workers_forked_after_the_client(fleet: Fleet) -> None:
    """Each of two workers forked after the client was created serves calls on its own sessions."""
    with running_service(fleet, GUNICORN) as http:
        workers: set[int] = set()

        def both_workers_served() -> bool:
            # The worker that accepts a new connection keeps it.
            with httpx.Client(base_url=http.base_url, trust_env=False, timeout=40.0) as other:
                workers.add(other.get("/worker").json()["pid"])
                assert view_products(other, f"user-of-{len(workers)}", "a", "b") == []
            return len(workers) == 2

        assert eventually(both_workers_served, within=60.0)
