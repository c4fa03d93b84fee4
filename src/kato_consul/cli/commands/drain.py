"""``drain``: puts instances into maintenance mode, and waits until clients have left."""

from typing import Annotated

import typer

from kato_consul.cli.event_output import event_sink
from kato_consul.cli.exit_codes import STILL_BUSY, exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import Consul, Service, duration_option, settings_from
from kato_consul.cli.options.definition_files import Expand, File, definition_files_option
from kato_consul.cli.options.instance_options import JsonLines
from kato_consul.cli.options.instance_selection import All, IdOption, Ids, select_instances
from kato_consul.cli.signals import interrupt_on_signals


def drain(
    ids: Ids = None,
    id: IdOption = None,  # noqa: A002 - the option is called --id
    file: File = None,
    expand: Expand = False,
    all_: All = False,
    off: Annotated[bool, flag("--off", help="End maintenance mode.")] = False,
    within: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="How long clients may take to leave.")
    ] = "10s",
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="The reason that Consul shows.")
    ] = "drained with kato-consul drain",
    service: Service = None,
    consul: Consul = None,
    json_: JsonLines = False,
) -> None:
    """Put instances into maintenance mode; wait for clients to leave.

    Clients switch to other instances at once, and requests in progress finish.
    Exits with 0 when the instances receive no more requests, and with 7 if they
    still do when the time is over. They stay registered.

      kato-consul drain kato-1

      kato-consul drain --all         [dim]# of this agent[/dim]

      kato-consul drain --off kato-1
    """
    with exit_on_error():
        interrupt_on_signals()
        from kato_consul import Registrar

        settings = settings_from(consul, service)
        files = definition_files_option(file, expand=expand)
        drain_within = duration_option("--wait", within)
        on_event = event_sink(as_json=json_)
        definitions = select_instances(
            settings, [*(ids or ()), *(id or ())], files, all_=all_, on_event=on_event
        )
        registrar = Registrar(definitions, settings, on_event=on_event)
        try:
            if off:
                registrar.resume()
            elif not registrar.drain(drain_within, reason):
                raise SystemExit(STILL_BUSY)
        finally:
            registrar.close()
