"""``proxy`` and ``api-key``: KATO's HTTP API in front of the fleet, for any language."""

import logging
import re
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kato_consul import ConfigurationError, Settings
from kato_consul.cli.exit_codes import STILL_BUSY, exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import Consul, Service, duration_option, settings_from
from kato_consul.cli.output import print_result, print_status

if TYPE_CHECKING:
    from kato_consul.proxy import ServerOptions

_CALLERS, _LIMITS, _SERVING = "Callers", "Limits", "Serving"

_SIZE = re.compile(r"([0-9]+)\s*(|[kKMG]i?)B?")
_FACTORS = {"": 1, "k": 1000, "K": 1000, "M": 1000**2, "G": 1000**3}
_FACTORS |= {"ki": 1024, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}


def _option(*names: str, help: str, metavar: str, panel: str, **given: Any) -> Any:  # noqa: A002
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=panel, **given)


_NO_DEFAULT = {"show_default": False}


def proxy(
    listen: Annotated[
        str,
        _option(
            metavar="ADDR",
            panel=_SERVING,
            help="Where callers connect: host:port, \\[IPv6]:port or unix:///path.",
        ),
    ] = "127.0.0.1:8000",
    workers: Annotated[
        int, _option(metavar="N", panel=_SERVING, help="Processes that serve; a core is busy each.")
    ] = 1,
    prefix: Annotated[
        str,
        _option(metavar="PATH", panel=_SERVING, help="Serve below this path only.", **_NO_DEFAULT),
    ] = "",
    metrics: Annotated[
        str | None,
        _option(
            metavar="ADDR", panel=_SERVING, help="Prometheus' metrics, at /metrics.", **_NO_DEFAULT
        ),
    ] = None,
    register: Annotated[
        str | None,
        _option(
            metavar="NAME",
            panel=_SERVING,
            help="Register the proxy in Consul as a service of this name.",
            **_NO_DEFAULT,
        ),
    ] = None,
    replace_running: Annotated[
        bool,
        flag(
            "--replace",
            rich_help_panel=_SERVING,
            help="Take the place of the proxy that serves ADDR, without a failed request.",
        ),
    ] = False,
    share_port: Annotated[
        bool,
        flag(
            "--share-port",
            rich_help_panel=_SERVING,
            help="Serve beside the proxy that serves ADDR, and leave it.",
        ),
    ] = False,
    drain: Annotated[
        str,
        _option(
            metavar="TIME", panel=_SERVING, help="How long requests in hand may take, on SIGTERM."
        ),
    ] = "25s",
    api_keys: Annotated[
        Path | None,
        _option(
            metavar="FILE",
            panel=_CALLERS,
            help="Require one of these keys; read again when it changes. See 'api-key'.",
            **_NO_DEFAULT,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        _option(metavar="FILE", panel=_CALLERS, help="Serve https with this.", **_NO_DEFAULT),
    ] = None,
    tls_key: Annotated[
        Path | None,
        _option(
            metavar="FILE", panel=_CALLERS, help="The certificate's private key.", **_NO_DEFAULT
        ),
    ] = None,
    client_ca: Annotated[
        Path | None,
        _option(
            metavar="FILE",
            panel=_CALLERS,
            help="Require a client certificate of one of these CAs.",
            **_NO_DEFAULT,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        flag(
            "--insecure",
            rich_help_panel=_CALLERS,
            help="Let other machines call without key and certificate.",
        ),
    ] = False,
    deadline: Annotated[
        str,
        _option(
            metavar="TIME",
            panel=_LIMITS,
            help="The longest time of a call, retries on other instances included; else a 503.",
        ),
    ] = "30s",
    max_body: Annotated[
        str, _option(metavar="SIZE", panel=_LIMITS, help="The longest body; else a 413.")
    ] = "16MiB",
    max_connections: Annotated[
        int, _option(metavar="N", panel=_LIMITS, help="Connections at a time; else a 503.")
    ] = 4000,
    rate: Annotated[
        float | None,
        _option(
            metavar="N",
            panel=_LIMITS,
            help="Requests a second of a key, without keys of an address; else a 429.",
            **_NO_DEFAULT,
        ),
    ] = None,
    session_directory: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Where proxies agree on the owners of sessions: consul, redis://… or none. "
            "Default: $KATO_CONSUL_SESSION_DIRECTORY, where a URL with a password belongs, "
            "else consul.",
            show_default=False,
        ),
    ] = None,
    service: Service = None,
    consul: Consul = None,
) -> None:
    """Serve KATO's own HTTP API in front of all instances, for any language.

    Point KATO_URL of an application at it. Calls go to the instances in Consul;
    sessions survive the loss of one, and each observation is applied once.

      kato-consul proxy
      curl -X POST localhost:8000/sessions -d '{"node_id": "me"}' \\
          -H 'content-type: application/json'

    For other machines it needs keys, or client certificates:

      kato-consul api-key shop >> keys
      kato-consul proxy --listen 0.0.0.0:8000 --api-keys keys

    On SIGTERM or Ctrl-C, /ready becomes 503, it ends what is in hand, and hands
    its sessions over; a second signal skips the wait. Exit code 7: requests were
    cut after --drain. To restart it without a failed request, start the next one:

      kato-consul proxy --replace
    """
    with exit_on_error():
        _require_proxy_extra()
        from kato_consul.proxy import ServerOptions, serve

        _configure_logging()
        settings = replace(
            _settings(consul, service, session_directory),
            deadline=duration_option("--deadline", deadline),
        )
        options = ServerOptions(
            listen=listen,
            workers=workers,
            prefix=prefix,
            api_keys=api_keys,
            tls_cert=tls_cert,
            tls_key=tls_key,
            client_ca=client_ca,
            insecure=insecure,
            max_body=_size("--max-body", max_body),
            max_connections=max_connections,
            rate=rate,
            metrics=metrics,
            register=register,
            replace=replace_running,
            share_port=share_port,
            drain=duration_option("--drain", drain),
        )
        announce = partial(_print_ready, options, settings)
        if cut := serve(partial(_application, settings), options, settings, announce):
            print_status(f"requests that were cut after {drain}: {cut}")
            raise SystemExit(STILL_BUSY)
        print_status("drained")


def api_key(
    name: Annotated[str, typer.Argument(metavar="NAME", hidden=True, show_default=False)],
) -> None:
    """Make an API key for callers of the proxy.

    Prints its line for --api-keys, and on stderr the key itself, which is stored
    nowhere: give it to the caller now.

      kato-consul api-key shop >> keys

    Callers send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'. Remove
    the line, and within a second the key is not valid any more.
    """
    with exit_on_error():
        _require_proxy_extra()
        from kato_consul.proxy import ApiKey

        made = ApiKey.create(name)
        print_status(f"the key of {name}, shown once: {made.key.reveal()}")
        print_result(made.line)


def _application(settings: Settings) -> Any:
    """Return the application, in each process that serves it."""
    from kato_consul.proxy import create_app

    _configure_logging()
    return create_app(settings)


def _configure_logging() -> None:
    logging.basicConfig(format="%(asctime)s  %(levelname)s  %(message)s", datefmt="%H:%M:%S")


def _settings(consul: str | None, service: str | None, directory: str | None) -> Settings:
    """Return the settings; the session directory is Consul if Consul is used, and no other was set.
    Processes that serve the same sessions have to agree."""
    if directory == "none":
        return replace(settings_from(consul, service), session_directory=None)
    settings = settings_from(consul, service, directory)
    if settings.session_directory is None and settings.uses_consul:
        return replace(settings, session_directory="consul")
    return settings


def _print_ready(options: "ServerOptions", settings: Settings, predecessor: int | None) -> None:
    print_result(f"serving {settings.service} on {options.url}")
    shared = settings.session_directory
    for line in (
        f"sessions are shared in {'consul' if shared == 'consul' else 'Redis'}"
        if shared
        else "sessions are this process' own",
        options.metrics and f"metrics on http://{options.metrics}/metrics",
        options.register and f"registered in Consul as {options.register}",
        _of_predecessor(options, predecessor),
    ):
        if line:
            print_status(line)


def _of_predecessor(options: "ServerOptions", predecessor: int | None) -> str:
    if predecessor is None:
        return ""
    if options.replace:
        return f"took over from process {predecessor}, and sends it SIGTERM"
    named = f"process {predecessor}" if predecessor else "a process of another PID namespace"
    return f"shares the port with {named}, which goes on"


def _size(option: str, text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"{option}: {text!r} is not a size: write it like 16MiB or 500kB")
    return int(found[1]) * _FACTORS[found[2]]


def _require_proxy_extra() -> None:
    needed = ("starlette", "uvicorn", "prometheus_client", "websockets")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the proxy needs {' and '.join(missing)}: pip install 'kato-consul[proxy]'"
        )
