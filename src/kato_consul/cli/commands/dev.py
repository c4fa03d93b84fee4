"""``dev``: runs a local fleet for experiments."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kato_consul import RegistrarEvent, describe_event
from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.local_fleet import local_fleet
from kato_consul.cli.options.common import Json
from kato_consul.cli.output import log_line, print_result, print_status
from kato_consul.cli.signals import interrupt_on_signals

if TYPE_CHECKING:
    from kato_consul.testing.fleet import Fleet

PROCESS_POLL_INTERVAL = 0.5
"""Seconds between checks whether the instances' processes still run."""


def dev(
    count: Annotated[int, typer.Option(metavar="N", min=1, max=20, help="How many instances.")] = 3,
    json_: Json = False,
) -> None:
    """Run a Consul agent and KATO instances on this machine.

    The instances are stand-ins that respond as a real KATO does. All are on
    free ports, registered and passing. Ctrl-C or SIGTERM stops everything.

      kato-consul dev --count 5

    With --json it prints one line when everything is ready, and runs on:

      {"consul": "127.0.0.1:PORT",
       "instances": \\[{"id", "address", "port", "pid"}, ...]}
    """
    with exit_on_error():
        interrupt_on_signals()
        from kato_consul import Registrar

        ready = False
        try:
            with (
                local_fleet(count) as fleet,
                Registrar(fleet.definitions, fleet.settings, on_event=_print_event),
            ):
                ready = True
                # The thread is started first: Ctrl-C in the middle of that raises other errors, and
                # users press it once they have read the output.
                with _report_ended_processes(fleet):
                    print_result(json.dumps(_addresses(fleet)) if json_ else _instructions(fleet))
                    threading.Event().wait()
        except KeyboardInterrupt:
            if not ready:
                raise
            print_status("everything stopped")


def _addresses(fleet: "Fleet") -> dict[str, object]:
    return {
        "consul": fleet.agent.http_addr,
        "instances": [
            {
                "id": service_id,
                "address": instance.host,
                "port": instance.port,
                "pid": instance.pid,
            }
            for service_id, instance in fleet.instances.items()
        ],
    }


def _print_event(event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
    print_status(log_line(subject, describe_event(event, fields)))


@contextmanager
def _report_ended_processes(fleet: "Fleet") -> Iterator[None]:
    """Print, in the background, each instance whose process ended: Consul only reports critical."""
    stopped = threading.Event()

    def poll() -> None:
        running = dict(fleet.instances)
        while not stopped.wait(PROCESS_POLL_INTERVAL):
            ended = [name for name, instance in running.items() if not instance.running]
            for service_id in ended:
                pid = running.pop(service_id).pid
                print_status(log_line(service_id, f"its process {pid} has ended"))

    thread = threading.Thread(target=poll, name="kato-consul dev", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _instructions(fleet: "Fleet") -> str:
    consul = fleet.agent.http_addr
    instances = "\n".join(
        f"  {service_id}  {instance.url}  pid {instance.pid}"
        for service_id, instance in fleet.instances.items()
    )
    first = next(iter(fleet.instances.values())).pid
    return f"""
Consul  http://{consul}
{instances}

In another terminal:
  export CONSUL_HTTP_ADDR={consul}
  export KATO_CONSUL_SESSION_DIRECTORY=consul   # one session for a key, in all terminals
  kato-consul instances
  kato-consul proxy   # KATO's API for any language, on port 8000
  python -c 'from kato_consul import KatoClient; k = KatoClient();
print(k.observe("me", ["hello"])); k.close()'
  kill -STOP {first}   # it hangs; -CONT resumes it, -KILL kills it

Ctrl-C stops everything."""
