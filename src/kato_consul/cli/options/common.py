"""Options of most commands, and their conversion to settings."""

import logging
from typing import Annotated, Any

import typer

from kato_consul import ConfigurationError, Settings, parse_duration
from kato_consul.cli.help_format import flag

Consul = Annotated[
    str | None,
    typer.Option(
        "--consul",
        metavar="ADDR",
        help="The Consul agent: host:port, a URL, or unix:///path. "
        "Default: $CONSUL_HTTP_ADDR, else 127.0.0.1:8500.",
        show_default=False,
    ),
]
Service = Annotated[
    str | None,
    typer.Option(
        "--service",
        metavar="NAME",
        help="The service's name. Default: $KATO_CONSUL_SERVICE, else kato.",
        show_default=False,
    ),
]
Json = Annotated[bool, flag("--json", help="Print the result as one line of JSON.")]


def settings_from(
    consul: str | None = None, service: str | None = None, directory: str | None = None
) -> Settings:
    """Return the settings of the environment, overridden by the options that were given."""
    given: dict[str, Any] = {
        "consul_addr": consul,
        "service": service,
        "session_directory": directory,
    }
    return Settings(**{name: value for name, value in given.items() if value is not None})


def silence_watch_log() -> None:
    """Stop the watch from logging Consul's outages, which the command prints itself."""
    logging.getLogger("kato_consul.watch").setLevel(logging.CRITICAL)


def duration_option(option: str, text: str) -> float:
    """Return the seconds of a duration; ``0`` needs no unit.

    Raises:
        ConfigurationError: with the option's name.
    """
    try:
        return 0.0 if text == "0" else parse_duration(text)
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None
