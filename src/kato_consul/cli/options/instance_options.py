"""The options that say which instances a command is about, for ``register`` and ``run``."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import Consul
from kato_consul.cli.options.job_options import Flags, job_options

_ONE, _CHECK = "One instance, instead of a file", "Its health check"


def _option(*names: str, help: str, panel: str, **given: Any) -> Any:  # noqa: A002 - as in typer
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, **given)


File = Annotated[
    Path | None,
    typer.Option(
        "-f",
        "--file",
        metavar="FILE",
        help="Definitions in TOML; in Consul's JSON when it ends in .json.",
        show_default=False,
    ),
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
Zone = Annotated[
    str | None,
    _option(metavar="ZONE", panel=_ONE, help="Where it is; clients prefer their own zone."),
]
CheckTcp = Annotated[
    str | None,
    _option(metavar="HOST:PORT", panel=_CHECK, help="What the agent connects to, instead."),
]
CheckHttp = Annotated[
    str | None,
    _option(
        metavar="URL",
        panel=_CHECK,
        help="What the agent asks; 2xx is passing. Default: KATO itself is asked, "
        "in a way that needs its store.",
    ),
]
Interval = Annotated[
    str | None,
    _option(metavar="TIME", panel=_CHECK, help="How often. Default: 5s; a plain check 10s."),
]
Wait = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="How long to wait until all are passing. 0: do not.", show_default=True
    ),
]
WaitConsul = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="How long an agent may take to answer. Default: 10s, and not longer than --wait.",
        show_default=False,
    ),
]
JsonLines = Annotated[bool, flag("--json", help="One JSON object for each event, a line each.")]


def instance_options(job: Callable[..., None], *, waits: bool = True) -> Callable[..., None]:
    """The command that does ``job``, with the options that say for which instances.

    ``waits``: and with those that say how long to wait. What ``job`` takes beside its `Asked` are
    options of that command alone.
    """

    def command(
        file: File = None,
        wait: Wait = "60s",
        wait_consul: WaitConsul = None,
        consul: Consul = None,
        json_: JsonLines = False,
        name: Name = None,
        id: Id = None,  # noqa: A002 - the option is called --id
        address: Address = None,
        port: Port = None,
        tag: Tag = None,
        meta: Meta = None,
        zone: Zone = None,
        check_http: CheckHttp = None,
        check_tcp: CheckTcp = None,
        interval: Interval = None,
        **own: Any,
    ) -> None:
        with exit_on_error():
            flags = Flags(name, id, address, port, tag, meta, zone, check_http, check_tcp, interval)
            asked = job_options(
                file, flags, wait=wait, wait_consul=wait_consul, consul=consul, json=json_
            )
            job(asked, **own)

    command.__name__, command.__doc__ = job.__name__, job.__doc__
    # Typer reads the options off the signature.
    _, *own_options = inspect.signature(job).parameters.values()
    *common, _ = inspect.signature(command).parameters.values()
    common = [one for one in common if waits or not one.name.startswith("wait")]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own_options, *common)]
    )
    command.__annotations__ = {one.name: one.annotation for one in (*own_options, *common)}
    return command
