"""Observations: what is accepted, and that it is a copy."""

import datetime
import enum
import uuid
from typing import Any

import pytest

from kato_consul._kato import writes
from kato_consul._kato.observations import observation, observations
from kato_consul.errors import InvalidObservation


class Plain(enum.Enum):
    """An enum whose members are no strings."""

    A = "a"


class Text(enum.StrEnum):
    """An enum whose members are strings."""

    A = "a"


class Name(str):
    """A subclass of str with another text."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


@pytest.mark.parametrize(
    "symbol",
    [b"a", uuid.UUID(int=1), datetime.date(2026, 1, 1), Plain.A, 1, None, ["a"], bytearray(b"a")],
    ids=lambda symbol: type(symbol).__name__,
)
def test_symbol_that_is_not_text_is_refused(symbol: Any) -> None:
    """msgspec would make text of some of them, which KATO would learn."""
    with pytest.raises(InvalidObservation, match=r"symbol 1 is not text but \w+"):
        observation(["fine", symbol])
    with pytest.raises(InvalidObservation, match="event 1: symbol 0"):
        observations([["fine"], {"strings": [symbol]}])


@pytest.mark.parametrize("symbol", [Text.A, Name("a")], ids=["StrEnum", "subclass"])
def test_text_of_a_subclass_becomes_a_plain_string(symbol: str) -> None:
    """Its content is sent, whatever its class prints."""
    (sent,) = observation([symbol])["strings"]
    assert type(sent) is str
    assert sent == "a"


@pytest.mark.parametrize("symbol", ["\ud800", "a\udfff"])
def test_lone_surrogate_is_refused(symbol: str) -> None:
    """It has no UTF-8, so it is no text."""
    with pytest.raises(InvalidObservation, match="surrogates"):
        writes.observe(observation([symbol]))


@pytest.mark.parametrize(
    "parts",
    [
        {"metadata": {"a": object()}},
        {"metadata": {"a": [[[...]]]}},
        {"vectors": [1.0]},
        {"vectors": 1},
        {"emotives": 1},
        {"strings": 1},
        {"strings": b"ab"},
        {"strings": "ab"},
        {"strings": {"a": 1}},
    ],
)
def test_part_that_is_not_json_is_refused(parts: dict[str, Any]) -> None:
    """The error is this package's own, before anything is sent."""
    with pytest.raises(InvalidObservation):
        writes.observe(observation(**parts))


def test_endless_metadata_is_refused() -> None:
    """An object that contains itself has no JSON."""
    metadata: dict[str, Any] = {}
    metadata["self"] = metadata
    with pytest.raises(InvalidObservation):
        observation(["a"], metadata=metadata)


def test_later_changes_of_the_callers_objects_have_no_effect() -> None:
    """Lists and dicts are copied, at any depth."""
    event: Any = {
        "strings": ["a"],
        "vectors": [[1.0]],
        "emotives": {"joy": 1.0},
        "metadata": {"tags": ["x"]},
        "unique_id": "1",
    }
    (copied,) = observations([event])
    event["strings"].append("b")
    event["vectors"][0].append(2.0)
    event["emotives"]["joy"] = 2.0
    event["metadata"]["tags"].append("y")
    event["unique_id"] = "2"
    assert copied == {
        "strings": ["a"],
        "vectors": [[1.0]],
        "emotives": {"joy": 1.0},
        "metadata": {"tags": ["x"]},
        "unique_id": "1",
    }


def test_iterators_are_read_once() -> None:
    """Symbols, vectors and events may come from generators."""
    assert observation(symbol for symbol in "ab") == {"strings": ["a", "b"]}
    assert observation(vectors=((1.0,) for _ in range(2))) == {"vectors": [[1.0], [1.0]]}
    assert observations([symbol] for symbol in "ab") == [{"strings": ["a"]}, {"strings": ["b"]}]


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({"strings": "ab"}, ("strings",)),
        ({"strings": {"a": 1}}, ("strings",)),
        ({"strings": ["a", 5]}, ("strings", 1)),
        ({"strings": ["a", "\ud800"]}, ("strings", 1)),
        ({"vectors": 1}, ("vectors",)),
        ({"vectors": [[1.0], ["x"]]}, ("vectors", 1)),
        ({"emotives": 1}, ("emotives",)),
        ({"emotives": {"fear": 1.0, "joy": "high"}}, ("emotives", "joy")),
        ({"metadata": {"a": object()}}, ("metadata",)),
        ({"unique_id": object()}, ("unique_id",)),
    ],
)
def test_error_has_the_place(parts: dict[str, Any], place: tuple[str | int, ...]) -> None:
    """A program finds what it has to correct, and a web service names it to its caller."""
    with pytest.raises(InvalidObservation) as caught:
        writes.observe(observation(**parts))
    assert caught.value.place == place


def test_error_of_a_sequence_has_the_place_in_the_sequence() -> None:
    """A text in place of the list is refused as its first event."""
    with pytest.raises(InvalidObservation) as caught:
        observations([["a"], {"strings": ["b", b"c"]}])  # type: ignore[list-item]
    assert caught.value.place == ("observations", 1, "strings", 1)
    with pytest.raises(InvalidObservation, match="event 0: strings must be a list"):
        observations("ab")
