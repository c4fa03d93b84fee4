"""Observations: built from what callers pass, checked and copied before anything is sent.

The journal keeps them: a copy cannot be changed by the caller later, and what is replayed is what
was sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec

from kato_consul._kato.plain_json import plain_json, plain_number, plain_text
from kato_consul._kato.types import Observation
from kato_consul.errors import InvalidObservation

Place = tuple[str | int, ...]

_PLAIN_NUMBERS = {float, int}

_NO_LISTS = (str, bytes, bytearray, Mapping)
"""Types that can be iterated, and whose parts are not what a caller means as symbols."""


def observation(
    strings: Iterable[str] | None = None,
    vectors: Iterable[Iterable[float]] | None = None,
    emotives: Mapping[str, float] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **others: Any,
) -> Observation:
    """Return an observation with the given parts. See `Observation` for shapes and ranges.

    Raises:
        InvalidObservation: a symbol is not text, or a part is not JSON.
    """
    result: Observation = {}
    if strings is not None:
        result["strings"] = _symbols(strings)
    place: Place = ()
    try:
        if vectors is not None:
            place, result["vectors"] = ("vectors",), []
            for index, vector in enumerate(vectors):
                place = ("vectors", index)
                result["vectors"].append(_numbers(vector, f"vector {index}"))
        if emotives is not None:
            place, result["emotives"] = ("emotives",), {}
            for name, value in dict(emotives).items():
                text = plain_text(name, "the name of an emotive")
                place = ("emotives", text)
                result["emotives"][text] = plain_number(value, f"emotive {name!r}")
        if metadata is not None:
            place = ("metadata",)
            result["metadata"] = plain_json(metadata, "metadata")
        for name, value in others.items():
            place = (name,)
            result[name] = plain_json(value, name)  # type: ignore[literal-required]
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        text = f"a part of the observation is not JSON: {error}"
        raise InvalidObservation(text, place) from error
    return result


def observations(events: Iterable[Observation | Sequence[str]]) -> list[Observation]:
    """Return the events as observations. A list of strings becomes one with these strings.

    Raises:
        InvalidObservation: as `observation`.
    """
    result = []
    for position, event in enumerate(events):
        try:
            one = observation(**event) if isinstance(event, Mapping) else observation(event)
        except InvalidObservation as error:
            place = ("observations", position, *error.place)
            raise InvalidObservation(f"event {position}: {error}", place) from error
        result.append(one)
    return result


def to_json(value: Any) -> bytes:
    """Return a request body.

    Raises:
        InvalidObservation: the value is not JSON.
    """
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        place = _place_of_surrogate(value) if isinstance(error, UnicodeEncodeError) else ()
        raise InvalidObservation(f"it cannot be sent as JSON: {error}", place) from error


def _symbols(strings: Iterable[str]) -> list[str]:
    """Return the symbols as plain strings.

    msgspec would turn bytes, UUIDs, dates and enums into text of its own, and KATO would learn it.
    """
    if isinstance(strings, _NO_LISTS):
        kind = type(strings).__name__
        raise InvalidObservation(f"strings must be a list of symbols, not {kind}", ("strings",))
    try:
        symbols = list(strings)
    except TypeError as error:
        text = f"strings must be a list of symbols: {error}"
        raise InvalidObservation(text, ("strings",)) from error
    for position, symbol in enumerate(symbols):
        if type(symbol) is not str:
            try:
                symbols[position] = plain_text(symbol, f"symbol {position}")
            except TypeError as error:
                raise InvalidObservation(str(error), ("strings", position)) from None
    return symbols


def _place_of_surrogate(body: Any) -> Place:
    """Return which symbol of one observation has no UTF-8. Other text of it is checked before."""
    for position, symbol in enumerate(body.get("strings", ())):
        if any("\ud800" <= char <= "\udfff" for char in symbol):
            return "strings", position
    return ()


def _numbers(values: Iterable[float], where: str) -> list[float]:
    """Return the numbers of a vector. They are checked one by one only if they have to be."""
    numbers = list(values)
    if {*map(type, numbers)} <= _PLAIN_NUMBERS and isfinite(sum(numbers)):
        return numbers
    return [plain_number(value, f"{where}[{index}]") for index, value in enumerate(numbers)]
