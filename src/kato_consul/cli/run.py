"""``run``: the guardian, which stays beside instances and keeps their registrations true."""

import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType

from kato_consul.cli.about import about_instances
from kato_consul.cli.asked import Asked
from kato_consul.cli.registrar import progress, registrar_for
from kato_consul.cli.signals import interrupt_on_signals
from kato_consul.drivers.sync.registrar import Registrar
from kato_consul.errors import DefinitionError
from kato_consul.registry.reading import read_definitions

GLANCE = 1.0
"""Seconds between looks at whether the definition file changed."""


@about_instances
def run(asked: Asked) -> None:
    """Register instances and stay: probe them, and keep Consul right.

    Asks each KATO instance how it is, its store included, and tells Consul;
    puts back what the agent loses; takes out what an earlier run of the same
    file left behind when it crashed. SIGTERM, or Ctrl-C, takes all out of
    Consul and ends it with 0.

      kato-consul run -f kato.toml

    A file that changes is read again, at once or on SIGHUP: new instances
    are put in, missing ones taken out. One with a mistake changes nothing.
    Otherwise as register, whose help tells what a file holds.
    """
    interrupt_on_signals()
    staying = False
    try:
        with (
            registrar_for(asked, then="and waiting", owner=owner_of(asked)) as registrar,
            registrar,
        ):
            staying = True
            progress(asked, "all registered; SIGTERM or Ctrl-C takes them out again")
            _stay(registrar, asked)
    except KeyboardInterrupt:
        if not staying:  # cut short: nothing was taken out that stood there before
            raise


def owner_of(asked: Asked) -> str:
    """The name under which a later run knows what this one left behind."""
    what = str(asked.file.resolve()) if asked.file else asked.definitions[0].id
    return f"{socket.gethostname()}:{what}"[:512]  # the longest that Consul takes as metadata


def _stay(registrar: Registrar, asked: Asked) -> None:
    file = asked.file
    asked_to_read = threading.Event()
    # A closed terminal says SIGHUP too, and then it is the end. A service has no terminal.
    if file is not None and not sys.stdin.isatty():

        def on_hup(number: int, frame: FrameType | None) -> None:
            asked_to_read.set()

        signal.signal(signal.SIGHUP, on_hup)
    seen = _stamp(file)
    while True:
        asked_to_read.wait(GLANCE)
        stamp = _stamp(file)
        if file is None or (stamp == seen and not asked_to_read.is_set()):
            continue
        asked_to_read.clear()
        if stamp is None:
            if seen is not None:
                progress(asked, f"{file} is gone; what it defined before stays")
        else:
            _read_again(registrar, asked, file)
        seen = stamp


def _read_again(registrar: Registrar, asked: Asked, file: Path) -> None:
    try:
        definitions = read_definitions(file)
    except DefinitionError as error:
        progress(asked, f"{error}\n  what was defined before stays")
        return
    progress(asked, f"{file} was read again: {len(definitions)} instances")
    registrar.replace(definitions)


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    """What changes when the file does: editors replace it, others write into it."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
