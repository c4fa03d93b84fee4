"""``run``: stays beside instances, probes them and reconciles their registrations."""

import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from kato_consul import DefinitionError, EventSink, RegistrarEvent, read_definitions
from kato_consul.cli.commands.registrar import job_registrar, print_progress
from kato_consul.cli.event_output import event_sink
from kato_consul.cli.options.instance_options import instance_options
from kato_consul.cli.options.job_options import JobOptions, file_stamp
from kato_consul.cli.output import PROGRAM
from kato_consul.cli.signals import interrupt_on_signals

if TYPE_CHECKING:
    from kato_consul import Registrar

FILE_POLL_INTERVAL = 1.0
"""Seconds between checks whether the definition file changed."""

MAX_META_LENGTH = 512
"""Characters that Consul allows in a value of metadata."""


@instance_options
def run(options: JobOptions) -> None:
    """Register instances, and keep their registrations correct.

    Probes each KATO instance, including its store, and reports the result to
    Consul. Prints which instances are hung: they need a restart. Registers
    again what the agent loses. Deregisters what an earlier run of the same file
    left behind when it crashed. On SIGTERM or Ctrl-C it deregisters all
    instances and exits with 0.

      kato-consul run -f kato.toml

    When the file changes, or on SIGHUP, it is read again: new instances are
    registered, missing ones deregistered. A file with a mistake changes
    nothing. Options and files are those of register: see its help.
    """
    interrupt_on_signals()
    reload_requested = threading.Event()
    if options.file is not None:
        _reload_on_sighup(reload_requested)
    all_registered = False
    try:
        with job_registrar(options, owner=owner_of(options)) as registrar, registrar:
            all_registered = True
            print_progress(options, "all registered; SIGTERM or Ctrl-C deregisters them")
            _follow_file(registrar, options, reload_requested)
    except KeyboardInterrupt:
        if not all_registered:  # interrupted: instances that were registered before still are
            raise


def owner_of(options: JobOptions) -> str:
    """Return the owner by which a later run recognizes what this one left behind."""
    source = str(options.file.resolve()) if options.file else options.definitions[0].id
    return f"{socket.gethostname()}:{source}"[:MAX_META_LENGTH]


def _follow_file(
    registrar: "Registrar", options: JobOptions, reload_requested: threading.Event
) -> None:
    file = options.file
    on_event = event_sink(as_json=options.json)
    previous = options.stamp
    while True:
        reload_requested.wait(FILE_POLL_INTERVAL)
        stamp = file_stamp(file)
        if file is None or (stamp == previous and not reload_requested.is_set()):
            continue
        reload_requested.clear()
        if stamp is None:
            if previous is not None:
                on_event(RegistrarEvent.FILE_MISSING, PROGRAM, file=str(file))
        else:
            _reload(registrar, file, on_event)
        previous = stamp


def _reload_on_sighup(reload_requested: threading.Event) -> None:
    """Set the event on SIGHUP, unless a closed terminal sent it: that ends the command."""
    in_terminal = sys.stdin.isatty()
    previous_handler = signal.getsignal(signal.SIGHUP)

    def on_sighup(number: int, frame: FrameType | None) -> None:
        # When a closed terminal sends the signal, stdin is no terminal any more.
        if in_terminal and not sys.stdin.isatty() and callable(previous_handler):
            previous_handler(number, frame)
        else:
            reload_requested.set()

    signal.signal(signal.SIGHUP, on_sighup)


def _reload(registrar: "Registrar", file: Path, on_event: EventSink) -> None:
    try:
        definitions = read_definitions(file)
    except DefinitionError as error:
        on_event(RegistrarEvent.FILE_REJECTED, PROGRAM, file=str(file), why=str(error))
        return
    on_event(RegistrarEvent.FILE_RELOADED, PROGRAM, file=str(file), count=len(definitions))
    registrar.replace(definitions)
