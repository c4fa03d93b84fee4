"""Server program of another project, started for tests: on free ports, leaving no files behind."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.scratch import ScratchFolder

ATTEMPTS = 3
"""To choose ports that no other program takes before the server does."""


class ServerProgram(ABC):
    """A server on 127.0.0.1 and its process, as a context manager.

    A class of servers sets ``FAILED``, the error of a start that failed; ``PORT_IN_USE``, what is
    in its log if another program has a port; ``POLL``, the seconds between two looks at one that
    starts; and ``FOLDER``, how the name of its temporary folder begins.
    """

    FAILED: ClassVar[type[RuntimeError]]
    PORT_IN_USE: ClassVar[str]
    POLL: ClassVar[float]
    FOLDER: ClassVar[str]

    def __init__(self, title: str) -> None:
        """``title`` is what errors call it."""
        self._title = title
        self._process: ChildProcess | None = None
        self._scratch: ScratchFolder | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 30.0) -> None:
        """Start it and wait, up to `timeout` seconds, until it is ready.

        The first start chooses the ports; later ones keep them. Raises a RuntimeError with the end
        of the log if it ends early or is not ready in time, or if there is no such program.
        """
        if self.running:
            raise RuntimeError(f"{self._title} is running already; stop it first")
        deadline = time.monotonic() + timeout
        attempts = 1 if self._has_ports else ATTEMPTS
        for attempt in range(1, attempts + 1):
            try:
                process = self._launch()
                problem = self._wait_until_ready(process, deadline)
            except BaseException:  # also Ctrl-C: `with` does not call __exit__ then
                self.stop()
                raise
            if problem is None:
                return
            log = process.log_tail()
            self.stop()
            if self.PORT_IN_USE not in log or attempt == attempts:
                raise self.FAILED(f"{self._title} {problem}; the end of its log:\n{log}")
            self._forget_ports()

    def stop(self) -> None:
        """End it, even if it is frozen, and remove its temporary folder. Idempotent."""
        if self._process:
            self._end(self._process)
        if self._scratch:
            self._scratch.remove()
            self._scratch = None

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would."""
        self._started.kill()

    def freeze(self) -> None:
        """Freeze it: it accepts connections and sends no response."""
        self._started.freeze()

    def thaw(self) -> None:
        """Resume a frozen one."""
        self._started.thaw()

    @property
    def running(self) -> bool:
        """True if its process runs. A frozen server is running."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._started.pid

    def log_tail(self, lines: int = 20) -> str:
        """Return the last `lines` lines of its log; empty after `stop` has removed it."""
        return self._started.log_tail(lines)

    def _launch(self) -> ChildProcess:
        # Stored before it starts: after an interrupt in between, `stop` has to end it.
        process = self._process = self._program()
        process.start()
        return process

    def _end(self, process: ChildProcess) -> None:
        process.kill()

    def _temporary_folder(self) -> Path:
        """Return its temporary folder, which lasts until `stop`."""
        if self._scratch is None:
            self._scratch = ScratchFolder(self.FOLDER)
        return self._scratch.path

    @property
    @abstractmethod
    def _has_ports(self) -> bool:
        """True if its ports are chosen."""

    @abstractmethod
    def _forget_ports(self) -> None:
        """Let the next start choose other ports."""

    @abstractmethod
    def _program(self) -> ChildProcess:
        """Choose what is not chosen yet, write its files, and return its process, not started."""

    @abstractmethod
    def _wait_until_ready(self, process: ChildProcess, deadline: float) -> str | None:
        """Call `_wait_until`."""

    def _wait_until(
        self, process: ChildProcess, deadline: float, is_ready: Callable[[], bool]
    ) -> str | None:
        """Return None once it is ready, otherwise the reason why it is not."""
        while time.monotonic() < deadline:
            if not process.running:
                return f"ended early with exit status {process.returncode}"
            if is_ready():
                return None
            time.sleep(self.POLL)
        return "was not ready in time"

    @property
    def _started(self) -> ChildProcess:
        if self._process is None:
            raise RuntimeError(f"{self._title} was not started; call start() first")
        return self._process
