"""The Typer application: all commands of ``kato-consul``.

Importing it imports the modules of all commands, also for ``--help``. So the commands import
clients, the registrar and rich only when they run.
"""

from typing import Annotated

import typer

from kato_consul.cli.commands import (
    demo,
    deregister,
    dev,
    doctor,
    drain,
    gateway,
    instances,
    proxy,
    register,
    run,
    session,
    sessions,
    watch,
)
from kato_consul.cli.commands import exec as exec_command
from kato_consul.cli.exit_codes import EXITS
from kato_consul.cli.help_format import CONTEXT_SETTINGS, OPTIONS_FIRST, Command, Group, flag
from kato_consul.cli.output import PROGRAM, print_version

HELP = """Register KATO instances in Consul, and see which instances clients find.

Try it on this machine:

  kato-consul demo                    [dim]a workload that survives a crash[/dim]
  kato-consul dev                     [dim]a fleet for experiments[/dim]

Use it:

  kato-consul register -f kato.toml   [dim]register at startup, then exit[/dim]
  kato-consul run -f kato.toml        [dim]register, probe, deregister[/dim]
  kato-consul instances               [dim]what clients see[/dim]
  kato-consul watch                   [dim]each change[/dim]
  kato-consul proxy                   [dim]KATO's API, for any language[/dim]
"""

EPILOG = """The address of the Consul agent, the token and the TLS files are read from
CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_CACERT
and the other variables of Consul's own tools. There is no option for the
token, because other users of the machine can read a process's arguments.

Exit codes:
""" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXITS.items())

app = typer.Typer(
    name=PROGRAM,
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=CONTEXT_SETTINGS,
    help=HELP,
    epilog=EPILOG,
)

_REGISTRAR, _CLIENTS, _LOCAL = "Registration", "What clients see", "On this machine"
_ANY_LANGUAGE = "For any language"

for panel, command in (
    (_REGISTRAR, register.register),
    (_REGISTRAR, run.run),
    (_REGISTRAR, exec_command.exec_),
    (_REGISTRAR, drain.drain),
    (_REGISTRAR, deregister.deregister),
    (_CLIENTS, instances.instances),
    (_CLIENTS, watch.watch),
    (_CLIENTS, sessions.sessions),
    (_CLIENTS, session.observe),
    (_CLIENTS, session.predictions),
    (_CLIENTS, doctor.doctor),
    (_ANY_LANGUAGE, proxy.proxy),
    (_ANY_LANGUAGE, proxy.api_key),
    (_ANY_LANGUAGE, gateway.gateway),
    (_LOCAL, dev.dev),
    (_LOCAL, demo.demo),
):
    name = command.__name__.strip("_").replace("_", "-")
    context = OPTIONS_FIRST if command is exec_command.exec_ else CONTEXT_SETTINGS
    app.command(name, cls=Command, rich_help_panel=panel, context_settings=context)(command)


def _version(requested: bool) -> None:
    if requested:
        print_version()
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, flag("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of the program itself."""
