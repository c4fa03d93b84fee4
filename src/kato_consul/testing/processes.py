"""Child processes that never outlive this process, even if it crashes or is killed with SIGKILL.

A child runs in its own session and process group. Ctrl-C in a terminal therefore reaches only this
process, and a signal is sent to the whole group, including the child's workers. When a child ends,
the processes that it leaves in its group are killed. A descendant that moves to a session of its
own cannot be killed, unless it is a `ChildProcess` of a process that died itself.
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

# The program must be on the watchdog's list before it runs, but its pid is known only once it
# exists. So it starts as a shell that waits for a line and then becomes the program, with the same
# pid. If this process dies in between, the pipe is closed and the shell ends.
GATE = 'read -r go || exit 125; exec "$@" </dev/null'

TAIL_BYTES = 64 * 1024  # 20 lines of 3 KiB: longer than the lines of any log here


class ChildProcess:
    """A child process that never outlives this process.

    As a context manager it is started and terminated. It may be started again after it ended. Its
    standard input is empty. A forked child of this process does not own it.

    Args:
        argv: the program and its arguments.
        name: the program's name in errors.
        log: the file to which standard output and standard error are appended; its folder is
            created.
        env: the complete environment; None inherits this process's.
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

        Raises FileNotFoundError if there is no such program, RuntimeError if it is running.
        """
        if self.running:
            raise RuntimeError(f"{self.name} is running already (pid {self.pid}); stop it first")
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
            with contextlib.suppress(BrokenPipeError):  # ended already; `running` is False then
                gate.write(b"go\n")

    @property
    def pid(self) -> int:
        """The program's process id, also that of its group. RuntimeError if not started."""
        if self._program is None:
            raise RuntimeError(f"{self.name} was not started; call start() first")
        return self._program.pid

    @property
    def running(self) -> bool:
        """True if the program was started and has not ended. A frozen program is running."""
        return self._program is not None and self.returncode is None

    @property
    def returncode(self) -> int | None:
        """The exit status, or minus the signal that ended it; None before that."""
        if self._program is None:
            return None
        if self._program.poll() is not None:
            self._clean_up()
        return self._program.returncode

    def wait(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for the end; return `returncode` or raise TimeoutError."""
        if self._program is None:
            raise RuntimeError(f"{self.name} was not started; call start() first")
        try:
            self._program.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(
                f"{self.name} (pid {self.pid}) still runs after {timeout:g} s; its log: {self.log}"
            ) from None
        self._clean_up()
        return self._program.returncode

    def signal(self, sig: int) -> None:
        """Send `sig` to the whole process group. RuntimeError if the program is not running."""
        if not self.running:
            raise RuntimeError(f"{self.name} is not running; its log: {self.log}")
        _signal_group(self.pid, sig)

    def freeze(self) -> None:
        """Stop the group with SIGSTOP: connections stay open and get no response."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume a frozen group with SIGCONT."""
        self.signal(signal.SIGCONT)

    def terminate(self, timeout: float = 10.0) -> None:
        """End the group with SIGTERM; kill it after `timeout` seconds. No effect if it ended."""
        if not self.running:
            return
        _signal_group(self.pid, signal.SIGTERM)
        _signal_group(self.pid, signal.SIGCONT)  # a frozen program handles SIGTERM only then
        try:
            self.wait(timeout)
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        """Kill the group with SIGKILL and reap the program. No effect if it ended."""
        if self._program is not None and self.running:
            _signal_group(self.pid, signal.SIGKILL)
            self._program.wait()
            self._clean_up()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last `lines` lines of the log; empty if there is no output."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _clean_up(self) -> None:
        # Right after the program was reaped: processes left in its group keep the group's id in
        # use, and the kernel does not reuse the id of an empty group that soon.
        try:
            _running.remove(self)
        except KeyError:
            return
        _signal_group(self.pid, signal.SIGKILL)
        _watchdog.release(self.pid)

    def _disown(self) -> None:
        # In a forked child, which cannot wait for its parent's child: this only updates the handle.
        if self._program is not None:
            self._program.poll()
        self._program = None


def _signal_group(group: int, sig: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # ended; or a zombie (macOS)
        os.killpg(group, sig)


_running: set[ChildProcess] = set()
_watchdog = Watchdog()


def _kill_all() -> None:
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


atexit.register(_kill_all)
os.register_at_fork(after_in_child=_after_fork)
