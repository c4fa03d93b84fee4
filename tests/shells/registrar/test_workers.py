"""Several worker processes that register one instance: it stays while one of them lives."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent
from kato_consul.testing.ports import free_ports
from tests.cli.running import ENDS_WITHIN, HealthServer, Process, get_json, healths, ids, line_with
from tests.testing.waiting import eventually

APPLICATION = """
import os
from fastapi import FastAPI
from kato_consul import AsyncRegistrar, CheckDefinition, ServiceDefinition

# A check fails whose request a worker has accepted that is killed.
check = CheckDefinition(
    http="http://127.0.0.1:{port}/health", interval="200ms", failures_before_critical=2
)
orders = ServiceDefinition(
    name="orders", id="orders-1", address="127.0.0.1", port={port}, check=check
)
app = FastAPI(lifespan=AsyncRegistrar([orders]).lifespan)


@app.get("/health")
def health() -> int:
    return os.getpid()
"""

SYNC_WORKER = """
import signal, sys
from kato_consul import CheckDefinition, Registrar, ServiceDefinition

port = int(sys.argv[1])
check = CheckDefinition(http=f"http://127.0.0.1:{port}/health", interval="200ms")
orders = ServiceDefinition(
    name="orders", id="orders-1", address="127.0.0.1", port=port, check=check
)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with Registrar([orders], wait=30):
    print("started", flush=True)
    signal.pause()
"""


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left(agent: ConsulAgent) -> None:
    """Each test begins without an instance."""
    assert ids(agent, "orders") == set()


class Watcher:
    """Reads the instance from the agent all the time.

    Attributes:
        missed: how often it was not there and passing.
    """

    def __init__(self, agent: ConsulAgent) -> None:
        self._agent = agent
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.missed = 0
        self.looks = 0

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            checks = get_json(self._agent, "/v1/agent/checks").values()
            statuses = [one["Status"] for one in checks if one["ServiceID"] == "orders-1"]
            self.missed += statuses != ["passing"]
            self.looks += 1

    def look_again(self) -> None:
        """Wait until the instance was looked at some times more."""
        looks = self.looks
        assert eventually(lambda: self.looks >= looks + 20)


@contextmanager
def uvicorn_workers(agent: ConsulAgent, folder: Path, count: int) -> Iterator[list[Process]]:
    """Run the application as worker processes of one socket; yield them when all have started.

    They have no manager, which would start a new one for each that ends.
    """
    (port,) = free_ports(1)
    (folder / "orders.py").write_text(APPLICATION.replace("{port}", str(port)))
    worker = (
        "import socket, sys, uvicorn\n"
        "listening = socket.socket(fileno=int(sys.argv[1]))\n"
        "config = uvicorn.Config('orders:app', access_log=False)\n"
        "uvicorn.Server(config).run([listening])\n"
    )
    with ExitStack() as at_the_end:
        listening = at_the_end.enter_context(socket.socket())
        listening.bind(("127.0.0.1", port))
        listening.listen()
        os.set_inheritable(listening.fileno(), True)
        processes = []
        for _ in range(count):
            argv = [sys.executable, "-c", worker, str(listening.fileno())]
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env={**os.environ, "CONSUL_HTTP_ADDR": agent.http_addr},
                pass_fds=[listening.fileno()],
                stderr=subprocess.PIPE,
                text=True,
            )
            at_the_end.enter_context(process)
            at_the_end.callback(process.kill)
            processes.append(process)
        for process in processes:
            line_with(process, "Application startup complete", stream=process.stderr)
        yield processes


def is_passing(agent: ConsulAgent) -> bool:
    """Return whether the catalog has the instance as passing."""
    return healths(agent, "orders") == {"orders-1": "passing"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_instance_stays_while_one_worker_lives(
    agent: ConsulAgent, tmp_path: Path, number: signal.Signals
) -> None:
    """Workers end one by one, in whatever way: the instance is there and passing without a gap,
    and goes with the last one."""
    with uvicorn_workers(agent, tmp_path, 3) as workers:
        assert eventually(lambda: is_passing(agent))
        with Watcher(agent) as watcher:
            for worker in workers[:-1]:
                worker.send_signal(number)
                worker.wait(ENDS_WITHIN)
                watcher.look_again()
        assert watcher.missed == 0
        workers[-1].send_signal(signal.SIGTERM)
        workers[-1].wait(ENDS_WITHIN)
    assert ids(agent, "orders") == set()


def test_all_workers_end_at_once(agent: ConsulAgent, tmp_path: Path) -> None:
    """When all end together, nothing is left behind."""
    with uvicorn_workers(agent, tmp_path, 4) as workers:
        assert eventually(lambda: is_passing(agent))
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            worker.wait(ENDS_WITHIN)
    assert ids(agent, "orders") == set()


def test_workers_that_are_killed_all_at_once(agent: ConsulAgent, tmp_path: Path) -> None:
    """When all are killed, Consul's own check is critical; the next worker registers again, and
    the instance goes with it."""
    with uvicorn_workers(agent, tmp_path, 2) as workers:
        assert eventually(lambda: is_passing(agent))
        for worker in workers:
            worker.kill()
    assert eventually(lambda: healths(agent, "orders") == {"orders-1": "critical"})
    with uvicorn_workers(agent, tmp_path, 1) as (worker,):
        assert eventually(lambda: is_passing(agent))
        worker.terminate()
        worker.wait(ENDS_WITHIN)
    assert ids(agent, "orders") == set()


@contextmanager
def sync_worker(agent: ConsulAgent, port: int) -> Iterator[Process]:
    """Run a process that manages the instance, and wait until it has begun."""
    env = {**os.environ, "CONSUL_HTTP_ADDR": agent.http_addr}
    argv = [sys.executable, "-c", SYNC_WORKER, str(port)]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            yield process
        finally:
            process.kill()


def test_workers_that_come_and_go(agent: ConsulAgent) -> None:
    """Each worker ends as soon as the next one has begun, some of them killed: no gap."""
    with HealthServer() as server, ExitStack() as all_workers:
        previous = all_workers.enter_context(sync_worker(agent, server.port))
        assert eventually(lambda: is_passing(agent))
        with Watcher(agent) as watcher:
            for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
                following = all_workers.enter_context(sync_worker(agent, server.port))
                previous.send_signal(number)
                previous.wait(ENDS_WITHIN)
                previous = following
            watcher.look_again()
        assert watcher.missed == 0
        previous.terminate()
        assert previous.wait(ENDS_WITHIN) == 0
    assert ids(agent, "orders") == set()


def test_one_ends_while_another_begins(agent: ConsulAgent) -> None:
    """Whether the new one begins before, while or after the old one deregisters, the instance is
    registered in the end."""
    with HealthServer() as server, ExitStack() as all_workers:
        previous = all_workers.enter_context(sync_worker(agent, server.port))
        for _ in range(4):
            previous.terminate()
            following = all_workers.enter_context(sync_worker(agent, server.port))
            previous.wait(ENDS_WITHIN)
            assert ids(agent, "orders") == {"orders-1"}
            previous = following
        previous.terminate()
        assert previous.wait(ENDS_WITHIN) == 0
    assert ids(agent, "orders") == set()
