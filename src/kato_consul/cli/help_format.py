"""Help format: Typer's panels, without a type behind options that take no value."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}

OPTIONS_FIRST = {**CONTEXT_SETTINGS, "allow_interspersed_args": False}
"""For a command that runs another one: what follows that one's name are its own options."""

NO_METAVAR = ""
"""The metavar of a flag, which takes no value; Typer's default is <bool>."""


class Command(TyperCommand):
    """A command whose --help is shown without a type."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return Click's --help option without a type."""
        return _without_type(super().get_help_option(ctx))


class Group(TyperGroup):
    """A group of commands whose --help is shown without a type."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return Click's --help option without a type."""
        return _without_type(super().get_help_option(ctx))


def flag(*names: str, **settings: Any) -> Any:
    """Declare an option that takes no value."""
    return typer.Option(*names, metavar=NO_METAVAR, **settings)


def _without_type(option: Any) -> Any:
    if option is not None:
        option.metavar = NO_METAVAR
    return option
