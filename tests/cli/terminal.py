"""A pseudo-terminal of 80 columns and 30 rows, to run commands in."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
from pathlib import Path
from typing import Self

from tests.cli.running import ENDS_WITHIN, argv, environment

ROWS, COLUMNS = 30, 80

CLOSE_POLL_INTERVAL = 0.1
"""Seconds between checks whether the terminal is to be closed."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command in a terminal of its own; ``shown`` is all that it has written there."""

    def __init__(
        self, *args: str | Path, env: dict[str, str] | None = None, program: str | None = None
    ) -> None:
        self._argv = argv(*args, program=program)
        self._env = {**environment(env), "TERM": "xterm-256color"}
        self._pieces: list[str] = []
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._argv,
            env=self._env,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            preexec_fn=_as_first_program,
        )
        os.close(self._theirs)
        self._open = True
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(ENDS_WITHIN)
        if self._open:
            os.close(self._ours)

    def press(self, keys: str) -> None:
        """Type keys; Ctrl-C is ``\\x03``."""
        os.write(self._ours, keys.encode())

    def close(self) -> None:
        """Close the terminal while the command runs, as a window or a lost connection does."""
        self._open = False
        self._reader.join(ENDS_WITHIN)  # a blocked read would keep it open
        os.close(self._ours)

    def wait(self, timeout: float = ENDS_WITHIN) -> int:
        """Return the exit code, once the command has ended and all its output was read."""
        code = self.process.wait(timeout)
        self._reader.join(ENDS_WITHIN)
        return code

    @property
    def shown(self) -> str:
        """All output, with its control sequences."""
        return "".join(self._pieces)

    @property
    def lines(self) -> list[str]:
        """The lines of the output, without control sequences."""
        return _CONTROL.sub("", self.shown).splitlines()

    def _read(self) -> None:
        # Reading fails once no process has the other end open: the terminal ends like this.
        with contextlib.suppress(OSError):
            while self._open:
                readable, _, _ = select.select([self._ours], [], [], CLOSE_POLL_INTERVAL)
                if readable:
                    self._pieces.append(os.read(self._ours, 65536).decode(errors="replace"))


def _as_first_program() -> None:
    """Make the terminal the controlling one, so that Ctrl-C is a signal, and let SIGHUP end a
    program, as in a new window: under nohup the tests would pass on that it is ignored."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
