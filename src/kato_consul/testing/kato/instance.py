"""A stand-in instance that you hold: start it, make it suffer, end it."""

import contextlib
import dataclasses
import http.client
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Self

from kato_consul.testing.kato import switches
from kato_consul.testing.kato.store import Store
from kato_consul.testing.kato.switches import StoreState, Switches
from kato_consul.testing.ports import free_ports
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.scratch import ScratchFolder

KNOCK = 0.02  # seconds between two looks at a starting instance


class StandInKato:
    """One instance of the stand-in, in a process of its own.

    `store` is the file that instances share; `name` the SERVICE_NAME, which instances that shall
    share what they learn have in common; `port` None takes a free one; `folder` holds the log and
    the switches, None makes one that goes when this object goes; `keep_alive` are the seconds an
    idle connection is kept; beyond `limit_concurrency` a worker answers 503. Used with `with`, it
    is started and stopped.
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
            self._own_folder = ScratchFolder("kato-")  # it goes when this object goes
            folder = self._own_folder.path
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._switch_file = self.folder / f"kato-{self.port}.switches.json"
        self._switches = Switches()
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
        """Where it answers, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id; with several workers, of the one that holds them."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives, frozen or not."""
        return self._process.running

    def start(self, timeout: float = 30.0) -> None:
        """Start it and wait until it answers; one that is switched to hang need only listen.

        Raises RuntimeError, with the end of its log, when it ends or `timeout` seconds pass.
        """
        self._require_free_port()
        switches.write(self._switch_file, self._switches)
        self._process.start()
        deadline = time.monotonic() + timeout
        while not self._answers():
            if not self._process.running:
                raise RuntimeError(self._story(f"ended with status {self._process.returncode}"))
            if time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError(self._story(f"did not answer within {timeout:g} s"))
            time.sleep(KNOCK)

    def stop(self) -> None:
        """End it with SIGTERM; what it has in work gets 5 s. Nothing happens if it ended."""
        self._process.terminate()

    def kill(self) -> None:
        """End all its processes with SIGKILL, in the middle of whatever they do."""
        self._process.kill()

    def freeze(self) -> None:
        """Stop all its processes where they are; connections are accepted and nobody answers.

        What arrives meanwhile is carried out after `thaw`, whether the caller still waits or not.
        """
        self._process.freeze()

    def thaw(self) -> None:
        """Let a frozen one go on, with what it had in work."""
        self._process.thaw()

    def restart(self) -> None:
        """End it if it runs, and start it again: same port, store and switches."""
        self.stop()
        self.start()

    def switch(
        self,
        *,
        healthy: bool | None = None,
        slow: float | None = None,
        hung: bool | None = None,
        store: StoreState | None = None,
    ) -> None:
        """Change switches, now or before the start; None leaves one as it is.

        `healthy` is what /health says; `slow` are seconds that calls on a session take, between
        reading and writing back; `hung` keeps all requests waiting until it is False again, and
        then they are carried out, whether their callers still wait or not; `store` is how this
        instance sees the store: "up", refusing connections ("down"), refusing writes ("full"), or
        silent ("hung": calls wait for it, and are dropped when their callers do not).
        """
        wanted = {"healthy": healthy, "slow": slow, "hung": hung, "store": store}
        changes: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
        self._switches = dataclasses.replace(self._switches, **changes)
        switches.write(self._switch_file, self._switches)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last `lines` lines that it wrote."""
        return self._process.log_tail(lines)

    def _require_free_port(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            socket.create_server((self.host, self.port), family=family).close()
        except OSError as error:
            raise RuntimeError(
                f"cannot start {self._process.name}: {os.strerror(error.errno or 0)}; "
                "choose another port, or none"
            ) from error

    def _answers(self) -> bool:
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

    def _story(self, what: str) -> str:
        return f"{self._process.name} {what}; its last words:\n{self.log_tail()}"


def flush_sessions(store: Path) -> None:
    """Lose all sessions in `store` while instances use it, as a flushed Redis loses them."""
    with contextlib.closing(Store(store)) as opened:
        opened.flush_sessions()
