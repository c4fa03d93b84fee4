"""Rendering: a configuration from a template (Jinja2) and the values of a pool.

Consul's texts must not become directives of a gateway. So a value that is printed has only
characters without a meaning in any of the syntaxes, or it went through ``quote``, which writes it
as a string of the gateway's syntax; anything else is an error. (Jinja's ``safe`` is the way around
it.) A variable that does not exist is an error, too.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from markupsafe import Markup

from kato_consul.errors import ConfigurationError

PLAIN = re.compile(r"[A-Za-z0-9._~/:@\[\]+,=-]*")
"""What is printed without ``quote``."""

Quote = Callable[[str], str]


def nginx_quote(text: str) -> str:
    """Return a string of nginx's syntax. Raises ValueError for one with a ``$``: nginx reads it as
    a variable, and has no escape for it."""
    if "$" in text:
        raise ValueError("nginx has no way to write a $ in a string")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def haproxy_quote(text: str) -> str:
    """Return a strong-quoted string of HAProxy's syntax."""
    escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"


def yaml_quote(text: str) -> str:
    """Return a string of JSON, which is one of YAML, too."""
    return json.dumps(text)


class Template:
    """A template of one gateway.

    Args:
        source: the template's text.
        name: what errors call it, such as its path.
        quote: writes a text as a string of the gateway's syntax.

    Raises:
        ConfigurationError: it is not a template; the message has the line.
    """

    def __init__(self, source: str, name: str, quote: Quote) -> None:
        self._name = name
        environment = jinja2.Environment(
            undefined=jinja2.StrictUndefined,
            # With it what macros return is known as checked. It changes no plain text.
            autoescape=True,
            finalize=_checked,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.globals["fail"] = _fail
        environment.filters["quote"] = lambda value: _quoted(str(value), quote)
        environment.filters["regex"] = _pattern
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigurationError(f"{name}, line {error.lineno}: {error.message}") from None

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the configuration.

        Raises:
            ConfigurationError: a value is missing, or cannot be written; the message has the line.
        """
        try:
            return self._template.render(values)
        except (jinja2.TemplateError, ValueError, TypeError) as error:
            raise ConfigurationError(f"{self._name}, {_line_of(error)}: {error}") from None


def _fail(why: str) -> NoReturn:
    """For templates: there is no configuration, for this reason."""
    raise ValueError(why)


def _checked(value: Any) -> Any:
    if isinstance(value, (Markup, int, float, jinja2.Undefined)):
        return value
    text = str(value)
    if not PLAIN.fullmatch(text):
        raise ValueError(f"{text!r} has characters with a meaning: print it with | quote")
    return text


def _quoted(text: str, quote: Quote) -> Markup:
    if not text.isprintable():
        raise ValueError(f"{text!r} has control characters, which a configuration cannot have")
    return Markup(quote(text))  # noqa: S704 - that is what it says


def _pattern(value: Any) -> Markup:
    """Return a pattern that matches a plain text."""
    return Markup(re.escape(_checked(value)))  # noqa: S704 - as above


def _line_of(error: BaseException) -> str:
    """Return the line of the template that an error comes from: Jinja rewrites tracebacks so that
    they have it."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).name == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"line {line}"
