"""``dev``: a fleet on this machine to play with."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kato_consul._registration.events import RegistrarEvent, describe_event
from kato_consul._sync.registrar import Registrar
from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.local_fleet import local_fleet
from kato_consul.cli.options.common import Json
from kato_consul.cli.output import print_result, print_status, timed
from kato_consul.cli.signals import interrupt_on_signals

if TYPE_CHECKING:
    from kato_consul.testing.fleet import Fleet

GLANCE = 0.5
"""Seconds between looks at whether an instance still runs."""


def dev(
    count: Annotated[int, typer.Option(metavar="N", min=1, max=20, help="How many instances.")] = 3,
    json_: Json = False,
) -> None:
    """Keep a Consul agent and KATO instances up on this machine.

    The instances are stand-ins that answer as a real KATO does. All are on
    free ports, registered and passing; Ctrl-C or SIGTERM ends them all.

      kato-consul dev --count 5

    With --json it prints one line when all is ready, and stays:

      {"consul": "127.0.0.1:PORT",
       "instances": \\[{"id", "address", "port", "pid"}, ...]}
    """
    with exit_on_error():
        interrupt_on_signals()
        ready = False
        try:
            with (
                local_fleet(count) as fleet,
                Registrar(fleet.definitions, fleet.settings, on_event=_say),
            ):
                ready = True
                print_result(json.dumps(addresses(fleet)) if json_ else _explanation(fleet))
                with _looking_after(fleet):
                    threading.Event().wait()
        except KeyboardInterrupt:
            if not ready:
                raise
            print_status("all ended")


def addresses(fleet: "Fleet") -> dict[str, object]:
    """Where everything is, for machines."""
    return {
        "consul": fleet.agent.http_addr,
        "instances": [
            {"id": service_id, "address": one.host, "port": one.port, "pid": one.pid}
            for service_id, one in fleet.instances.items()
        ],
    }


def _say(event: RegistrarEvent, who: str, /, **fields: Any) -> None:
    print_status(timed(who, describe_event(event, fields)))


@contextmanager
def _looking_after(fleet: "Fleet") -> Iterator[None]:
    """Tell, in the background, of each instance that ended: Consul only says critical."""
    over = threading.Event()

    def look() -> None:
        running = dict(fleet.instances)
        while not over.wait(GLANCE):
            for service_id in [name for name, one in running.items() if not one.running]:
                print_status(
                    timed(service_id, f"its process {running.pop(service_id).pid} has ended")
                )

    looking = threading.Thread(target=look, name="kato-consul dev", daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()


def _explanation(fleet: "Fleet") -> str:
    consul = fleet.agent.http_addr
    instances = "\n".join(
        f"  {service_id}  {one.url}  pid {one.pid}" for service_id, one in fleet.instances.items()
    )
    first = next(iter(fleet.instances.values())).pid
    return f"""
Consul  http://{consul}
{instances}

In another terminal:
  export CONSUL_HTTP_ADDR={consul}
  kato-consul instances
  python -c 'from kato_consul import KatoClient; k = KatoClient();
print(k.observe("me", ["hello"])); k.close()'
  kill -STOP {first}   # it hangs; -CONT lets it go on, -KILL ends it

Ctrl-C ends it all."""
