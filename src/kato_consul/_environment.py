"""Environment variables: settings that are not given in code are read from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kato_consul._secret import Secret
from kato_consul.errors import ConfigurationError


@dataclass(frozen=True)
class FromEnvironment:
    """The default of a setting that has an environment variable.

    Its repr is what ``help(Settings)`` shows as the default.
    """

    variable: str
    parse: Callable[[str, str], Any]
    default: Any

    def value(self, environ: Mapping[str, str]) -> Any:
        """Return the variable's value, or the default if it is not set or empty.

        Raises:
            ConfigurationError: the value is invalid; the message has the variable's name.
        """
        text = environ.get(self.variable, "")
        return self.parse(self.variable, text) if text else self.default

    def __repr__(self) -> str:
        return f"${self.variable} or {self.default!r}"


def from_environment(variable: str, parse: Callable[[str, str], object], default: object) -> Any:
    """Return the default of a setting: ``variable``, read by ``parse``, or else ``default``.

    An empty variable counts as not set, as in Consul's own tools.
    """
    return FromEnvironment(variable, parse, default)


def text(variable: str, text: str) -> str:
    """Return the text unchanged."""
    return text


def path(variable: str, text: str) -> Path:
    """Return the path."""
    return Path(text)


def secret(variable: str, text: str) -> Secret:
    """Return a secret without the spaces and line breaks around it."""
    return Secret(text.strip())


def flag(variable: str, text: str) -> bool:
    """Return the boolean: the values of Go's ``strconv.ParseBool``, as in Consul's own tools."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ConfigurationError(f"{variable} must be true or false, not {text!r}")


def words(variable: str, text: str) -> tuple[str, ...]:
    """Return the words of a list, separated by commas or spaces."""
    return tuple(text.replace(",", " ").split())
