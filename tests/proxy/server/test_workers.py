"""Workers: processes that share a port, and are replaced when they die."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from kato_consul.proxy import ApiKey
from tests.proxy.server.application import LIFESPAN_LOG
from tests.proxy.server.serving import Callers, Server, serving, started
from tests.testing.waiting import eventually


def test_each_worker_serves() -> None:
    """The kernel spreads connections over them."""
    with serving(workers=2) as server:
        workers: set[int] = set()
        assert eventually(lambda: len(add(workers, server)) == 2)
        assert server.process.pid not in workers


def test_worker_that_dies_is_replaced() -> None:
    """Connections that wait for it are accepted by its replacement."""
    with serving(workers=2) as server:
        before: set[int] = set()
        assert eventually(lambda: len(add(before, server)) == 2)
        killed = before.pop()
        os.kill(killed, signal.SIGSTOP)
        waiting = [server.connection() for _ in range(20)]
        for one in waiting:
            one.request("GET", "/echo")  # about half of them are in the queue of the stopped one
        os.kill(killed, signal.SIGKILL)
        served_by = {one.getresponse().read() for one in waiting}
        assert len(served_by) == 2
        for one in waiting:
            one.close()
        assert server.end() == "cut 0\n"


def test_worker_that_cannot_be_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The log has the reason, and there is another attempt."""
    key, keys = ApiKey.create("shop"), tmp_path / "keys"
    keys.write_text(key.line)
    with serving(workers=2, api_keys=keys) as server:
        answer = server.get("/echo", x_api_key=key.key.reveal())
        keys.write_text("no key")
        os.kill(answer.json["pid"], signal.SIGKILL)
        errors = ""

        def reported() -> bool:
            nonlocal errors
            errors += capfd.readouterr().err
            return "line 1: write NAME SHA256" in errors

        assert eventually(reported)
        assert "proxy.worker_died" in errors


def test_signals_of_a_terminal() -> None:
    """Ctrl-C reaches all processes of the terminal: only the parent acts on it."""
    with serving(workers=2) as server:
        workers: set[int] = set()
        assert eventually(lambda: len(add(workers, server)) == 2)
        for pid in workers:
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
        with Callers(server.port).calling(4) as callers:
            assert eventually(lambda: callers.answered > 100)
        assert callers.failures == []
        assert server.end(signal.SIGINT) == "cut 0\n"


def test_parent_that_is_killed(tmp_path: Path) -> None:
    """Its workers end what is in hand, and themselves."""
    log = tmp_path / "lifespan"
    with serving(workers=2, env={LIFESPAN_LOG: str(log)}) as server:
        server.end(signal.SIGKILL)
        assert eventually(lambda: log.read_text().count("shutdown") == 2)
        with contextlib.suppress(ConnectionRefusedError):
            server.socket().close()


def test_worker_that_hangs() -> None:
    """It is killed at the end."""
    with serving(workers=2, drain=0) as server:
        workers: set[int] = set()
        assert eventually(lambda: len(add(workers, server)) == 2)
        os.kill(workers.pop(), signal.SIGSTOP)
        assert server.end() == "cut 0\n"
        assert server.process.returncode == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_application_that_cannot_be_opened(workers: int) -> None:
    """Its error is raised, and no process is left."""
    with started("unstartable", workers=workers) as server:
        assert server.ended() == "ConfigurationError: this application cannot be opened\n"
        assert server.process.returncode == 2


def test_worker_that_dies_while_it_starts() -> None:
    """The server does not start."""
    with started("crashing", workers=2) as server:
        assert "while it was starting, with exit code 3" in server.ended()
        assert server.process.returncode == 2


def add(workers: set[int], server: Server) -> set[int]:
    """Add the process that answers a request."""
    workers.add(server.get("/echo").json["pid"])
    return workers
