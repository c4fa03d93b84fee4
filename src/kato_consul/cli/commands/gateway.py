"""``gateway``: writes the configuration of a gateway, and follows Consul with it."""

import contextlib
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kato_consul import ConfigurationError, UnknownService
from kato_consul.cli.commands.instances import CONSUL_WITHIN
from kato_consul.cli.exit_codes import CommandFailed, exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import Consul, Service, settings_from, silence_watch_log
from kato_consul.cli.output import (
    PROGRAM,
    log_line,
    print_event,
    print_result,
    status_if_consul_is_slow,
)
from kato_consul.cli.signals import interrupt_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kato_consul.gateways import Gateway, GatewayOptions, GatewayReport

PROXY_SERVICE = "kato-proxy"
"""The service as which proxies are registered, unless --service names another."""


class To(StrEnum):
    """What a gateway routes to."""

    INSTANCES = "instances"
    PROXIES = "proxies"


Kind = Annotated[str, typer.Argument(metavar="GATEWAY", hidden=True, show_default=False)]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="The configuration to write.", show_default=False),
]
Reload = Annotated[
    str | None,
    typer.Option(
        "--reload",
        metavar="CMD",
        help="Run after the file has changed, by the shell.",
        show_default=False,
    ),
]
Once = Annotated[bool, flag("--once", help="Write it once, and exit.")]
TemplateFile = Annotated[
    Path | None,
    typer.Option("--template", metavar="FILE", help="A template of your own.", show_default=False),
]
ShowTemplate = Annotated[bool, flag("--show-template", help="Print the built-in template.")]
Check = Annotated[
    str | None,
    typer.Option(
        "--check",
        metavar="CMD",
        help="Check the file {file} with this, or 'none'. Default: the gateway's own program.",
        show_default=False,
    ),
]
Route = Annotated[
    str, typer.Option("--to", metavar="WHAT", help="'instances', or 'proxies' (kato-proxy).")
]
ListenOn = Annotated[
    str, typer.Option("--listen", metavar="ADDR", help="Where the gateway listens.")
]
Prefix = Annotated[
    str,
    typer.Option(
        "--prefix", metavar="PATH", help="KATO's path, such as /kato.", show_default=False
    ),
]
RateLimit = Annotated[
    int,
    typer.Option(
        "--rate-limit",
        metavar="N",
        min=0,
        help="Requests a second of one caller; beyond that it gets a 429.",
        show_default=False,
    ),
]
ApiKeys = Annotated[
    Path | None,
    typer.Option(
        "--api-keys",
        metavar="FILE",
        help="Ask callers for a key: lines NAME SHA256HEX. Only haproxy.",
        show_default=False,
    ),
]


def gateway(
    kind: Kind,
    out: Out = None,
    reload: Reload = None,
    once: Once = False,
    to: Route = To.INSTANCES.value,
    listen: ListenOn = "127.0.0.1:8000",
    prefix: Prefix = "",
    rate_limit: RateLimit = 0,
    api_keys: ApiKeys = None,
    template: TemplateFile = None,
    show_template: ShowTemplate = False,
    check: Check = None,
    service: Service = None,
    consul: Consul = None,
) -> None:
    """Write the configuration of a gateway, and follow Consul with it.

    GATEWAY is nginx, haproxy, envoy or kong. The file is made from the instances
    that clients would use now, and again at each change in Consul, until Ctrl-C.
    It is checked with the gateway's own program, replaced as a whole, and only
    then is the gateway reloaded. If the check or the reload fails, the file stays
    as it was, and 10 s later it is tried again. If no instance can be used, the
    file stays, too.

      kato-consul gateway nginx --out /etc/nginx/conf.d/kato.conf
        --reload 'nginx -s reload'

      kato-consul gateway haproxy --out /etc/haproxy/kato.cfg
        --reload 'systemctl reload haproxy'

      kato-consul gateway envoy --out /etc/envoy/kato.yaml

      kato-consul gateway kong --out /etc/kong/kato.yml
        --reload 'curl -fsS -F config=@/etc/kong/kato.yml localhost:8001/config'

    Envoy reads a second file, kato.clusters.json, which changes with the
    instances: it needs no reload. To change the built-in template, print it first:

      kato-consul gateway nginx --show-template > kato.conf.j2

      kato-consul gateway nginx --template kato.conf.j2 --once --out kato.conf

    A gateway alone loses what is in flight in an instance that dies. With
    --to proxies it routes to 'kato-consul proxy' processes, which do not.
    """
    with exit_on_error():
        interrupt_on_signals()
        try:
            from kato_consul.gateways import GATEWAYS, GatewayOptions, parse_listen, parse_prefix
            from kato_consul.gateways import read_api_keys as keys_of
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"gateways need {error.name}: pip install 'kato-consul[gateway]'"
            ) from None
        if kind not in GATEWAYS:
            raise ConfigurationError(f"there is no gateway {kind!r}: use {', '.join(GATEWAYS)}")
        chosen = GATEWAYS[kind]
        if to not in set(To):
            raise ConfigurationError(f"--to {to!r}: write {' or '.join(To)}")
        if show_template:
            print_result(chosen.template_source().rstrip("\n"))
            return
        if out is None:
            raise ConfigurationError("--out is missing: name the configuration file to write")
        options = GatewayOptions(
            listen=parse_listen(listen),
            prefix=parse_prefix(prefix),
            rate_limit=rate_limit,
            keys=keys_of(api_keys) if api_keys is not None else (),
            template=template,
            check=check,
            reload=reload,
        )
        to_proxies = to == To.PROXIES
        if to_proxies and service is None:
            service = PROXY_SERVICE
        try:
            _write(chosen, out, options, service, consul, once=once)
        except UnknownService as error:
            if not to_proxies:
                raise
            register = f"kato-consul proxy --register {shlex.quote(error.service)}"
            raise UnknownService(error.service, error.known, register=register) from None


def _write(
    chosen: "Gateway",
    out: Path,
    options: "GatewayOptions",
    service: str | None,
    consul: str | None,
    *,
    once: bool,
) -> None:
    from kato_consul import Discovery
    from kato_consul.gateways import apply_snapshot, first_snapshot, follow, gateway_files

    silence_watch_log()
    settings = settings_from(consul, service)
    files = gateway_files(chosen, out, options, settings)
    with Discovery(settings) as discovery:
        if once:
            with status_if_consul_is_slow(settings):
                snapshot = first_snapshot(discovery, CONSUL_WITHIN)
                if not snapshot.instances:  # then this raises the reason, if there is one
                    discovery.registered_snapshot(CONSUL_WITHIN)
            _report_once(apply_snapshot(snapshot, files, recheck=True))
            return
        with contextlib.suppress(KeyboardInterrupt):  # nothing is left behind that would matter
            for report in follow(discovery, files):
                print_event(log_line(PROGRAM, report.text))


def _report_once(reports: "Iterable[GatewayReport]") -> None:
    from kato_consul.gateways import GatewayEvent

    for report in reports:
        if report.event in (GatewayEvent.NOT_WRITTEN, GatewayEvent.NO_INSTANCES):
            raise CommandFailed(report.text)
        print_result(report.text)
