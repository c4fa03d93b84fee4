"""Options that define instances, for ``register``, ``run`` and ``exec``."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import Consul
from kato_consul.cli.options.definition_files import Expand, File, definition_files_option
from kato_consul.cli.options.job_options import DEFAULT_WAIT_CONSUL, InstanceFlags, job_options

_INSTANCE, _CHECK = "One instance, instead of a file", "Its health check"


def _option(*names: str, help: str, panel: str, **given: Any) -> Any:  # noqa: A002 - as in typer
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, **given)


Name = Annotated[
    str | None,
    _option(metavar="NAME", panel=_INSTANCE, help="The service's name, which clients look up."),
]
Id = Annotated[
    str | None,
    _option(metavar="ID", panel=_INSTANCE, help="The instance's id. Default: NAME-PORT."),
]
Address = Annotated[
    str | None,
    _option(
        metavar="HOST",
        panel=_INSTANCE,
        help="Where clients reach it. Default: the address of the agent's node.",
    ),
]
Port = Annotated[
    int | None, _option(metavar="PORT", panel=_INSTANCE, help="The port it listens on.")
]
Tag = Annotated[
    list[str] | None, _option(metavar="TAG", panel=_INSTANCE, help="A tag. Repeatable.")
]
Meta = Annotated[
    list[str] | None,
    _option(metavar="KEY=VALUE", panel=_INSTANCE, help="Metadata. Repeatable."),
]
Zone = Annotated[
    str | None,
    _option(metavar="ZONE", panel=_INSTANCE, help="Its zone; clients prefer their own zone."),
]
Scheme = Annotated[
    str | None,
    _option(
        metavar="SCHEME",
        panel=_INSTANCE,
        help="https if clients reach it over TLS. Default: http.",
    ),
]
PathPrefix = Annotated[
    str | None,
    _option(
        "--path",
        metavar="PATH",
        panel=_INSTANCE,
        help="A path before that of each request, such as /kato at a gateway.",
    ),
]
CheckTcp = Annotated[
    str | None,
    _option(metavar="HOST:PORT", panel=_CHECK, help="The agent connects to this address, instead."),
]
CheckHttp = Annotated[
    str | None,
    _option(
        metavar="URL",
        panel=_CHECK,
        help="The agent requests this URL; 2xx is passing. Default: a request to KATO that "
        "needs its store.",
    ),
]
Interval = Annotated[
    str | None,
    _option(
        metavar="TIME", panel=_CHECK, help="How often. Default: 5s; 10s with --check-http or -tcp."
    ),
]
Wait = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="How long to wait until all are passing; 0 does not wait.",
        show_default=True,
    ),
]
WaitConsul = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="How long to wait for the agent to answer. "
        f"Default: {DEFAULT_WAIT_CONSUL:g}s, but at most --wait.",
        show_default=False,
    ),
]
JsonLines = Annotated[bool, flag("--json", help="Print each event as one line of JSON.")]


def instance_options(job: Callable[..., None], *, waits: bool = True) -> Callable[..., None]:
    """Decorate ``job`` as a command with the options that define instances.

    ``job`` receives them as its first argument, a `JobOptions`. Its other parameters are options of
    that command alone. ``waits``: the command also has --wait and --wait-consul.
    """

    def command(
        file: File = None,
        expand: Expand = False,
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
        scheme: Scheme = None,
        path: PathPrefix = None,
        check_http: CheckHttp = None,
        check_tcp: CheckTcp = None,
        interval: Interval = None,
        **own: Any,
    ) -> None:
        with exit_on_error():
            flags = InstanceFlags(
                name,
                id,
                address,
                port,
                tag,
                meta,
                zone,
                scheme,
                path,
                check_http,
                check_tcp,
                interval,
            )
            options = job_options(
                definition_files_option(file, expand=expand),
                flags,
                wait=wait,
                wait_consul=wait_consul,
                consul=consul,
                json=json_,
            )
            job(options, **own)

    command.__name__, command.__doc__ = job.__name__, job.__doc__
    # Typer reads the options from the signature.
    _, *own_options = inspect.signature(job).parameters.values()
    *shared, _ = inspect.signature(command).parameters.values()
    shared = [option for option in shared if waits or not option.name.startswith("wait")]
    options = (*own_options, *shared)
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    )
    command.__annotations__ = {option.name: option.annotation for option in options}
    return command
