"""Workers: processes that share a port, and are replaced when they die."""

import contextlib
import os
import resource
import signal
from pathlib import Path

import pytest

from kato_consul.proxy import ApiKey
from tests.proxy.server.application import LIFESPAN_LOG, STARTS
from tests.proxy.server.serving import CONNECTIONS, Answer, Callers, Server, serving, started
from tests.testing.waiting import eventually


def test_each_worker_serves() -> None:
    """The kernel spreads connections over them."""
    with serving(workers=2) as server:
        workers: set[int] = set()
        assert eventually(lambda: len(add(workers, server)) == 2)
        assert server.process.pid not in workers


def test_worker_that_dies_is_replaced() -> None:
    """Connections that wait for it are accepted by the others."""
    with serving(workers=2) as server:
        before: set[int] = set()
        assert eventually(lambda: len(add(before, server)) == 2)
        killed = before.pop()
        os.kill(killed, signal.SIGSTOP)
        waiting = [server.connection() for _ in range(20)]
        for one in waiting:
            one.request("GET", "/echo")  # about half of them are in the queue of the stopped one
        os.kill(killed, signal.SIGKILL)
        assert killed not in {Answer.read(one).json["pid"] for one in waiting}
        for one in waiting:
            one.close()
        after: set[int] = set()
        assert eventually(lambda: len(add(after, server)) == 2)
        assert killed not in after
        assert server.end() == "cut 0\n"


def test_worker_that_cannot_be_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The others serve its connections. The log has the reason, and there are further attempts."""
    key, keys = ApiKey.create("shop"), tmp_path / "keys"
    keys.write_text(key.line)
    headers = {"x_api_key": key.key.reveal()}
    log = Log(capfd)
    with serving(workers=2, api_keys=keys) as server:
        workers: set[int] = set()
        assert eventually(lambda: len(add(workers, server, **headers)) == 2)
        keys.write_text("no key")
        os.kill(workers.pop(), signal.SIGKILL)
        assert eventually(lambda: log.count("line 1: write NAME SHA256") > 1)
        assert "proxy.worker_died" in log.text
        with contextlib.ExitStack() as stack:
            waiting = [server.connection() for _ in range(CONNECTIONS)]
            for one in waiting:
                stack.callback(one.close)
                one.request("GET", "/echo", headers={"x-api-key": key.key.reveal()})
            assert {Answer.read(one).json["pid"] for one in waiting} == workers
        keys.write_text(key.line)
        assert eventually(lambda: len(add(workers, server, **headers)) == 2)


def test_no_descriptor_for_a_replacement(capfd: pytest.CaptureFixture[str]) -> None:
    """It is started when there is one again."""
    log = Log(capfd)
    with serving(workers=2) as server:
        workers: set[int] = set()
        assert eventually(lambda: len(add(workers, server)) == 2)
        pid = server.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
        os.kill(workers.pop(), signal.SIGKILL)
        failed = "proxy.worker_not_started why='Too many open files'"
        assert eventually(lambda: log.count(failed) > 0)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert eventually(lambda: len(add(workers, server)) == 2)


def test_end_while_a_worker_is_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A replacement that does not serve yet is not waited for."""
    for number in range(2):
        (tmp_path / f"place {number}").touch()
    with serving("opened_by_some", workers=2, env={STARTS: str(tmp_path)}) as server:
        os.kill(server.get("/echo").json["pid"], signal.SIGKILL)
        assert eventually((tmp_path / "go.begun").exists)
        assert server.end() == "cut 0\n"
    assert "proxy.worker_killed" not in capfd.readouterr().err


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


def add(workers: set[int], server: Server, **headers: str) -> set[int]:
    """Add the process that answers a request."""
    workers.add(server.get("/echo", **headers).json["pid"])
    return workers


class Log:
    """What servers have logged since the last test."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.text = ""

    def count(self, part: str) -> int:
        """Return how often a text is in it."""
        self.text += self._capfd.readouterr().err
        return self.text.count(part)
