"""``exec``: the parent of an instance, from its start to its drain."""

import signal
import threading
import time
from functools import partial
from typing import Annotated, Any

import typer

from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._sync.registrar import Registrar
from kato_consul.cli.commands.child_process import Child
from kato_consul.cli.commands.run import owner_of
from kato_consul.cli.event_output import US, event_sink
from kato_consul.cli.options.common import seconds
from kato_consul.cli.options.instance_options import instance_options
from kato_consul.cli.options.job_options import JobOptions
from kato_consul.cli.output import print_status as say_error
from kato_consul.errors import ClientClosed, ConfigurationError, KatoConsulError

GLANCE = 0.1
"""Seconds between looks at whether a drain is over; a signal, or the child's end, wakes at once."""

LAST_WORDS = 3.0
"""Seconds that Consul has for the last deregistration. If it is away the check runs out by itself,
and nobody waits for a process that is to end."""

NO_PROGRAM, NOT_EXECUTABLE = 127, 126
"""As a shell has it."""


@partial(instance_options, waits=False)
def exec_(
    asked: JobOptions,
    argv: Annotated[list[str], typer.Argument(metavar="-- CMD", hidden=True, show_default=False)],
    drain: Annotated[
        str, typer.Option(metavar="TIME", help="How long clients may take to go, on SIGTERM.")
    ] = "10s",
    stop: Annotated[
        str, typer.Option(metavar="TIME", help="How long CMD may take to end before SIGKILL.")
    ] = "10s",
) -> None:
    """Be the parent of an instance: start it, register it, drain it.

    Runs CMD, and registers it when it is ready. On SIGTERM, or Ctrl-C, it
    sends clients elsewhere first, waits until they have gone, stops CMD, and
    takes it out of Consul; a second one skips the waiting. When CMD ends by
    itself, Consul knows at once. Other signals are handed on. Exits with the
    code of CMD (128 + n when signal n ended it).

      kato-consul exec --name kato --port 8000 -- \\
          uvicorn kato.api.main:app --port 8000

    CMD runs on while Consul is away, and is registered when it answers. Fit
    for a container's first process: whatever CMD leaves behind is reaped.
    """
    drain_within, stop_within = seconds("--drain", drain), seconds("--stop", stop)
    if len(asked.definitions) != 1:
        raise ConfigurationError("exec is the parent of one instance: its file must define one")
    telling = Telling(event_sink(as_json=asked.json))
    # Before the child: what is wrong with it must not leave one running.
    registrar = Registrar(
        asked.definitions,
        asked.settings,
        consul_within=LAST_WORDS,
        owner=owner_of(asked),
        on_event=telling,
    )
    try:
        child = _started(argv)
        try:
            registrar.register_when_healthy()
            telling(RegistrarEvent.CHILD_STARTED, US, command=argv[0], pid=child.pid)
            if _until_told_to_end(child):
                if telling.registered:  # or nobody has to be sent elsewhere
                    _drain(child, registrar, drain_within)
                _stop(child, stop_within)
            else:
                telling(RegistrarEvent.CHILD_ENDED, US, command=argv[0], code=child.returncode)
            _told(registrar.deregister)()
        finally:
            child.kill()
    finally:
        registrar.close()
    raise SystemExit(child.returncode)


class Telling:
    """Tells of events, and knows from them whether the instance was registered."""

    def __init__(self, on_event: EventSink) -> None:
        self._say = on_event
        self.registered = False

    def __call__(self, event: RegistrarEvent, who: str, /, **fields: Any) -> None:
        self.registered = self.registered or event in (
            RegistrarEvent.REGISTERED,
            RegistrarEvent.RE_REGISTERED,
        )
        self._say(event, who, **fields)


def _started(argv: list[str]) -> Child:
    try:
        return Child(argv)
    except FileNotFoundError:
        say_error(f"error: there is no program {argv[0]!r}")
        raise SystemExit(NO_PROGRAM) from None
    except OSError as error:  # no permission, no program in it, too many words
        say_error(f"error: {argv[0]!r} cannot be run: {error.strerror}")
        raise SystemExit(NOT_EXECUTABLE) from None


def _until_told_to_end(child: Child) -> bool:
    """True when we are told to end; False when the child did."""
    while (number := child.next_signal()) is not None:
        if number in (signal.SIGTERM, signal.SIGINT):
            return True
        child.signal(number)
    return False


def _drain(child: Child, registrar: Registrar, within: float) -> None:
    """Send clients elsewhere, until they have gone, the child ended, or we are told again."""
    draining = threading.Thread(
        target=_told(registrar.drain), args=(within,), name="kato-consul drain", daemon=True
    )
    draining.start()
    while draining.is_alive() and child.returncode is None:
        number = child.next_signal(GLANCE)
        if number in (signal.SIGTERM, signal.SIGINT):
            return
        if number is not None:
            child.signal(number)


def _stop(child: Child, within: float) -> None:
    """Ask the child to end; `Child.kill` does it when the time is over, or we are told again."""
    child.signal(signal.SIGTERM)
    until = time.monotonic() + within
    while child.returncode is None and (left := until - time.monotonic()) > 0:
        if child.next_signal(left) in (signal.SIGTERM, signal.SIGINT):
            return


def _told(job: Any) -> Any:
    """The job, whose error is told: what it could not do must not keep the child from ending."""

    def carefully(*given: Any) -> None:
        try:
            job(*given)
        except ClientClosed:
            pass  # a drain that nobody waits for any more: that is how it ends
        except KatoConsulError as error:
            say_error(f"error: {error}")

    return carefully
