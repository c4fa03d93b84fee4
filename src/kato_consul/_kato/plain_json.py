"""Plain JSON: copies what callers pass, and refuses what JSON does not have.

msgspec would make text of bytes, UUIDs, dates, decimals and enums, and null of NaN. KATO would keep
that as something else than the caller has.
"""

from collections.abc import Mapping
from enum import Enum
from math import isfinite
from typing import Any

from kato_consul.errors import ConfigurationError


def copied_json(value: Any, what: str) -> Any:
    """Return a copy of ``value`` as JSON has it: what is sent now and after a loss is the same.

    Raises:
        ConfigurationError: it is not JSON. The error names it ``what``.
    """
    try:
        return plain_json(value, what)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{what} cannot be sent as JSON: {error}") from error


def plain_json(value: Any, where: str) -> Any:
    """Return a copy of ``value`` that has JSON's types only. ``where`` names it in the error.

    A tuple becomes a list, and an instance of a subclass of str (such as a member of a StrEnum)
    its content.

    Raises:
        TypeError: a part has no type of JSON, or the key of an object is not text.
        ValueError: a number is not finite, or text contains a lone surrogate.
        RecursionError: it is nested too deeply, or contains itself.
    """
    kind = type(value)
    if kind is int or kind is bool or value is None:
        return value
    if isinstance(value, str):
        return plain_text(value, where)
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError(f"{where} is {value!r}, which JSON does not have")
        return float(value)
    if isinstance(value, Mapping):
        return {
            plain_text(key, f"a key of {where}"): plain_json(part, f"{where}[{key!r}]")
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain_json(part, f"{where}[{index}]") for index, part in enumerate(value)]
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"{where} is {_described(value)}")


def require_positive(value: Any, what: str) -> None:
    """Check that an argument is a whole number above 0. ``what`` names it in the error.

    Raises:
        ConfigurationError: it is not. A bool is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ConfigurationError(f"{what} must be a whole number above 0, not {value!r:.100}")


def plain_number(value: Any, where: str) -> float:
    """Return a finite number. ``where`` names it in the error.

    Raises:
        TypeError: it is no number. A bool is none, and neither is text.
        ValueError: it is not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where} is {_described(value, 'not a number but ')}")
    number: float = plain_json(value, where)
    return number


def plain_text(value: Any, where: str) -> str:
    """Return text as a plain str. ``where`` names it in the error.

    Raises:
        TypeError: it is not text.
        ValueError: it contains a lone surrogate, which has no UTF-8.
    """
    if not isinstance(value, str):
        raise TypeError(f"{where} is {_described(value, 'not text but ')}")
    text = str.__str__(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{where} is no Unicode text: {error.reason}") from None
    return text


def _described(value: object, prefix: str = "") -> str:
    """Return type and value, and what a caller can do."""
    return f"{prefix}{type(value).__name__}: {value!r:.100}. {_how_to_convert(value)}"


def _how_to_convert(value: object) -> str:
    """Return what a caller can do. str() of bytes or of an enum is not their content."""
    if isinstance(value, bytes | bytearray | memoryview):
        return "Decode it first"
    if isinstance(value, Enum):
        return "Use its value or its name"
    return "Convert it first, as with str() or float()"
