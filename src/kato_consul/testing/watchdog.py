"""Watchdog: a companion process that kills child process groups when their owner dies.

A process killed with SIGKILL cannot clean up. So with its first child it starts a companion: a
small process that reads a pipe whose write end only the owner holds. The kernel closes that end
however the owner dies, and the companion then kills every process group still on its list.

Linux's PR_SET_PDEATHSIG looks simpler, but fires when the *thread* that started the program ends.

Run as a program (`python -I -S watchdog.py`), this file imports only the standard library.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

EXIT_TIMEOUT = 5.0  # seconds; the companion needs milliseconds, and must not block an exit


class Watchdog:
    """The owner's end of the pipe: lists the process groups that must not outlive this process.

    The companion is started with the first group, and restarted if it died. Safe to use from
    several threads. After a fork the child needs a new one (see `abandon`).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._companion: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The companion's process id; None before the first group and after `close`."""
        return self._companion.pid if self._companion else None

    def guard(self, group: int) -> None:
        """Add process group `group`: it is killed when this process ends, however it ends."""
        with self._lock:
            self._groups.add(group)
            self._write(b"+%d\n" % group)

    def release(self, group: int) -> None:
        """Remove `group`: it has ended, and its id may soon be reused."""
        with self._lock:
            self._groups.discard(group)
            if self._companion:
                self._write(b"-%d\n" % group)

    def close(self) -> None:
        """End the companion; it kills the groups that were not released."""
        with self._lock:
            self._stop()
            self._groups.clear()

    def abandon(self) -> None:
        """Close the parent's pipe in a forked child.

        Otherwise the child's copy of the write end would keep the companion waiting after the
        parent's death.
        """
        # No lock: a thread of the parent may have held it, and that thread does not exist here.
        self._stop()

    def _write(self, line: bytes) -> None:
        if self._companion and self._companion.stdin:
            try:
                self._companion.stdin.write(line)  # below PIPE_BUF, so lines are never split
            except BrokenPipeError:
                self._stop()
            else:
                return
        companion = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve())],
            bufsize=0,
            stdin=subprocess.PIPE,  # close-on-exec: no child inherits it
            stdout=subprocess.DEVNULL,  # otherwise it would keep this process's output open
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # not reached by Ctrl-C or signals to this process's group
        )
        self._companion = companion
        assert companion.stdin is not None
        companion.stdin.write(b"".join(b"+%d\n" % group for group in sorted(self._groups)))

    def _stop(self) -> None:
        companion, self._companion = self._companion, None
        if companion and companion.stdin:
            companion.stdin.close()
            try:
                # It ends with the pipe. In a forked child it is no child: this returns at once.
                companion.wait(EXIT_TIMEOUT)
            except subprocess.TimeoutExpired:  # frozen, or a fork outside Python holds the pipe
                companion.kill()
                companion.wait()


def watch(lines: Iterable[bytes]) -> None:
    """Read `+GROUP` and `-GROUP` lines until the pipe ends, then kill the groups that are left."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line.startswith(b"+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # ended; or a zombie
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watch(iter(sys.stdin.buffer.readline, b""))
