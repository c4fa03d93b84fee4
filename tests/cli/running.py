"""Runs the command line as users do: as a process of its own, with a real agent."""

import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import httpx

from kato_consul.testing import ConsulAgent, StandInKato
from kato_consul.testing.ports import free_ports

ENDS_WITHIN = 60.0
"""Seconds after which a command that should have ended counts as hung."""

HTTP = httpx.Client(timeout=10, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
"""For requests without this library's client; each on a new connection, so that none is left."""

Process = subprocess.Popen[str]


def kato_consul(
    *args: str | Path, env: dict[str, str] | None = None, program: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; ``program`` is Python code to run instead of the package."""
    return subprocess.run(
        argv(*args, program=program),
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN,
        check=False,
    )


def all_at_once(*commands: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """Run commands concurrently: a short one spends half its time starting."""
    with ThreadPoolExecutor(5) as pool:
        return list(pool.map(lambda command: kato_consul(*command), commands))


@contextlib.contextmanager
def started(
    *args: str | Path, env: dict[str, str] | None = None, program: str | None = None, **given: Any
) -> Iterator[Process]:
    """Start a long-running command; it is killed at the end of the block."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **given}
    with subprocess.Popen(
        argv(*args, program=program),
        env=environment(env),
        stdin=subprocess.DEVNULL,
        text=True,
        **pipes,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def argv(*args: str | Path, program: str | None = None) -> list[str]:
    """Return the arguments that run the command line."""
    how = ["-m", "kato_consul"] if program is None else ["-c", program]
    return [sys.executable, *how, *map(str, args)]


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment without variables for Consul or terminals, plus ``more``."""
    foreign = ("CONSUL_", "KATO_", "NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "COLUMNS": "80", **(more or {})}


def line_with(process: Process, text: str, *, stream: IO[str] | None = None) -> str:
    """Return the next line of standard output, or of ``stream``, that contains ``text``.

    AssertionError if the process ends first; it is killed after `ENDS_WITHIN` seconds.
    """
    lines = stream or process.stdout
    assert lines is not None
    hung = threading.Timer(ENDS_WITHIN, process.kill)
    hung.start()
    try:
        seen = []
        for line in lines:
            seen.append(line)
            if text in line:
                return line
    finally:
        hung.cancel()
    raise AssertionError(f"{text!r} is not in:\n{''.join(seen)}")


def without_waiting(errors: str) -> str:
    """Return standard error without the line that says that Consul has not answered yet: on a busy
    machine an agent takes its time."""
    lines = errors.splitlines(keepends=True)
    return "".join(line for line in lines if not line.endswith("yet; still trying\n"))


class HealthServer:
    """A server with an instance's /health endpoint; ``healthy`` may be changed at any time."""

    def __init__(self, *, healthy: bool = True) -> None:
        self.healthy = healthy
        instance = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_ok = instance.healthy and self.path == "/health"
                self.send_response(200 if is_ok else 503)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", free_ports(1)[0]), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> "HealthServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def table(self, service: str, number: int, *, more: str = "") -> str:
        """Return its definition in TOML."""
        return (
            f'[[service]]\nname = "{service}"\nid = "{service}-{number}"\n'
            f'address = "127.0.0.1"\nport = {self.port}\n{more}'
            f'check = {{ interval = "200ms", timeout = "10s" }}\n'
        )

    def flags(self, service: str) -> list[str]:
        """Return the same definition as flags."""
        flags = ["--name", service, "--id", f"{service}-1", "--address", "127.0.0.1"]
        check = ["--check-http", f"http://127.0.0.1:{self.port}/health", "--interval", "200ms"]
        return [*flags, "--port", str(self.port), *check]


def fresh_name() -> str:
    """Return a service name that is not registered yet."""
    return f"kato-{uuid.uuid4().hex[:8]}"


def agent_env(agent: ConsulAgent) -> dict[str, str]:
    """Return the environment variable that names this agent."""
    return {"CONSUL_HTTP_ADDR": agent.http_addr}


def ids(agent: ConsulAgent, service: str) -> set[str]:
    """Return the ids of a service that the agent itself has, incomplete registrations included."""
    found = get_json(agent, "/v1/agent/services")
    return {service_id for service_id, one in found.items() if one["Service"] == service}


def healths(agent: ConsulAgent, service: str) -> dict[str, str]:
    """Return the status of each instance's own check in the catalog."""
    found = get_json(agent, f"/v1/health/checks/{service}")
    return {check["ServiceID"]: check["Status"] for check in found}


def get_json(agent: ConsulAgent, path: str) -> Any:
    """Return the agent's response to a GET request, sent without this library's client."""
    return HTTP.get(f"{agent.url}{path}").raise_for_status().json()


def processes(kato: StandInKato) -> int:
    """Return the number of worker processes that respond."""
    responses = [HTTP.get(f"{kato.url}/health", headers={"connection": "close"}) for _ in range(32)]
    return len({one.json()["last_collection"] for one in responses})


@contextlib.contextmanager
def client_of(kato: StandInKato) -> Iterator[None]:
    """Send requests to each worker process on a connection of its own, also before the block.

    To each: which of them accept connections while a drain looks for them is the scheduler's
    choice.
    """
    begun, over = threading.Event(), threading.Event()
    with contextlib.ExitStack() as stack:
        connections: dict[float, httpx.Client] = {}
        hung = time.monotonic() + ENDS_WITHIN
        while len(connections) < kato.workers:
            assert time.monotonic() < hung, f"{len(connections)} of {kato.workers} processes accept"
            http = stack.enter_context(
                httpx.Client(base_url=kato.url, trust_env=False, verify=False)
            )
            worker = http.get("/health").raise_for_status().json()["last_collection"]
            if connections.setdefault(worker, http) is not http:
                http.close()

        def send_requests() -> None:
            while not over.wait(0.05):
                for http in connections.values():
                    http.get("/sessions/none/exists").raise_for_status()
                begun.set()

        client = stack.enter_context(ThreadPoolExecutor(1)).submit(send_requests)
        try:
            assert begun.wait(ENDS_WITHIN)
            yield
        finally:
            over.set()
            client.result()


def marker_env() -> dict[str, str]:
    """Return a variable by which `leftover_processes` finds every process that inherited it."""
    return {"KATO_CONSUL_TEST": uuid.uuid4().hex}


def leftover_processes(mark: dict[str, str]) -> list[str]:
    """Return the command lines of running processes whose environment has the variable."""
    variable = f"KATO_CONSUL_TEST={mark['KATO_CONSUL_TEST']}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end while it is read.
        with contextlib.suppress(OSError):
            if variable in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found
