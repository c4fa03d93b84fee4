"""The exactly-once checker finds each kind of violation, and no others."""

import asyncio

import pytest

from kato_consul.errors import (
    KatoConsulError,
    OutcomeUnknown,
    RequestNotSent,
    SessionConflict,
    ValidationFailed,
)
from kato_consul.testing.history import Final, History, check
from kato_consul.testing.kato.memory import STM_BOUND

NOT_SENT = RequestNotSent("no instance accepted the request")
UNKNOWN = OutcomeUnknown("observe", "kato-1", "silence")


def history(*calls: tuple[str, KatoConsulError | None]) -> History:
    """Return a history of successive calls in the session "s"."""
    recorded = History()
    for symbol, error in calls:
        with recorded.call("s", [symbol]):
            if error is not None:
                raise error
    return recorded


def final(*symbols: str) -> dict[str, Final | None]:
    """Return the final state of the session "s"."""
    return {"s": Final(len(symbols), [(symbol,) for symbol in symbols])}


def test_all_acknowledged_and_stored_passes() -> None:
    """All observations are stored, once and in order."""
    report = check(history(("a", None), ("b", None)), final("a", "b"))
    assert report.passed
    assert str(report) == "2 acknowledged: 0 failed, 0 lost, 0 twice, 0 unknown"


@pytest.mark.parametrize(
    ("stored", "figures"),
    [
        (("a",), {"lost": 1}),
        ((), {"lost": 2}),
        (("a", "b", "a"), {"twice": 1, "out_of_order": 1}),
        (("a", "a", "a", "b"), {"twice": 2}),
        (("b", "a"), {"out_of_order": 1}),
        (("a", "b", "c"), {"foreign": 1}),
        (("a", "a"), {"lost": 1, "twice": 1}),
    ],
)
def test_violations_of_acknowledged_calls(stored: tuple[str, ...], figures: dict[str, int]) -> None:
    """An acknowledged observation that is not stored once and in order is reported by its kind."""
    report = check(history(("a", None), ("b", None)), final(*stored))
    names = ("failed", "unknown", "lost", "twice", "out_of_order", "untrue", "foreign")
    assert {name: n for name in names if (n := getattr(report, name))} == figures
    assert not report.passed
    assert report.findings


@pytest.mark.parametrize("error", [NOT_SENT, UNKNOWN])
def test_failed_and_not_stored_is_consistent(error: KatoConsulError) -> None:
    """A failed call whose observation is not stored is consistent, but does not pass."""
    report = check(history(("a", None), ("b", error)), final("a"))
    assert report.consistent
    assert not report.passed
    assert (report.failed, report.unknown) == ((0, 1) if error is UNKNOWN else (1, 0))


def test_failed_and_stored_is_untrue_only_if_denied() -> None:
    """If the observation is stored, an error that says "not applied" is untrue; others are not."""
    assert check(history(("a", NOT_SENT)), final("a")).untrue == 1
    assert check(history(("a", UNKNOWN)), final("a")).consistent
    refused = ValidationFailed("observe", "kato-1", 422, [])
    conflict = SessionConflict("s", "id", expected=1, found=2, expected_stm=[], found_stm=[])
    assert check(history(("a", conflict)), final("a")).consistent
    assert check(history(("a", refused)), final()).consistent


def test_cancelled_calls_may_be_stored_later() -> None:
    """A cancelled call may be stored once, at any position after calls that ended before it."""
    recorded = history(("a", None))
    with pytest.raises(asyncio.CancelledError), recorded.call("s", ["b"]):
        raise asyncio.CancelledError
    with recorded.call("s", ["c"]):
        pass
    for stored in (("a", "c"), ("a", "b", "c"), ("a", "c", "b")):
        report = check(recorded, final(*stored))
        assert report.consistent
        assert report.unknown == 1
    assert check(recorded, final("b", "a", "c")).out_of_order == 1


def test_overlapping_calls_have_any_order() -> None:
    """Overlapping calls may be stored in either order."""
    recorded = History()
    with recorded.call("s", ["a"]), recorded.call("s", ["b"]):
        pass
    assert check(recorded, final("a", "b")).passed
    assert check(recorded, final("b", "a")).passed


def test_calls_with_several_events() -> None:
    """Each event of a call counts; symbols are compared in KATO's order."""
    recorded = History()
    with recorded.call("s", ["b", "a"], ["c"]):
        pass
    stored = Final(2, [("a", "b"), ("c",)])
    assert check(recorded, {"s": stored}).passed
    assert check(recorded, {"s": Final(1, [("c",)])}).lost == 1


def test_a_wrong_counter_is_miscounted() -> None:
    """A counter that differs from the number of events is reported."""
    assert check(history(("a", None)), {"s": Final(2, [("a",)])}).miscounted == 1


def test_a_missing_session_lost_everything() -> None:
    """If the session is missing, all its observations are lost."""
    assert check(history(("a", None), ("b", None)), {"s": None}).lost == 2


def test_histories_that_prove_nothing_are_refused() -> None:
    """Equal events, and more events than KATO keeps, raise ValueError."""
    with pytest.raises(ValueError, match="twice"):
        check(history(("a", None), ("a", None)), final("a", "a"))
    recorded = History()
    with pytest.raises(ValueError, match="1000"), recorded.call("s", *([["x"]] * (STM_BOUND + 1))):
        pass
