"""The example services under their real servers: how tests start and call them."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from kato_consul.testing import Fleet
from kato_consul.testing.ports import free_ports
from tests.testing.waiting import eventually

ROOT = Path(__file__).parents[2]

UVICORN = [
    "uvicorn", "examples.fastapi_service:app", "--port", "{port}", "--workers", "4",
    "--log-level", "warning",
]  # fmt: skip
GUNICORN = [
    "gunicorn", "--preload", "--workers", "4", "--threads", "8", "--bind", "127.0.0.1:{port}",
    "--log-level", "warning", "examples.flask_service:app",
]  # fmt: skip
SERVICES = {"fastapi": UVICORN, "flask": GUNICORN}
"""The commands of the examples' first lines: four workers, and no routing to one of them."""

WORKERS = 4

TIMEOUT = 40.0
"""Seconds for an answer: more than the service's deadline, on a busy machine."""


@contextmanager
def running_service(fleet: Fleet, name: str, directory: str = "consul") -> Iterator[httpx.Client]:
    """Run a service for the block; yield an HTTP client of it. It must end in order on SIGTERM."""
    (port,) = free_ports(1)
    program = [argument.format(port=port) for argument in SERVICES[name]]
    env = {
        **fleet.environment,
        "KATO_CONSUL_SESSION_DIRECTORY": directory,
        "PATH": str(Path(sys.executable).parent),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}",
        "PYTHONWARNINGS": "error::ResourceWarning",  # the client is closed
    }
    with tempfile.TemporaryFile("w+") as stderr:  # a pipe that is not read would fill up
        process = subprocess.Popen(
            [sys.executable, "-m", *program],
            cwd=ROOT,
            env=env,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, trust_env=False, timeout=TIMEOUT) as http:
                assert eventually(lambda: is_alive(http), within=60.0)
                yield http
                # gunicorn 27 loses a SIGTERM that reaches a worker before it serves, and then waits
                # 30 s for it: a fork has the handlers of its parent until it sets its own.
                assert eventually(lambda: serving_workers(url) == WORKERS, within=60.0)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30.0) in (0, -signal.SIGTERM)
            stderr.seek(0)
            written = stderr.read()
            assert "close()'" not in written  # the text of the client's ResourceWarning
            assert "Traceback" not in written, written
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its workers, too
                process.wait()


def is_alive(http: httpx.Client) -> bool:
    """Return whether the service answers."""
    try:
        return http.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def serving_workers(url: str) -> int:
    """Return how many workers answered a burst of requests, each over a new connection."""

    def process_that_answers(_: int) -> str | None:
        try:
            answer = httpx.get(f"{url}/health", trust_env=False, timeout=TIMEOUT)
        except httpx.TransportError:  # a worker that was killed had accepted it
            return None
        process: str = answer.json()["process"]
        return process

    with ThreadPoolExecutor(4 * WORKERS) as pool:
        return len(set(pool.map(process_that_answers, range(8 * WORKERS))) - {None})


def is_ready(http: httpx.Client) -> bool:
    """Return whether the service says that it is ready."""
    return http.get("/ready").status_code == 200
