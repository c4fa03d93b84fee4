"""The command line in a terminal: a pseudo-terminal of 80 columns and 30 rows."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from pathlib import Path
from typing import Self

from tests.cli.running import ENDS_WITHIN, argv, environment

ROWS, COLUMNS = 30, 80

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command in a terminal; ``shown`` is all it wrote there so far."""

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
        )
        os.close(self._theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(ENDS_WITHIN)
        os.close(self._ours)

    def wait(self, timeout: float = ENDS_WITHIN) -> int:
        """Its exit code, once it has ended and all it wrote was read."""
        code = self.process.wait(timeout)
        self._reader.join(ENDS_WITHIN)
        return code

    @property
    def shown(self) -> str:
        """What it wrote, control sequences and all."""
        return "".join(self._pieces)

    @property
    def lines(self) -> list[str]:
        """The lines that it wrote, without the control sequences."""
        return _CONTROL.sub("", self.shown).splitlines()

    def _read(self) -> None:
        # Reading fails once nobody has the other end open: that is how a terminal ends.
        with contextlib.suppress(OSError):
            while piece := os.read(self._ours, 65536):
                self._pieces.append(piece.decode(errors="replace"))
