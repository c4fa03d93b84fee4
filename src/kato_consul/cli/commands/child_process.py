"""A program that we are the parent of, as a container's first process has to be.

All signals are waited for, not caught: they are blocked before anything starts, and taken one by
one where we are ready for them, so that none is lost and nothing is interrupted half-way. Every
child that ends is reaped, ours and those that were left to us.
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
"""Those that we take; all but the first three are handed on to the child."""

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Child:
    """A running program in a process group of its own. Its output and input are ours.

    Raises FileNotFoundError when there is no such program, another OSError when it cannot be run.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        _adopt_orphans()
        self.returncode: int | None = None
        """The exit status as a shell has it: 128 + n for signal n; None while it runs."""
        try:
            # A group of its own: Ctrl-C in a terminal reaches us, and clients are sent away first.
            self.pid = os.posix_spawnp(
                argv[0],
                list(argv),
                dict(os.environ),
                setpgroup=0,
                setsigmask=before,
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
            )
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise

    def next_signal(self, within: float | None = None) -> int | None:
        """The next signal that is not about children; None when the child ended, or after
        ``within`` seconds."""
        self._reap()
        while self.returncode is None:
            if within is None:
                number = signal.sigwait(SIGNALS)
            elif (found := signal.sigtimedwait(SIGNALS, within)) is None:
                return None
            else:
                number = signal.Signals(found.si_signo)
            if number != signal.SIGCHLD:
                return number
            self._reap()
            if within is not None:
                return None
        return None

    def signal(self, number: int) -> None:
        """Hand a signal on to the child."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the child, and whatever is left of its group, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        while self.returncode is None:
            self.next_signal()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                code = os.waitstatus_to_exitcode(status)
                self.returncode = code if code >= 0 else 128 - code


def _adopt_orphans() -> None:
    """Have what our child leaves behind fall to us, as it falls to a container's first process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
