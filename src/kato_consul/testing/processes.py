"""A program we start never outlives us: not our normal end, not our crash, not our SIGKILL.

The program runs in a session and process group of its own, so that Ctrl-C in a terminal reaches
us alone and we decide; and a signal goes to the whole group, so that its workers share its fate.
What a program leaves behind in its group when it ends is killed. A descendant that moves to a
session of its own is out of reach, unless it is a `ChildProcess` of a process which itself died.
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from kato_consul.testing.watchdog import Watchdog

# The program must be on the watchdog's list before it runs, and its number is known only once it
# exists. So it is first a shell that waits for our word, and becomes the program (same number)
# when it gets it. If we die in between, the pipe ends and the shell with it.
GATE = 'read -r go || exit 125; exec "$@" </dev/null'

TAIL_BYTES = 64 * 1024  # 20 lines of 3 KiB: more than any log here writes


class ChildProcess:
    """A program started by us that never outlives us.

    `argv` is the program and its arguments; `name` stands for it in errors; its output and errors
    are appended to the file `log` (its folder is made); `env` replaces the environment, None
    inherits ours. Its standard input is empty. May be started again after it ended. A forked
    child of ours does not own it. Used with `with`, it is started and terminated.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = list(argv)
        self.name = name
        self.log = log
        self.env = env
        self._program: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    def start(self) -> None:
        """Start the program.

        Raises FileNotFoundError when there is no such program, RuntimeError when it is running.
        """
        if self.running:
            raise RuntimeError(f"{self.name} is running already (pid {self.pid}); end it first")
        path = None if self.env is None else self.env.get("PATH", os.defpath)
        program = shutil.which(self.argv[0], path=path)
        if program is None:
            raise FileNotFoundError(
                f"cannot start {self.name}: no program {self.argv[0]!r}; "
                "install it or give its path"
            )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            started = subprocess.Popen(
                ["/bin/sh", "-c", GATE, "sh", program, *self.argv[1:]],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
            )
        self._program = started
        _running.add(self)
        assert started.stdin is not None
        with started.stdin as gate:
            _watchdog.guard(started.pid)
            with contextlib.suppress(BrokenPipeError):  # ended already; `running` will say so
                gate.write(b"go\n")

    @property
    def pid(self) -> int:
        """The program's own process id, which is also its group's. RuntimeError if not started."""
        if self._program is None:
            raise RuntimeError(f"{self.name} was not started; call start() first")
        return self._program.pid

    @property
    def running(self) -> bool:
        """Whether the program was started and has not ended; a frozen one counts as running."""
        return self._program is not None and self.returncode is None

    @property
    def returncode(self) -> int | None:
        """The exit status, or minus the signal that ended it; None while running or not started."""
        if self._program is None:
            return None
        if self._program.poll() is not None:
            self._bury()
        return self._program.returncode

    def wait(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for the end and return `returncode`; else TimeoutError."""
        if self._program is None:
            raise RuntimeError(f"{self.name} was not started; call start() first")
        try:
            self._program.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(
                f"{self.name} (pid {self.pid}) still runs after {timeout:g} s; see {self.log}"
            ) from None
        self._bury()
        return self._program.returncode

    def signal(self, sig: int) -> None:
        """Send `sig` to the whole process group. RuntimeError when the program is not running."""
        if not self.running:
            raise RuntimeError(f"{self.name} is not running; its last words are in {self.log}")
        _signal_group(self.pid, sig)

    def freeze(self) -> None:
        """Stop the group in its tracks: connections stay open and nobody answers."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen group go on."""
        self.signal(signal.SIGCONT)

    def terminate(self, timeout: float = 10.0) -> None:
        """Ask the group to end; after `timeout` seconds, kill it. Nothing happens if it ended."""
        if not self.running:
            return
        _signal_group(self.pid, signal.SIGTERM)
        _signal_group(self.pid, signal.SIGCONT)  # a frozen program hears nothing until it goes on
        try:
            self.wait(timeout)
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        """Kill the group with SIGKILL and reap the program. Nothing happens if it ended."""
        if self._program is not None and self.running:
            _signal_group(self.pid, signal.SIGKILL)
            self._program.wait()
            self._bury()

    def log_tail(self, lines: int = 20) -> str:
        """The last `lines` lines of the log; empty when nothing was written."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _bury(self) -> None:
        # Right after the program was reaped: what it left in its group still keeps the group's
        # number taken, and an empty group's number is not given out again that soon.
        try:
            _running.remove(self)
        except KeyError:
            return
        _signal_group(self.pid, signal.SIGKILL)
        _watchdog.release(self.pid)

    def _disown(self) -> None:
        # In a forked child, where waiting for another's child settles the handle and no more.
        if self._program is not None:
            self._program.poll()
        self._program = None


def _signal_group(group: int, sig: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; or only a zombie (macOS)
        os.killpg(group, sig)


_running: set[ChildProcess] = set()
_watchdog = Watchdog()


def _end_all() -> None:
    for child in list(_running):
        child.kill()
    _watchdog.close()


def _after_fork() -> None:
    global _watchdog
    for child in list(_running):
        child._disown()
    _running.clear()
    _watchdog.abandon()
    _watchdog = Watchdog()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_after_fork)
