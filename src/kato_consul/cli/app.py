"""The commands of ``kato-consul``, put together."""

from typing import Annotated

import typer

import kato_consul
from kato_consul.cli.commands import (
    deregister,
    dev,
    doctor,
    drain,
    instances,
    register,
    run,
    session,
    watch,
)
from kato_consul.cli.commands import exec as parent
from kato_consul.cli.demo import command as demo
from kato_consul.cli.exit_codes import EXITS
from kato_consul.cli.help_format import CONTEXT, Command, Group, flag

HELP = """Put KATO instances into Consul, and see what clients find there.

Try it here, with nothing but this machine:

  kato-consul demo                    [dim]the whole job, with a crash[/dim]
  kato-consul dev                     [dim]a fleet to play with[/dim]

Use it:

  kato-consul register -f kato.toml   [dim]at startup, then go[/dim]
  kato-consul run -f kato.toml        [dim]stay beside the instances[/dim]
  kato-consul instances               [dim]what clients see[/dim]
  kato-consul watch                   [dim]and how it changes[/dim]
"""

EPILOG = """The agent, and how to talk to it, are taken from CONSUL_HTTP_ADDR,
CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_CACERT and the other
variables of Consul's own tools. A token is no option, since other users of
the machine could read it there.

Exit codes:
""" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXITS.items())

app = typer.Typer(
    name="kato-consul",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=CONTEXT,
    help=HELP,
    epilog=EPILOG,
)

_REGISTRAR, _CLIENTS, _HERE = "The registrar", "What clients see", "On this machine"

for panel, command in (
    (_REGISTRAR, register.register),
    (_REGISTRAR, run.run),
    (_REGISTRAR, parent.exec_),
    (_REGISTRAR, drain.drain),
    (_REGISTRAR, deregister.deregister),
    (_CLIENTS, instances.instances),
    (_CLIENTS, watch.watch),
    (_CLIENTS, session.observe),
    (_CLIENTS, session.predictions),
    (_CLIENTS, doctor.doctor),
    (_HERE, dev.dev),
    (_HERE, demo.demo),
):
    name = command.__name__.strip("_")
    app.command(name, cls=Command, rich_help_panel=panel, context_settings=CONTEXT)(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kato-consul {kato_consul.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, flag("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of all commands."""
