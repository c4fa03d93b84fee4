"""``exec``: runs an instance as its parent process, from start to drain."""

import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kato_consul import (
    ClientClosed,
    ConfigurationError,
    EventSink,
    KatoConsulError,
    RegistrarEvent,
)
from kato_consul.cli.commands.child_process import Child
from kato_consul.cli.commands.run import owner_of
from kato_consul.cli.event_output import event_sink
from kato_consul.cli.options.common import duration_option
from kato_consul.cli.options.instance_options import instance_options
from kato_consul.cli.options.job_options import JobOptions
from kato_consul.cli.output import PROGRAM, print_status

if TYPE_CHECKING:
    from kato_consul import Registrar

DRAIN_POLL_INTERVAL = 0.1
"""Seconds between checks whether a drain is over. Signals and the child's end are noticed at
once."""

DEREGISTER_WITHIN = 3.0
"""Seconds that Consul has for the deregistration at the end. Without it the check turns critical by
itself, so the process does not wait longer."""

COMMAND_NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes, as in a shell."""


@partial(instance_options, waits=False)
def exec_(
    options: JobOptions,
    argv: Annotated[list[str], typer.Argument(metavar="-- CMD", hidden=True, show_default=False)],
    drain: Annotated[
        str, typer.Option(metavar="TIME", help="How long clients may take to leave, on SIGTERM.")
    ] = "10s",
    stop: Annotated[
        str, typer.Option(metavar="TIME", help="How long CMD may take to exit before SIGKILL.")
    ] = "10s",
) -> None:
    """Run an instance: start, register, and drain it at the end.

    Runs CMD, and registers it when it is ready. On SIGTERM or Ctrl-C it sends
    clients to other instances, waits until they have left, stops CMD, and
    deregisters it; a second signal skips the wait. When CMD exits by itself, it
    is deregistered at once. Other signals are forwarded to CMD. Exits with the
    code of CMD (128 + n if signal n ended it).

      kato-consul exec --name kato --port 8000 -- \\
          uvicorn kato.api.main:app --port 8000

    While Consul is down CMD runs on, and is registered when Consul answers.
    Works as a container's first process: it reaps all processes that CMD
    leaves behind.
    """
    drain_within, stop_within = duration_option("--drain", drain), duration_option("--stop", stop)
    if len(options.definitions) != 1:
        raise ConfigurationError("exec runs one instance: its file must define exactly one")
    on_event = RegistrationObserver(event_sink(as_json=options.json))
    registrar = _registrar(options, on_event)  # before the child, which must not outlive an error
    try:
        child = _start(argv)
        try:
            registrar.register_when_healthy()
            on_event(RegistrarEvent.CHILD_STARTED, PROGRAM, command=argv[0], pid=child.pid)
            if _wait_for_stop_signal(child):
                if on_event.registered:  # otherwise there are no clients
                    _drain(child, registrar, drain_within)
                _stop(child, stop_within)
            else:
                on_event(
                    RegistrarEvent.CHILD_ENDED, PROGRAM, command=argv[0], code=child.returncode
                )
            _print_errors(registrar.deregister)()
        finally:
            child.kill()
    finally:
        registrar.close()
    raise SystemExit(child.returncode)


class RegistrationObserver:
    """An event sink that forwards events, and records whether the instance was registered."""

    def __init__(self, on_event: EventSink) -> None:
        self._on_event = on_event
        self.registered = False

    def __call__(self, event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
        self.registered = self.registered or event in (
            RegistrarEvent.REGISTERED,
            RegistrarEvent.RE_REGISTERED,
        )
        self._on_event(event, subject, **fields)


def _registrar(options: JobOptions, on_event: EventSink) -> "Registrar":
    from kato_consul import Registrar

    return Registrar(
        options.definitions,
        options.settings,
        consul_within=DEREGISTER_WITHIN,
        owner=owner_of(options),
        on_event=on_event,
    )


def _start(argv: list[str]) -> Child:
    try:
        return Child(argv)
    except FileNotFoundError:
        print_status(f"error: program not found: {argv[0]!r}")
        raise SystemExit(COMMAND_NOT_FOUND) from None
    except OSError as error:  # such as no permission, no executable format, too many arguments
        print_status(f"error: {argv[0]!r} cannot be run: {error.strerror}")
        raise SystemExit(NOT_EXECUTABLE) from None


def _wait_for_stop_signal(child: Child) -> bool:
    """Return True on SIGTERM or SIGINT, False when the child has ended; forward other signals."""
    while (number := child.next_signal()) is not None:
        if number in (signal.SIGTERM, signal.SIGINT):
            return True
        child.signal(number)
    return False


def _drain(child: Child, registrar: "Registrar", within: float) -> None:
    """Drain the instance, until clients have left, the child ended, or a second stop signal."""
    draining = threading.Thread(
        target=_print_errors(registrar.drain), args=(within,), name="kato-consul drain", daemon=True
    )
    draining.start()
    while draining.is_alive() and child.returncode is None:
        number = child.next_signal(DRAIN_POLL_INTERVAL)
        if number in (signal.SIGTERM, signal.SIGINT):
            return
        if number is not None:
            child.signal(number)


def _stop(child: Child, within: float) -> None:
    """Send SIGTERM to the child, and wait until it ended, a timeout, or another stop signal.

    The caller then kills it if it still runs.
    """
    child.signal(signal.SIGTERM)
    until = time.monotonic() + within
    while child.returncode is None and (left := until - time.monotonic()) > 0:
        if child.next_signal(left) in (signal.SIGTERM, signal.SIGINT):
            return


def _print_errors(job: Callable[..., object]) -> Callable[..., None]:
    """Return ``job`` with its errors printed, not raised: they must not keep the child running."""

    def run(*args: Any) -> None:
        try:
            job(*args)
        except ClientClosed:
            pass  # the registrar was closed during a drain that was cut short
        except KatoConsulError as error:
            print_status(f"error: {error}")

    return run
