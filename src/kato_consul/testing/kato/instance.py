"""Stand-in instance as a child process that a test starts, disturbs and stops."""

import contextlib
import dataclasses
import http.client
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from kato_consul.testing.kato import switches
from kato_consul.testing.kato.store import Store
from kato_consul.testing.kato.switches import StoreState, Switches
from kato_consul.testing.ports import free_ports
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.scratch import ScratchFolder

POLL = 0.02  # seconds between two checks of a starting instance


class StandInKato:
    """One stand-in KATO instance as a child process; a ``with`` block starts and stops it.

    Like a KATO 3.10.1, it hangs until it is killed if two sessions of one node observe at the same
    moment and ``process_predictions`` is on, as it is by default, for one of them.

    Args:
        store: SQLite file with sessions and learned patterns; instances may share it.
        name: the SERVICE_NAME; instances with one store and name share learned patterns.
        host: address to listen on.
        port: port to listen on; None chooses a free one.
        workers: number of worker processes, 1 or more. Each has its own session locks.
        folder: folder for the log and the switches; None: a temporary one, removed with this
            object.
        keep_alive: seconds before an idle connection is closed.
        limit_concurrency: connections or requests of a worker beyond which it responds with 503.
    """

    def __init__(
        self,
        *,
        store: Path,
        name: str = "kato",
        host: str = "127.0.0.1",
        port: int | None = None,
        workers: int = 1,
        folder: Path | None = None,
        keep_alive: float = 5,
        limit_concurrency: int = 100,
    ) -> None:
        self.store = store
        self.name = name
        self.host = host
        self.port = free_ports(1)[0] if port is None else port
        self.workers = workers
        if folder is None:
            self._own_folder = ScratchFolder("kato-")  # removed with this object
            folder = self._own_folder.path
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._switch_file = self.folder / f"kato-{self.port}.switches.json"
        self._switches = Switches()
        self._disturbed = False
        self._process = ChildProcess(
            [
                *(sys.executable, "-m", "kato_consul.testing.kato.serve"),
                *("--host", host, "--port", str(self.port)),
                *("--store", str(store), "--name", name, "--workers", str(workers)),
                *("--keep-alive", str(keep_alive)),
                *("--limit-concurrency", str(limit_concurrency)),
                *("--switches", str(self._switch_file)),
            ],
            name=f"stand-in KATO {name!r} on {host}:{self.port}",
            log=self.folder / f"kato-{self.port}.log",
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The instance's base URL, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id; with several workers, that of their parent."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True if the process runs. A frozen instance is running."""
        return self._process.running

    def start(self, timeout: float = 30.0) -> None:
        """Start it and wait, up to `timeout` seconds, until it responds to requests.

        If it is switched to hang, wait only until it listens. Raises RuntimeError with the end of
        its log if it ends or is not ready in time, and RuntimeError if the port is in use.
        """
        self._require_free_port()
        switches.write(self._switch_file, self._switches)
        self._process.start()
        deadline = time.monotonic() + timeout
        while not self._responds():
            if not self._process.running:
                raise RuntimeError(self._failure(f"ended with status {self._process.returncode}"))
            if time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError(self._failure(f"did not respond within {timeout:g} s"))
            time.sleep(POLL)

    def stop(self) -> None:
        """End it with SIGTERM; requests in flight get 5 s. No effect if it ended."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill all its processes with SIGKILL, in the middle of requests."""
        self._disturbed = True
        self._process.kill()

    def freeze(self) -> None:
        """Stop all its processes with SIGSTOP: connections are accepted and get no response.

        Requests that arrive meanwhile are processed after `thaw`, even if their callers gave up.
        """
        self._disturbed = True
        self._process.freeze()

    def thaw(self) -> None:
        """Resume a frozen instance and the requests that it was processing."""
        self._process.thaw()

    def restart(self) -> None:
        """Stop it if it runs, and start it again with the same port, store and switches."""
        self.stop()
        self.start()

    def repair(self) -> None:
        """Undo what was done to it: it runs, responds and has no fault.

        One that was killed, frozen or switched is started anew, so that it processes none of the
        requests that waited in it.
        """
        if not self._disturbed and self.running:
            return
        self.kill()
        self._switches = Switches()
        self.start()
        self._disturbed = False

    def switch(
        self,
        *,
        healthy: bool | None = None,
        issues: Sequence[str] | None = None,
        slow: float | None = None,
        hung: bool | None = None,
        store: StoreState | None = None,
    ) -> None:
        """Change switches, while it runs or before the start. None leaves a switch unchanged.

        Args:
            healthy: whether /health reports "healthy".
            issues: the issues that /health reports, with KATO's status for them: "High CPU usage",
                "High memory usage", "High error rate".
            slow: seconds, 0 or more, that calls on a session take between reading it and writing
                it back. An observation for which predictions are processed takes them twice, the
                second time with the lock of its node.
            hung: keep all requests waiting until it is False again. Then they are processed, even
                if their callers gave up.
            store: state of the store for this instance: "up"; "down" refuses connections; "full"
                refuses writes; "hung" does not respond, and a waiting request is dropped if its
                caller gives up.
        """
        self._disturbed = True
        given = {"healthy": healthy, "issues": issues, "slow": slow, "hung": hung, "store": store}
        changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        self._switches = dataclasses.replace(self._switches, **changes)
        switches.write(self._switch_file, self._switches)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last `lines` lines of its log."""
        return self._process.log_tail(lines)

    def _require_free_port(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            socket.create_server((self.host, self.port), family=family).close()
        except OSError as error:
            raise RuntimeError(
                f"cannot start {self._process.name}: {os.strerror(error.errno or 0)}; "
                "choose another port, or leave it out"
            ) from error

    def _responds(self) -> bool:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=1.0)
        with contextlib.closing(connection):
            try:
                connection.connect()
                if self._switches.hung:
                    return True
                connection.request("GET", "/")
                return connection.getresponse().status == http.client.OK
            except (OSError, http.client.HTTPException):
                return False

    def _failure(self, what: str) -> str:
        return f"{self._process.name} {what}; the end of its log:\n{self.log_tail()}"


def flush(store: Path) -> None:
    """Delete all sessions and patterns in the file `store` while instances use it."""
    with contextlib.closing(Store(store)) as opened:
        opened.flush()


def flush_sessions(store: Path) -> None:
    """Delete all sessions in the file `store` while instances use it, as flushing Redis does."""
    with contextlib.closing(Store(store)) as opened:
        opened.flush_sessions()
