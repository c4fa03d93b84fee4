"""The stand-in KATO as a process: start, connections and end."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from kato_consul.testing.kato import StandInKato
from kato_consul.testing.kato.serve import main
from kato_consul.testing.ports import free_ports
from tests.testing.http import NO_REUSE, create_session, is_busy, observe, read_stm
from tests.testing.waiting import eventually


@pytest.fixture
def kato(tmp_path: Path) -> Iterator[StandInKato]:
    """One instance."""
    with StandInKato(store=tmp_path / "store.sqlite", folder=tmp_path) as kato:
        yield kato


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """A client that does not reuse connections."""
    with httpx.Client(timeout=10, limits=NO_REUSE) as client:
        yield client


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for calls that run during the test."""
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio only."""
    return "asyncio"


def test_a_restarted_instance_has_its_port_and_sessions(http: httpx.Client, tmp_path: Path) -> None:
    """A killed instance refuses connections; restarted, it has its port and its sessions."""
    with StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path) as kato:
        session = create_session(http, kato)
        observe(http, kato, session, "a")
        url = kato.url
        kato.kill()
        assert not kato.running
        with pytest.raises(httpx.ConnectError):
            http.get(f"{url}/health")
        kato.restart()
        assert (kato.url, kato.running) == (url, True)
        assert read_stm(http, kato, session) == [["a"]]
        kato.restart()
        assert read_stm(http, kato, session) == [["a"]]


def test_a_thawed_instance_processes_pending_requests(http: httpx.Client, tmp_path: Path) -> None:
    """A frozen instance accepts connections without a response; thawed, it processes them."""
    with StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path, workers=2) as kato:
        session = create_session(http, kato)
        kato.freeze()
        assert kato.running
        with pytest.raises(httpx.ReadTimeout):
            http.post(f"{kato.url}{session}/observe", json={"strings": ["late"]}, timeout=0.3)
        kato.thaw()
        assert eventually(lambda: read_stm(http, kato, session) == [["late"]])
        kato.freeze()  # a frozen instance can be stopped
    assert not kato.running


def test_stop_finishes_requests_in_flight(
    http: httpx.Client, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """`stop` waits for the response to a request in flight."""
    with StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path) as kato:
        session = create_session(http, kato)
        kato.switch(slow=1.0)
        answer = threads.submit(observe, http, kato, session, "a")
        assert eventually(lambda: is_busy(http, kato))
        kato.stop()
        assert answer.result().status_code == 200


@pytest.mark.anyio
async def test_four_workers_lose_concurrent_observations(
    http: httpx.Client, tmp_path: Path
) -> None:
    """Four workers keep all of 60 observations sent one at a time, but not 16 at a time."""
    with StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path, workers=4) as kato:
        kept = []
        for at_once in (1, 16):
            if at_once > 1:
                kato.switch(slow=0.05)  # so that observations overlap on a busy machine too
            session = create_session(http, kato)
            limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=0)
            async with httpx.AsyncClient(timeout=30, limits=limits) as client:
                url = f"{kato.url}{session}/observe"
                calls = (client.post(url, json={"strings": [f"e{n}"]}) for n in range(60))
                answers = await asyncio.gather(*calls)
            assert {answer.status_code for answer in answers} == {200}
            kept.append(len(read_stm(http, kato, session)))
        assert kept[0] == 60
        assert kept[1] < 60


def test_503_beyond_the_concurrency_limit(http: httpx.Client, tmp_path: Path) -> None:
    """Beyond the limit uvicorn itself returns 503 in plain text, and closes."""
    with (
        StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path, limit_concurrency=5) as kato,
        contextlib.ExitStack() as idle,
    ):
        for _ in range(5):
            idle.enter_context(socket.create_connection((kato.host, kato.port)))
        assert eventually(lambda: http.get(f"{kato.url}/health").status_code == 503)
        answer = http.get(f"{kato.url}/health")
        assert (answer.status_code, answer.text) == (503, "Service Unavailable")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["connection"] == "close"
        assert "X-Trace-ID" not in answer.headers
        idle.close()
        assert eventually(lambda: http.get(f"{kato.url}/health").status_code == 200)


def test_idle_connections_are_closed(kato: StandInKato) -> None:
    """The server closes a connection without a request for 5 s."""
    with socket.create_connection((kato.host, kato.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: k\r\n\r\n")
        answer = b""
        while not answer.endswith(b'"session_support":true}'):
            answer += connection.recv(65536)
        started = time.monotonic()
        assert connection.recv(1) == b""
        assert 4.5 < time.monotonic() - started < 8


def test_workers_end_with_their_parent(http: httpx.Client, tmp_path: Path) -> None:
    """Workers end when their parent is killed; a worker that dies is replaced."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "kato_consul.testing.kato.serve", "--workers", "2"]
    command += ["--port", str(port), "--store", str(tmp_path / "s.sqlite")]
    with subprocess.Popen(command, start_new_session=True) as parent:
        try:
            assert eventually(lambda: len(children(parent.pid)) == 2)
            first, second = children(parent.pid)
            os.kill(first, signal.SIGKILL)
            assert eventually(lambda: len(children(parent.pid) - {first, second}) == 1)
            workers = children(parent.pid)
            parent.kill()
            parent.wait()
            assert eventually(lambda: not any(is_alive(worker) for worker in workers))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


def children(pid: int) -> set[int]:
    """Return the child processes of `pid`."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_alive(pid: int) -> bool:
    """Return whether a process runs and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_port_in_use_is_an_error(kato: StandInKato, tmp_path: Path) -> None:
    """Starting on a port in use raises an error that says so."""
    second = StandInKato(store=tmp_path / "s.sqlite", port=kato.port, folder=tmp_path)
    with pytest.raises(RuntimeError, match="Address already in use; choose another port"):
        second.start()
    assert not second.running


def test_an_invalid_store_is_an_error(tmp_path: Path) -> None:
    """The error of a failed start has the end of the process's log."""
    kato = StandInKato(store=tmp_path, folder=tmp_path)  # the store is a folder
    with pytest.raises(RuntimeError, match=r"(?s)status 1.*unable to open database file"):
        kato.start()


def test_a_start_that_takes_too_long_is_an_error(tmp_path: Path) -> None:
    """An instance that does not respond in time is killed; the error has the timeout."""
    kato = StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path)
    with pytest.raises(RuntimeError, match=r"did not respond within 0.01 s"):
        kato.start(timeout=0.01)
    assert not kato.running


def test_hung_before_the_start(http: httpx.Client, tmp_path: Path) -> None:
    """`start` of an instance that is already switched to hang waits only until it listens."""
    kato = StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path)
    kato.switch(hung=True)
    with kato:
        with pytest.raises(httpx.ReadTimeout):
            http.get(f"{kato.url}/health", timeout=0.2)
        kato.switch(hung=False)
        assert http.get(f"{kato.url}/health").status_code == 200


def test_help_lists_options_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    """--help lists the options with their defaults."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    output = capsys.readouterr().out
    assert "--store STORE" in output
    assert "(default: 100)" in output
