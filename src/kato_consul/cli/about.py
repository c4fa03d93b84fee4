"""The options that say which instances a command is about, for ``register`` and ``run``."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from kato_consul.cli.asked import Asked, Flags, what_was_asked
from kato_consul.cli.exits import exiting
from kato_consul.cli.options import Consul

_ONE, _CHECK = "One instance, instead of a file", "Its health check"


def _option(*names: str, help: str, panel: str, **given: Any) -> Any:  # noqa: A002 - as in typer
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, **given)


File = Annotated[
    Path | None,
    typer.Option("-f", "--file", metavar="FILE", help="Definitions in TOML.", show_default=False),
]
Name = Annotated[
    str | None,
    _option(metavar="NAME", panel=_ONE, help="The service's name: what clients ask for."),
]
Id = Annotated[
    str | None,
    _option(metavar="ID", panel=_ONE, help="This instance's own id. Default: NAME-PORT."),
]
Address = Annotated[
    str | None,
    _option(
        metavar="HOST",
        panel=_ONE,
        help="Where clients reach it. Default: the address of the agent's node.",
    ),
]
Port = Annotated[int | None, _option(metavar="PORT", panel=_ONE, help="The port it listens on.")]
Tag = Annotated[
    list[str] | None, _option(metavar="TAG", panel=_ONE, help="A tag; may be given again.")
]
Meta = Annotated[
    list[str] | None,
    _option(metavar="KEY=VALUE", panel=_ONE, help="Metadata; may be given again."),
]
CheckHttp = Annotated[
    str | None,
    _option(
        metavar="URL",
        panel=_CHECK,
        help="What the agent asks; 2xx is passing. Default: http://HOST:PORT/health.",
    ),
]
Interval = Annotated[
    str | None, _option(metavar="TIME", panel=_CHECK, help="How often. Default: 10s.")
]
Wait = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="How long to wait until all are passing. 0: do not.", show_default=True
    ),
]


def about_instances(job: Callable[[Asked], None]) -> Callable[..., None]:
    """The command that does ``job``, with the options that say for which instances."""

    def command(
        file: File = None,
        wait: Wait = "60s",
        consul: Consul = None,
        name: Name = None,
        id: Id = None,  # noqa: A002 - the option is called --id
        address: Address = None,
        port: Port = None,
        tag: Tag = None,
        meta: Meta = None,
        check_http: CheckHttp = None,
        interval: Interval = None,
    ) -> None:
        with exiting():
            flags = Flags(name, id, address, port, tag, meta, check_http, interval)
            job(what_was_asked(file, flags, wait, consul))

    command.__name__, command.__doc__ = job.__name__, job.__doc__
    return command
