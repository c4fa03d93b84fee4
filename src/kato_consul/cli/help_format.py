"""How help looks: Typer's panels, without a type where there is nothing to type."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

CONTEXT = {"help_option_names": ["-h", "--help"]}

NOTHING = ""
"""The metavar of a flag: Typer would write <bool> behind it, and a flag takes no value."""


class Command(TyperCommand):
    """A command whose --help is a flag like the others."""

    def get_help_option(self, ctx: Any) -> Any:
        """Click's option, without a type."""
        return _plain(super().get_help_option(ctx))


class Group(TyperGroup):
    """The commands together; likewise."""

    def get_help_option(self, ctx: Any) -> Any:
        """Click's option, without a type."""
        return _plain(super().get_help_option(ctx))


def flag(*names: str, **given: Any) -> Any:
    """A flag: an option that takes no value."""
    return typer.Option(*names, metavar=NOTHING, **given)


def _plain(option: Any) -> Any:
    if option is not None:
        option.metavar = NOTHING
    return option
