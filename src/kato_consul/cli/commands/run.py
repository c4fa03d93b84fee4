"""``run``: the guardian, which stays beside instances and keeps their registrations true."""

import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType

from kato_consul._definitions.loader import read_definitions
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._sync.registrar import Registrar
from kato_consul.cli.commands.registrar import progress, registrar_for
from kato_consul.cli.event_output import US, event_sink
from kato_consul.cli.options.instance_options import instance_options
from kato_consul.cli.options.job_options import JobOptions, stamp_of
from kato_consul.cli.signals import interrupt_on_signals
from kato_consul.errors import DefinitionError

GLANCE = 1.0
"""Seconds between looks at whether the definition file changed."""


@instance_options
def run(asked: JobOptions) -> None:
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
    asked_to_read = threading.Event()
    if asked.file is not None:
        _listen_to_hup(asked_to_read)
    staying = False
    try:
        with (
            registrar_for(asked, then="and waiting", owner=owner_of(asked)) as registrar,
            registrar,
        ):
            staying = True
            progress(asked, "all registered; SIGTERM or Ctrl-C takes them out again")
            _stay(registrar, asked, asked_to_read)
    except KeyboardInterrupt:
        if not staying:  # cut short: nothing was taken out that stood there before
            raise


def owner_of(asked: JobOptions) -> str:
    """The name under which a later run knows what this one left behind."""
    what = str(asked.file.resolve()) if asked.file else asked.definitions[0].id
    return f"{socket.gethostname()}:{what}"[:512]  # the longest that Consul takes as metadata


def _stay(registrar: Registrar, asked: JobOptions, asked_to_read: threading.Event) -> None:
    file = asked.file
    on_event = event_sink(as_json=asked.json)
    seen = asked.stamp
    while True:
        asked_to_read.wait(GLANCE)
        stamp = stamp_of(file)
        if file is None or (stamp == seen and not asked_to_read.is_set()):
            continue
        asked_to_read.clear()
        if stamp is None:
            if seen is not None:
                on_event(RegistrarEvent.FILE_MISSING, US, file=str(file))
        else:
            _read_again(registrar, file, on_event)
        seen = stamp


def _listen_to_hup(asked_to_read: threading.Event) -> None:
    """Let SIGHUP set the event, unless it says that the terminal was closed: that is the end."""
    in_a_terminal = sys.stdin.isatty()
    otherwise = signal.getsignal(signal.SIGHUP)

    def on_hup(number: int, frame: FrameType | None) -> None:
        # A terminal that was closed is none any more by the time that it says so.
        if in_a_terminal and not sys.stdin.isatty() and callable(otherwise):
            otherwise(number, frame)
        else:
            asked_to_read.set()

    signal.signal(signal.SIGHUP, on_hup)


def _read_again(registrar: Registrar, file: Path, on_event: EventSink) -> None:
    try:
        definitions = read_definitions(file)
    except DefinitionError as error:
        on_event(RegistrarEvent.FILE_REJECTED, US, file=str(file), why=str(error))
        return
    on_event(RegistrarEvent.FILE_RELOADED, US, file=str(file), count=len(definitions))
    registrar.replace(definitions)
