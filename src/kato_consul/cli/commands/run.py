"""``run``: stays beside instances, probes them and reconciles their registrations."""

import contextlib
import queue
import signal
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from kato_consul import DefinitionError, EventSink, Health, RegistrarEvent
from kato_consul.cli.commands.registrar import job_registrar, print_progress
from kato_consul.cli.event_output import event_sink
from kato_consul.cli.options.definition_files import STANDARD_INPUT, DefinitionFiles
from kato_consul.cli.options.instance_options import instance_options
from kato_consul.cli.options.job_options import JobOptions
from kato_consul.cli.output import PROGRAM
from kato_consul.cli.signals import interrupt_on_signals

if TYPE_CHECKING:
    from kato_consul import Registrar

FILE_POLL_INTERVAL = 1.0
"""Seconds between checks whether the definition files changed."""

MAX_META_LENGTH = 512
"""Characters that Consul allows in a value of metadata."""


@instance_options
def run(options: JobOptions) -> None:
    """Register instances, and keep their registrations correct.

    Probes each KATO instance, including its store, and reports the result to
    Consul. Prints which instances are hung: they need a restart. Registers
    again what the agent loses. Deregisters what an earlier run of the same file
    left behind when it crashed. On SIGTERM or Ctrl-C it deregisters all
    instances and exits with 0, within 5 seconds even if Consul hangs.

      kato-consul run -f kato.toml

    When a file changes, or on SIGHUP, all are read again: new instances are
    registered, missing ones deregistered. A file with a mistake changes
    nothing. In a folder, new files and missing ones count as changes. Options
    and files are those of register: see its help.
    """
    interrupt_on_signals()
    reload_requests: queue.SimpleQueue[None] = queue.SimpleQueue()
    if options.files is not None:
        _reload_on_sighup(reload_requests)
    all_registered = False
    statuses: dict[str, str] = {}
    try:
        with (
            job_registrar(options, owner=owner_of(options), statuses=statuses) as registrar,
            registrar,
        ):
            all_registered = True
            counts = _counts(statuses) if options.wait else ""
            print_progress(options, f"all registered{counts}; SIGTERM or Ctrl-C deregisters them")
            _follow_files(registrar, options, reload_requests)
    except KeyboardInterrupt:
        if not all_registered:  # interrupted: instances that were registered before still are
            raise


def _counts(statuses: Mapping[str, str]) -> str:
    """Return how many instances have each status, such as ": 2 passing, 1 warning"."""
    counts = Counter(statuses.values())
    found = [f"{counts[one]} {one}" for one in map(str, Health) if counts[one]]
    return f": {', '.join(found)}" if found else ""


def owner_of(options: JobOptions) -> str:
    """Return the owner by which a later run recognizes what this one left behind."""
    return f"{socket.gethostname()}:{_source(options)}"[:MAX_META_LENGTH]


def _source(options: JobOptions) -> str:
    if options.files is None or STANDARD_INPUT in options.files.paths:
        return options.definitions[0].id  # any two runs may have the same standard input
    return ",".join(str(Path(path).resolve()) for path in options.files.paths)


def _follow_files(
    registrar: "Registrar", options: JobOptions, reload_requests: "queue.SimpleQueue[None]"
) -> None:
    files = options.files
    on_event = event_sink(as_json=options.json)
    previous, known_missing = options.stamps, set[str]()
    while True:
        requested = False
        with contextlib.suppress(queue.Empty):
            reload_requests.get(timeout=FILE_POLL_INTERVAL)
            requested = True
        if files is None:
            continue
        stamps = files.stamps()
        if stamps == previous and not requested:
            continue
        missing = files.missing()
        for path in sorted(missing - known_missing):
            on_event(RegistrarEvent.FILE_MISSING, PROGRAM, file=path)
        if not missing:
            _reload(registrar, files, on_event)
        previous, known_missing = stamps, missing


def _reload_on_sighup(reload_requests: "queue.SimpleQueue[None]") -> None:
    """Request a reload on SIGHUP, unless a closed terminal sent it: that ends the command.

    The handler runs on the thread that waits for requests. An Event could have its lock held there.
    """
    in_terminal = sys.stdin.isatty()
    previous_handler = signal.getsignal(signal.SIGHUP)

    def on_sighup(number: int, frame: FrameType | None) -> None:
        # When a closed terminal sends the signal, stdin is no terminal any more.
        if in_terminal and not sys.stdin.isatty() and callable(previous_handler):
            previous_handler(number, frame)
        else:
            reload_requests.put(None)

    signal.signal(signal.SIGHUP, on_sighup)


def _reload(registrar: "Registrar", files: DefinitionFiles, on_event: EventSink) -> None:
    try:
        definitions = files.read()
    except DefinitionError as error:
        on_event(RegistrarEvent.FILE_REJECTED, PROGRAM, file=str(files), why=str(error))
        return
    on_event(RegistrarEvent.FILE_RELOADED, PROGRAM, file=str(files), count=len(definitions))
    registrar.replace(definitions)
