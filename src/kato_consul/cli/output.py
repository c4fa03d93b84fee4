"""Output of commands: results to standard output, progress to standard error.

When the reader of a pipe exits (``| head``), a command that only prints ends quietly, as any
program does. A job must not end: a registrar still has to deregister what it registered. So jobs
use `print_event` and `print_status`, which never fail, and do not wait for a reader that does not
read: what does not fit into a full pipe is lost.
"""

import contextlib
import errno
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

import kato_consul

if TYPE_CHECKING:
    from kato_consul import Settings

PROGRAM = "kato-consul"
"""The program's name, and the subject of lines and events about the command itself."""

SLOW_AFTER = 1.5
"""Seconds without a response from a server after which the user is informed."""

MAX_EXCERPT = 200
"""Characters of a check's output that are shown in a line."""

_READER_GONE = (errno.EPIPE, errno.EIO)
"""Errors of a pipe without a reader, and of a closed terminal."""


def printable(text: str) -> str:
    """Return a text from outside as a terminal may show it: in one line, with its control
    characters escaped.

    Anything may be in an id, a tag or the output of a check. Escape sequences would move the cursor
    or change what is shown, and characters that reverse the order of others would hide it.
    """
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def excerpt(text: str) -> str:
    """Return a text from outside in one line, cut after `MAX_EXCERPT` characters."""
    line = " ".join(text.split())
    return printable(line if len(line) <= MAX_EXCERPT else f"{line[:MAX_EXCERPT]}…")


PIPE_BUFFER = 1000
"""Characters that are written at once: in a pipe that accepts anything, there is room for 4096
bytes (POSIX: PIPE_BUF), and a character is at most 4."""

READER_PATIENCE = 0.25
"""Seconds that an event waits for room in a full pipe. After one that had none, others do not wait
until there is room again."""

_stalled: set[int] = set()
_writing = threading.RLock()  # of events, which several threads print; a signal may come in between


def print_event(line: str) -> None:
    """Write an event to standard output, unless its reader does not read."""
    _write_if_read(sys.stdout, line)


def print_result(line: str) -> None:
    """Write a line of the result to standard output."""
    _write(sys.stdout, line)


def print_status(line: str) -> None:
    """Write a line about progress to standard error, unless its reader does not read."""
    _write_if_read(sys.stderr, line)


def print_version() -> None:
    """Write the program's name and version to standard output."""
    print_result(f"{PROGRAM} {kato_consul.__version__}")


def log_line(subject: str, message: str) -> str:
    """Return a line with the time, as in a log."""
    return f"{time.strftime('%H:%M:%S')}  {printable(subject)}: {message}"


@contextlib.contextmanager
def status_if_slow(server: str) -> Iterator[Callable[[], None]]:
    """Print that ``server`` does not answer yet, if the block takes longer than `SLOW_AFTER`.

    Yields a function to call when it has answered.
    """
    line = f"no answer from {server} yet; still trying"
    timer = threading.Timer(SLOW_AFTER, print_status, [line])
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()


def status_if_consul_is_slow(
    settings: "Settings",
) -> contextlib.AbstractContextManager[Callable[[], None]]:
    """`status_if_slow` for Consul; with only a static list of instances, Consul is not asked."""
    if not settings.uses_consul:
        return contextlib.nullcontext(lambda: None)
    return status_if_slow(f"Consul at {settings.consul_address}")


def duration(seconds: float) -> str:
    """Return a duration in the largest unit of which there are at least two."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def discard_output(stream: TextIO) -> None:
    """Redirect a stream without a reader to the null device: Python flushes it again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _write_if_read(stream: TextIO | None, line: str) -> None:
    text = f"{_printable_lines(line)}\n"
    with _writing:
        for start in range(0, len(text), PIPE_BUFFER):
            if not _has_room(stream):
                return
            _write_text(stream, text[start : start + PIPE_BUFFER])


def _has_room(stream: TextIO | None) -> bool:
    """Return whether a stream accepts some text without blocking."""
    try:
        descriptor = stream.fileno() if stream is not None else -1
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        ready = poll.poll(0 if descriptor in _stalled else READER_PATIENCE * 1000)
    except (OSError, ValueError):
        return True  # not a file: let the stream itself decide
    (_stalled.discard if ready else _stalled.add)(descriptor)
    return bool(ready)


def _write(stream: TextIO | None, line: str) -> None:
    _write_text(stream, f"{_printable_lines(line)}\n")


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _write_text(stream: TextIO | None, text: str) -> None:
    if stream is None:  # the process was started with the descriptor closed
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError as error:
            encoded = text.encode(error.encoding, "backslashreplace")
            stream.write(encoded.decode(error.encoding))
        stream.flush()
    except OSError as error:
        if error.errno in _READER_GONE:
            discard_output(stream)
        # On other errors, such as a full disk, the line stays in the buffer until the next write.
    except ValueError:
        pass  # the stream was closed
