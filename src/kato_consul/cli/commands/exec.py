"""``exec``: runs an instance as its parent process, from start to drain."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kato_consul import (
    ClientClosed,
    ConfigurationError,
    EventSink,
    Health,
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

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

REGISTERED = frozenset(
    {
        RegistrarEvent.REGISTERED,
        RegistrarEvent.UPDATED,
        RegistrarEvent.UNCHANGED,
        RegistrarEvent.RE_REGISTERED,
    }
)
"""Events after which clients use the instance."""

DRAIN_POLL_INTERVAL = 0.1
"""Seconds between checks whether a drain is over. Signals and the child's end are noticed at
once."""

HANG_POLL_INTERVAL = 1.0
"""Seconds between checks whether the child is hung. Signals and its end are noticed at once."""

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
    restart_hung: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Restart CMD when it accepts connections and has not answered for so long, "
            "or 'never'.",
        ),
    ] = "60s",
) -> None:
    """Run an instance: start, register, and drain it at the end.

    Runs CMD, and registers it when its probe passes; with --check-http or -tcp
    at once, since Consul's agent checks it then. On SIGTERM or Ctrl-C it sends
    clients to other instances, waits until they have left, stops CMD, and
    deregisters it; a second signal skips the wait. When CMD exits by itself, it
    is deregistered at once. Other signals are forwarded to CMD. Exits with the
    code of CMD (128 + n if signal n ended it). When CMD hangs, it is stopped and
    started again; it is critical in Consul until it answers.

      kato-consul exec --name kato --port 8000 -- \\
          uvicorn kato.api.main:app --port 8000

    Options of exec come before CMD; all that follows CMD is passed to it.
    What is not KATO does not list its requests: its clients have a second to
    leave. While Consul is down CMD runs on, and is registered when Consul answers.
    Works as a container's first process: it reaps all processes that CMD
    leaves behind.
    """
    drain_within, stop_within = duration_option("--drain", drain), duration_option("--stop", stop)
    hang_limit = (
        None if restart_hung == "never" else duration_option("--restart-hung", restart_hung)
    )
    if len(options.definitions) != 1:
        raise ConfigurationError("exec runs one instance: its file must define exactly one")
    on_event = InstanceObserver(event_sink(as_json=options.json))
    with ExitStack() as at_the_end:
        registrar = _registrar(options, on_event)  # first: the child must not outlive its error
        at_the_end.callback(registrar.close)
        with _exit_if_it_cannot_run(argv[0]):
            child = Child(argv)
        at_the_end.callback(child.kill)
        at_the_end.callback(_print_errors(registrar.deregister))
        _report_started(child, on_event)
        registrar.register_when_healthy()
        if _run_until_stop_signal(child, registrar, on_event, hang_limit, stop_within):
            # A hung instance is critical, so its clients have left, and it would report nothing.
            if on_event.registered and child.returncode is None and not registrar.hung():
                _drain(child, registrar, drain_within)
            _stop(child, stop_within)
        else:
            on_event(RegistrarEvent.CHILD_ENDED, PROGRAM, command=argv[0], code=child.returncode)
    raise SystemExit(child.returncode)


class InstanceObserver:
    """An event sink that forwards events, and records what they show about the instance.

    Attributes:
        registered: it was registered.
        was_healthy: its probe has succeeded since the child was started.
    """

    def __init__(self, on_event: EventSink) -> None:
        self._on_event = on_event
        self.registered = False
        self.was_healthy = False

    def __call__(self, event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
        if event in REGISTERED:
            self.registered = True
        elif event is RegistrarEvent.CHILD_STARTED:
            self.was_healthy = False
        elif event is RegistrarEvent.HEALTH and fields["status"] != Health.CRITICAL:
            self.was_healthy = True
        self._on_event(event, subject, **fields)


def _registrar(options: JobOptions, on_event: EventSink) -> "Registrar":
    from kato_consul import Registrar

    return Registrar(
        options.definitions,
        options.settings,
        owner=owner_of(options),
        on_event=on_event,
    )


@contextmanager
def _exit_if_it_cannot_run(program: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        print_status(f"error: program not found: {program!r}")
        raise SystemExit(COMMAND_NOT_FOUND) from None
    except OSError as error:  # such as no permission, no executable format, too many arguments
        print_status(f"error: {program!r} cannot be run: {error.strerror}")
        raise SystemExit(NOT_EXECUTABLE) from None


def _report_started(child: Child, on_event: EventSink) -> None:
    on_event(RegistrarEvent.CHILD_STARTED, PROGRAM, command=child.program, pid=child.pid)


def _run_until_stop_signal(
    child: Child,
    registrar: "Registrar",
    on_event: InstanceObserver,
    hang_limit: float | None,
    stop_within: float,
) -> bool:
    """Return True on SIGTERM or SIGINT, False when the child has ended; forward other signals.

    Meanwhile the child is restarted when it has been hung for ``hang_limit`` seconds (None: never).
    Until it was healthy once it may be starting, however long that takes, and is not restarted.
    """
    while True:
        number = child.next_signal(HANG_POLL_INTERVAL if hang_limit else None)
        if number in STOP_SIGNALS:
            return True
        if number is not None:
            child.signal(number)
            continue
        if child.returncode is not None:
            return False
        hung_for = max(registrar.hung().values(), default=0.0)
        if not hang_limit or hung_for < hang_limit or not on_event.was_healthy:
            continue
        program = child.program
        on_event(RegistrarEvent.CHILD_HUNG, PROGRAM, command=program, seconds=round(hung_for))
        if _stop(child, stop_within):
            child.kill()  # it was told to stop already: a stop signal now skips the wait
            return True
        with _exit_if_it_cannot_run(program):
            child.restart()
        _report_started(child, on_event)


def _drain(child: Child, registrar: "Registrar", within: float) -> None:
    """Drain the instance, until clients have left, the child ended, or a second stop signal."""
    draining = threading.Thread(
        target=_print_errors(registrar.drain), args=(within,), name="kato-consul drain", daemon=True
    )
    draining.start()
    while draining.is_alive() and child.returncode is None:
        number = child.next_signal(DRAIN_POLL_INTERVAL)
        if number in STOP_SIGNALS:
            return
        if number is not None:
            child.signal(number)


def _stop(child: Child, within: float) -> bool:
    """Send SIGTERM to the child, and wait until it ended, a timeout, or another stop signal.

    The caller then kills it if it still runs. Returns True if there was another stop signal.
    """
    child.signal(signal.SIGTERM)
    until = time.monotonic() + within
    while child.returncode is None and (left := until - time.monotonic()) > 0:
        if child.next_signal(left) in STOP_SIGNALS:
            return True
    return False


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
