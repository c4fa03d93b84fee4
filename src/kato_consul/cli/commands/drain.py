"""``drain``: send clients elsewhere, and say when they have gone."""

from typing import Annotated

import typer

from kato_consul._sync.registrar import Registrar
from kato_consul.cli.event_output import event_sink
from kato_consul.cli.exit_codes import STILL_BUSY, exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import Consul, Service, seconds, settings
from kato_consul.cli.options.instance_options import JsonLines
from kato_consul.cli.options.instance_selection import All, File, IdOption, Ids, select_instances
from kato_consul.cli.signals import interrupt_on_signals


def drain(
    ids: Ids = None,
    id: IdOption = None,  # noqa: A002 - the option is called --id
    file: File = None,
    all_: All = False,
    off: Annotated[bool, flag("--off", help="Take them out of maintenance mode again.")] = False,
    within: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="How long clients may take to go.")
    ] = "10s",
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="What others see as the reason.")
    ] = "drained with kato-consul drain",
    service: Service = None,
    consul: Consul = None,
    json_: JsonLines = False,
) -> None:
    """Put instances into maintenance mode, and wait until clients have gone.

    Clients choose others at once; what is under way comes to its end. Exits
    with 0 when nobody asks the instance anything any more, with 7 when
    somebody still does and the time is over. They stay registered.

      kato-consul drain kato-1

      kato-consul drain --all         [dim]# of this agent[/dim]

      kato-consul drain --off kato-1
    """
    with exit_on_error():
        interrupt_on_signals()
        asked = settings(consul, service)
        time = seconds("--wait", within)
        on_event = event_sink(as_json=json_)
        definitions = select_instances(
            asked, [*(ids or ()), *(id or ())], file, all_=all_, on_event=on_event
        )
        registrar = Registrar(definitions, asked, on_event=on_event)
        try:
            if off:
                registrar.resume()
            elif not registrar.drain(time, reason):
                raise SystemExit(STILL_BUSY)
        finally:
            registrar.close()
