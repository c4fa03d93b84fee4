"""Both ends of the pipe that takes our programs away when we die.

A process killed with SIGKILL cleans nothing up. So the first program it starts gets a companion:
a small process that reads a pipe whose write end only the starter holds. The kernel closes that
end however the starter dies, and the companion then kills every process group still on its list.

Linux's PR_SET_PDEATHSIG looks simpler and is wrong: it fires when the *thread* that started the
program ends.

Run as a program this file imports nothing but the standard library: `python -I -S watchdog.py`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

PATIENCE = 5.0  # seconds; the companion needs milliseconds, and an exit must not hang on it


class Watchdog:
    """The starter's end: tells the companion which process groups must not outlive us.

    The companion is started with the first group and again should it have died itself.
    Safe to use from several threads; after a fork the child needs a new one (see `abandon`).
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
        """Have process group `group` killed when this process ends, however it ends."""
        with self._lock:
            self._groups.add(group)
            self._tell(b"+%d\n" % group)

    def release(self, group: int) -> None:
        """Forget `group`: it is over, and its number may soon be someone else's."""
        with self._lock:
            self._groups.discard(group)
            if self._companion:
                self._tell(b"-%d\n" % group)

    def close(self) -> None:
        """End the companion; it kills the groups that were not released."""
        with self._lock:
            self._dismiss()
            self._groups.clear()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's companion.

        Else our copy of the pipe's end would keep the companion waiting after the parent's death.
        """
        # No lock: another thread of the parent may have held it, and that thread is not here.
        self._dismiss()

    def _tell(self, line: bytes) -> None:
        if self._companion and self._companion.stdin:
            try:
                self._companion.stdin.write(line)  # far below PIPE_BUF, so never half a line
            except BrokenPipeError:
                self._dismiss()
            else:
                return
        companion = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve())],
            bufsize=0,
            stdin=subprocess.PIPE,  # close-on-exec: no program we start inherits it
            stdout=subprocess.DEVNULL,  # else it would hold our own output's reader open
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # out of reach of Ctrl-C and of kills to our group
        )
        self._companion = companion
        assert companion.stdin is not None
        companion.stdin.write(b"".join(b"+%d\n" % group for group in sorted(self._groups)))

    def _dismiss(self) -> None:
        companion, self._companion = self._companion, None
        if companion and companion.stdin:
            companion.stdin.close()
            try:
                # It ends with the pipe. In a forked child it is not ours: this returns at once.
                companion.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # frozen, or a fork unknown to Python has the pipe
                companion.kill()
                companion.wait()


def watch(lines: Iterable[bytes]) -> None:
    """The companion's end: read `+GROUP` and `-GROUP` until the pipe ends, then kill the rest."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line.startswith(b"+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; or only a zombie
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watch(iter(sys.stdin.buffer.readline, b""))
