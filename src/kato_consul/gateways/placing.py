"""Placement: checks a configuration, puts it in place and reloads the gateway, or changes nothing.

A file is replaced by a rename in its folder, so that a reader never sees half of one. Until the
gateway has reloaded, the text of before is kept beside it, in ``.NAME.before``: it is restored if
the reload fails. If this process ends in between, the file tells the next one that the gateway may
not have reloaded.
"""

import contextlib
import errno
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

COMMAND_TIMEOUT = 60.0
"""Seconds that a check or a reload may take: tens of milliseconds are usual."""

MAX_OUTPUT = 4000
"""Characters of a program's output that an error has: its end."""

FILE = "{file}"
"""Stands for the path of the file in a check command."""


class Rejected(Exception):
    """A configuration was not accepted; the message has the output of the program."""


@dataclass(frozen=True)
class Placement:
    """Where a configuration goes, and what accepts it.

    Attributes:
        path: The file.
        check: Returns the command that checks the file at a path; None: it is not checked.
        reload: A command line for the shell, with which the gateway reads the file again; None: it
            does so by itself.
    """

    path: Path
    check: Callable[[Path], list[str]] | None
    reload: str | None = None

    def place(self, text: str, *, recheck: bool = False) -> bool:
        """Put a configuration in place, unless it is there; return whether it was not.

        Args:
            text: the configuration.
            recheck: check it also if it is there: it may have been written without a check.

        Raises:
            Rejected: the check or the reload failed. The file is as it was.
            OSError: the file cannot be written.
        """
        path = self.path.resolve()  # of a link, what it names is replaced
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"there is no folder {self.path.parent}")
        before = path.with_name(f".{path.name}.before")
        present = _read(path)
        if present == text and not before.exists():
            if recheck:
                self._check(text)
            return False
        self._check(text)
        if not before.exists():
            _write(before, present or "", like=path)
        _write(path, text, like=path)
        try:
            self._reload()
        except Rejected:
            if present is None:
                path.unlink()
                before.unlink()
            else:
                before.replace(path)
            raise
        before.unlink()
        return True

    def _check(self, text: str) -> None:
        if self.check is None:
            return
        with tempfile.TemporaryDirectory(prefix="kato-consul-gateway-") as folder:
            # A plain name: nginx takes one with a bracket for a pattern, and checks nothing.
            suffix = self.path.suffix if self.path.suffix[1:].isalnum() else ""
            file = Path(folder, f"checked{suffix}")
            file.write_text(text, encoding="utf-8")
            # The copy, and what a check writes around it, are gone when the message is read.
            copies = re.compile(rf"{re.escape(folder)}/(?:[a-z]+-)?{re.escape(file.name)}")
            try:
                command = self.check(file)
                _run(command, shlex.join(command), "the configuration is not accepted")
            except Rejected as error:
                raise Rejected(copies.sub(lambda _: str(self.path), str(error))) from None

    def _reload(self) -> None:
        if self.reload is not None:
            _run(["/bin/sh", "-c", self.reload], self.reload, "the gateway did not reload")


def command_check(command: str) -> Callable[[Path], list[str]]:
    """Return a check of the user's own: a command line, in which `FILE` is the file's path."""
    words = shlex.split(command)
    return lambda file: [word.replace(FILE, str(file)) for word in words]


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None


def _write(path: Path, text: str, *, like: Path) -> None:
    """Replace a file as a whole; its mode and owner are those of ``like``, if that exists."""
    new = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    try:
        with new.open("x", encoding="utf-8", errors="surrogateescape") as file:
            with contextlib.suppress(FileNotFoundError):
                status = like.stat()
                os.fchmod(file.fileno(), status.st_mode & 0o7777)
                with contextlib.suppress(PermissionError):  # only root may give files away
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()


def _run(command: list[str], shown: str, problem: str) -> None:
    """Run a command in a session of its own: Ctrl-C in a terminal does not reach it.

    Its output goes to a file: a program that goes on in the background would keep a pipe open.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - what the user asks for
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise Rejected(
                f"{problem}: {command[0]!r} could not be run ({why}); put it on the PATH, or name "
                f"another command"
            ) from None
        try:
            status = process.wait(COMMAND_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Rejected(f"{problem}: `{shown}` took longer than {COMMAND_TIMEOUT:g} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status != 0:
            output.seek(0)
            text = output.read().decode(errors="replace").strip()[-MAX_OUTPUT:]
            ended = f"{problem}: `{shown}` ended with status {status}"
            raise Rejected(f"{ended}:\n{text}" if text else ended)
