"""The child process of ``exec``, which works as a container's first process too.

Signals are not handled asynchronously: they are blocked before anything starts, and fetched one by
one where the command is ready for them. So none is lost, and nothing is interrupted halfway. Every
process that ends is reaped: the child, and orphans that were reparented to this process.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

SIGNALS = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
"""The signals that are fetched; `exec` forwards all but the first three to the child."""

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Child:
    """A running program in a process group of its own, with this process's input and output.

    Raises FileNotFoundError if there is no such program, another OSError if it cannot be run.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        _become_subreaper()
        self.returncode: int | None = None
        """The exit status as in a shell: 128 + n for signal n; None while it runs."""
        try:
            self.pid = self._spawn()
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            raise

    @property
    def program(self) -> str:
        """The program's name or path."""
        return self._argv[0]

    def restart(self) -> None:
        """Kill it if it still runs, with all processes left in its group, and start it again.

        Raises:
            OSError: it cannot be run any more.
        """
        self.kill()
        self.pid = self._spawn()
        self.returncode = None

    def _spawn(self) -> int:
        # Ctrl-C in a terminal must reach only this process, which drains the child first. So the
        # child has a process group of its own.
        return os.posix_spawnp(
            self._argv[0],
            self._argv,
            dict(os.environ),
            setpgroup=0,
            setsigmask=self._mask,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
        )

    def next_signal(self, within: float | None = None) -> int | None:
        """Return the next signal other than SIGCHLD.

        Returns None when the child has ended, and after ``within`` seconds; None waits without a
        limit. With a limit it also returns None when any child process ended.
        """
        self._reap()
        while self.returncode is None:
            if within is None:
                number = signal.sigwait(SIGNALS)
            elif (info := signal.sigtimedwait(SIGNALS, within)) is None:
                return None
            else:
                number = signal.Signals(info.si_signo)
            if number != signal.SIGCHLD:
                return number
            self._reap()
            if within is not None:
                return None
        return None

    def signal(self, number: int) -> None:
        """Forward a signal to the child."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the child, and all processes left in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.returncode is None:  # not by `next_signal`, which would drop a stop signal
            _, status = os.waitpid(self.pid, 0)
            self.returncode = _as_in_a_shell(status)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.returncode = _as_in_a_shell(status)


def _as_in_a_shell(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _become_subreaper() -> None:
    """Become the parent of the child's orphans, as a container's first process is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
