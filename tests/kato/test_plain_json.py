"""Plain JSON: what is copied, and what is refused with its place."""

import datetime
import decimal
import enum
import uuid
from typing import Any

import pytest

from kato_consul._kato.observations import observation
from kato_consul._kato.plain_json import copied_json, plain_json
from kato_consul.errors import ConfigurationError, InvalidObservation


class Text(enum.StrEnum):
    """An enum whose members are strings."""

    A = "a"


class Plain(enum.Enum):
    """An enum whose members are no strings."""

    A = "a"


class Number(float):
    """A subclass of float, as numpy's is."""


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1.5, "a", "ä", [], {}, {"a": [1, {"b": None}]}],
    ids=repr,
)
def test_json_is_copied_as_it_is(value: Any) -> None:
    """JSON's own types stay."""
    assert plain_json(value, "it") == value


def test_copy_shares_nothing() -> None:
    """What a caller changes later does not change it."""
    value: Any = {"a": [{"b": []}]}
    copied = plain_json(value, "it")
    value["a"][0]["b"].append(1)
    assert copied == {"a": [{"b": []}]}


def test_tuples_and_subclasses_become_plain() -> None:
    """Their content is sent."""
    copied = plain_json({Text.A: (Text.A, Number(1.5))}, "it")
    assert copied == {"a": ["a", 1.5]}
    assert [type(one) for one in (*copied, *copied["a"])] == [str, str, float]


NOT_JSON = [
    uuid.UUID(int=1),
    b"a",
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    decimal.Decimal(1),
    Plain.A,
    {1},
    object(),
    float("nan"),
    float("inf"),
    "\ud800",
    {1: "a"},
    {uuid.UUID(int=1): "a"},
]


@pytest.mark.parametrize("value", NOT_JSON, ids=lambda value: repr(value)[:8])
def test_what_json_does_not_have_is_refused_with_its_place(value: Any) -> None:
    """msgspec would make text or null of most of them, and KATO would keep that."""
    with pytest.raises((TypeError, ValueError), match=r"it\['parts'\]\[1\]"):
        plain_json({"parts": [1, value]}, "it")
    with pytest.raises(InvalidObservation, match=r"metadata\['x'\]"):
        observation(["a"], metadata={"x": value})
    with pytest.raises(ConfigurationError, match=r"config\['x'\]"):
        copied_json({"x": value}, "config")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, True, decimal.Decimal(1)])
def test_emotive_that_is_no_finite_number_is_refused(value: Any) -> None:
    """NaN would be sent as null, which KATO refuses without naming the cause."""
    with pytest.raises(InvalidObservation, match="emotive 'joy' is "):
        observation(["a"], emotives={"joy": value})


def test_name_of_an_emotive_is_text() -> None:
    """A UUID as a name would become text of its own."""
    names: Any = {uuid.UUID(int=1): 0.5}
    with pytest.raises(InvalidObservation, match="the name of an emotive is not text but UUID"):
        observation(["a"], emotives=names)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "1", None, decimal.Decimal(1)])
def test_vector_with_a_part_that_is_no_finite_number_is_refused(value: Any) -> None:
    """The error names the vector and the position."""
    with pytest.raises(InvalidObservation, match=r"vector 1\[2\] is "):
        observation(vectors=[[1.0, 2.0, 3.0], [1.0, 2.0, value]])


@pytest.mark.parametrize("vector", [[1e308, 1e308], [1, 2.5], [Number(2.0)], []])
def test_vector_of_finite_numbers_is_accepted(vector: list[float]) -> None:
    """Also one whose sum is not finite."""
    assert observation(vectors=[vector])["vectors"] == [vector]
