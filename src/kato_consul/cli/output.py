"""Words on their way out: results to standard output, progress to standard error.

A reader that went away (``| head``) ends a command that only prints, quietly, as it ends any
program. It must not end a job: a registrar with nobody to talk to still has to take out what it
put in. So jobs `tell` and `say`, and neither ever fails.
"""

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

PATIENCE = 1.5
"""Seconds of silence after which somebody who waits is told for what."""

_READER_GONE = (errno.EPIPE, errno.EIO)
"""Of a pipe, and of a terminal that was closed."""


def print_result(line: str) -> None:
    """A line of the result, on standard output."""
    _write(sys.stdout, line)


def print_status(line: str) -> None:
    """A line of progress, on standard error."""
    _write(sys.stderr, line)


def timed(who: str, what: str) -> str:
    """A line as it stands in a log."""
    return f"{time.strftime('%H:%M:%S')}  {who}: {what}"


@contextlib.contextmanager
def status_if_slow(line: str, after: float = PATIENCE) -> Iterator[Callable[[], None]]:
    """Say ``line`` if the block takes longer than ``after`` seconds; call what it gives to not."""
    timer = threading.Timer(after, print_status, [line])
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()


def nobody_reads(stream: TextIO) -> None:
    """Lead a stream whose reader is gone to nowhere: Python flushes it once more at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _write(stream: TextIO, line: str) -> None:
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except OSError as error:
        if error.errno in _READER_GONE:
            nobody_reads(stream)
        # Otherwise, such as on a full disk, the line stays in the stream's buffer for the next one.
