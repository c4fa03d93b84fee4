"""The stand-in KATO as processes: how it starts, serves connections and ends."""

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
from tests.testing.http import NO_REUSE, busy, new_session, observe, stm
from tests.testing.waiting import eventually


@pytest.fixture
def kato(tmp_path: Path) -> Iterator[StandInKato]:
    """One instance."""
    with StandInKato(store=tmp_path / "store.sqlite", folder=tmp_path) as kato:
        yield kato


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """A client that never sends on a used connection."""
    with httpx.Client(timeout=10, limits=NO_REUSE) as client:
        yield client


@pytest.fixture
def meanwhile() -> Iterator[ThreadPoolExecutor]:
    """Threads for calls that take their time."""
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.fixture
def anyio_backend() -> str:
    """The only event loop we ask with."""
    return "asyncio"


def test_killed_and_restarted(http: httpx.Client, tmp_path: Path) -> None:
    """A killed instance refuses connections; started again, it has its port and its sessions."""
    with StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path) as kato:
        session = new_session(http, kato)
        observe(http, kato, session, "a")
        url = kato.url
        kato.kill()
        assert not kato.running
        with pytest.raises(httpx.ConnectError):
            http.get(f"{url}/health")
        kato.restart()
        assert (kato.url, kato.running) == (url, True)
        assert stm(http, kato, session) == [["a"]]
        kato.restart()
        assert stm(http, kato, session) == [["a"]]


def test_frozen_and_thawed(http: httpx.Client, tmp_path: Path) -> None:
    """A frozen instance accepts connections and does not answer; thawed, it does what was asked."""
    with StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path, workers=2) as kato:
        session = new_session(http, kato)
        kato.freeze()
        assert kato.running
        with pytest.raises(httpx.ReadTimeout):
            http.post(f"{kato.url}{session}/observe", json={"strings": ["late"]}, timeout=0.3)
        kato.thaw()
        assert eventually(lambda: stm(http, kato, session) == [["late"]])
        kato.freeze()  # and a frozen one can be stopped
    assert not kato.running


def test_work_is_finished_at_the_end(
    http: httpx.Client, tmp_path: Path, meanwhile: ThreadPoolExecutor
) -> None:
    """`stop` lets a request in work be answered."""
    with StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path) as kato:
        session = new_session(http, kato)
        kato.switch(slow=0.5)
        answer = meanwhile.submit(observe, http, kato, session, "a")
        assert eventually(lambda: busy(http, kato))
        kato.stop()
        assert answer.result().status_code == 200


@pytest.mark.anyio
async def test_four_workers(http: httpx.Client, tmp_path: Path) -> None:
    """Of 60 observations four workers keep all one at a time, and not all 16 at a time."""
    with StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path, workers=4) as kato:
        kept = []
        for at_once in (1, 16):
            session = new_session(http, kato)
            limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=0)
            async with httpx.AsyncClient(timeout=30, limits=limits) as client:
                url = f"{kato.url}{session}/observe"
                calls = (client.post(url, json={"strings": [f"e{n}"]}) for n in range(60))
                answers = await asyncio.gather(*calls)
            assert {answer.status_code for answer in answers} == {200}
            kept.append(len(stm(http, kato, session)))
        assert kept[0] == 60
        assert kept[1] < 60


def test_too_many_connections(http: httpx.Client, tmp_path: Path) -> None:
    """Beyond the limit uvicorn itself answers 503 in text, and closes."""
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
    """A connection without a request for 5 s is closed by the server."""
    with socket.create_connection((kato.host, kato.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: k\r\n\r\n")
        answer = b""
        while not answer.endswith(b'"session_support":true}'):
            answer += connection.recv(65536)
        started = time.monotonic()
        assert connection.recv(1) == b""
        assert 4.5 < time.monotonic() - started < 8


def test_workers_end_with_their_parent(http: httpx.Client, tmp_path: Path) -> None:
    """Workers whose parent was killed end by themselves; one that dies is replaced."""
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
            assert eventually(lambda: not any(alive(worker) for worker in workers))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


def children(pid: int) -> set[int]:
    """The child processes of `pid`."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_taken_port(kato: StandInKato, tmp_path: Path) -> None:
    """Starting on a port that is in use says so."""
    second = StandInKato(store=tmp_path / "s.sqlite", port=kato.port, folder=tmp_path)
    with pytest.raises(RuntimeError, match="Address already in use; choose another port"):
        second.start()
    assert not second.running


def test_an_impossible_store(tmp_path: Path) -> None:
    """A start that fails ends with the last words of the process."""
    kato = StandInKato(store=tmp_path, folder=tmp_path)  # a folder is no store
    with pytest.raises(RuntimeError, match=r"(?s)status 1.*unable to open database file"):
        kato.start()


def test_a_start_that_takes_too_long(tmp_path: Path) -> None:
    """What does not answer in time is killed, and the error says how long it had."""
    kato = StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path)
    with pytest.raises(RuntimeError, match=r"did not respond within 0.01 s"):
        kato.start(timeout=0.01)
    assert not kato.running


def test_born_hung(http: httpx.Client, tmp_path: Path) -> None:
    """An instance that is switched to hang before its start counts as started when it listens."""
    kato = StandInKato(store=tmp_path / "s.sqlite", folder=tmp_path)
    kato.switch(hung=True)
    with kato:
        with pytest.raises(httpx.ReadTimeout):
            http.get(f"{kato.url}/health", timeout=0.2)
        kato.switch(hung=False)
        assert http.get(f"{kato.url}/health").status_code == 200


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The command explains itself, with its defaults."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "--store STORE" in said
    assert "(default: 100)" in said
