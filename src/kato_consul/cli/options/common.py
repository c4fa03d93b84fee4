"""Options that several commands have, and what they mean."""

import logging
from typing import Annotated

import typer

from kato_consul import _durations as durations
from kato_consul.cli.help_format import flag
from kato_consul.errors import ConfigurationError
from kato_consul.settings import Settings

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
Json = Annotated[bool, flag("--json", help="Answer in JSON: one line, on standard output.")]


def settings(consul: str | None = None, service: str | None = None) -> Settings:
    """Settings from the environment, with what the options say."""
    return Settings.from_env(consul_addr=consul, service=service)


def told_here() -> None:
    """Keep the watch from logging what the command tells itself: that Consul is away, or back."""
    logging.getLogger("kato_consul.watch").setLevel(logging.CRITICAL)


def no_answer_yet(asked: Settings) -> str:
    """What is said to somebody who waits for Consul."""
    return f"no answer from Consul at {asked.consul_address} yet; trying on"


def seconds(option: str, text: str) -> float:
    """A duration option; ``0`` needs no unit.

    Raises:
        ConfigurationError: with the option's name.
    """
    try:
        return 0.0 if text == "0" else durations.seconds(text)
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None
