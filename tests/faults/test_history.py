"""The checker finds each way of lying, and nothing where there is none."""

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

NOT_SENT = RequestNotSent("nobody took it")
UNKNOWN = OutcomeUnknown("observe", "kato-1", "silence")


def history(*calls: tuple[str, KatoConsulError | None]) -> History:
    """Calls one after the other in the session "s"."""
    made = History()
    for symbol, error in calls:
        with made.call("s", [symbol]):
            if error is not None:
                raise error
    return made


def final(*symbols: str) -> dict[str, Final | None]:
    """What KATO has in the end."""
    return {"s": Final(len(symbols), [(symbol,) for symbol in symbols])}


def test_all_is_well() -> None:
    """Everything there, once and in order."""
    verdict = check(history(("a", None), ("b", None)), final("a", "b"))
    assert verdict.passed
    assert str(verdict) == "2 acknowledged: 0 failed, 0 lost, 0 twice, 0 unknown"


@pytest.mark.parametrize(
    ("there", "figures"),
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
def test_acknowledged(there: tuple[str, ...], figures: dict[str, int]) -> None:
    """What was acknowledged is there once and in order, or it is told what it is."""
    verdict = check(history(("a", None), ("b", None)), final(*there))
    names = ("failed", "unknown", "lost", "twice", "out_of_order", "untrue", "foreign")
    assert {name: n for name in names if (n := getattr(verdict, name))} == figures
    assert not verdict.passed
    assert verdict.findings


@pytest.mark.parametrize("error", [NOT_SENT, UNKNOWN])
def test_failed_and_not_there(error: KatoConsulError) -> None:
    """What failed and is not there keeps every promise, but is not what anybody wants."""
    verdict = check(history(("a", None), ("b", error)), final("a"))
    assert verdict.consistent
    assert not verdict.passed
    assert (verdict.failed, verdict.unknown) == ((0, 1) if error is UNKNOWN else (1, 0))


def test_failed_and_there() -> None:
    """An error that says nothing happened is untrue where something did; others are not."""
    assert check(history(("a", NOT_SENT)), final("a")).untrue == 1
    assert check(history(("a", UNKNOWN)), final("a")).consistent
    refused = ValidationFailed("observe", "kato-1", 422, [])
    conflict = SessionConflict("s", "id", expected=1, found=2, expected_stm=[], found_stm=[])
    assert check(history(("a", conflict)), final("a")).consistent
    assert check(history(("a", refused)), final()).consistent


def test_never_ended() -> None:
    """A call that was cancelled may be there once, in any place from where it was made."""
    made = history(("a", None))
    with pytest.raises(asyncio.CancelledError), made.call("s", ["b"]):
        raise asyncio.CancelledError
    with made.call("s", ["c"]):
        pass
    for there in (("a", "c"), ("a", "b", "c"), ("a", "c", "b")):
        verdict = check(made, final(*there))
        assert verdict.consistent
        assert verdict.unknown == 1
    assert check(made, final("b", "a", "c")).out_of_order == 1


def test_side_by_side() -> None:
    """Calls that overlap may come in either order."""
    made = History()
    with made.call("s", ["a"]), made.call("s", ["b"]):
        pass
    assert check(made, final("a", "b")).passed
    assert check(made, final("b", "a")).passed


def test_several_at_once() -> None:
    """A call with several events counts each; they may be compared in KATO's order of symbols."""
    made = History()
    with made.call("s", ["b", "a"], ["c"]):
        pass
    there = Final(2, [("a", "b"), ("c",)])
    assert check(made, {"s": there}).passed
    assert check(made, {"s": Final(1, [("c",)])}).lost == 1


def test_counter() -> None:
    """A counter that is not that of the events is told."""
    assert check(history(("a", None)), {"s": Final(2, [("a",)])}).miscounted == 1


def test_a_session_that_is_gone() -> None:
    """Of a session that is gone everything is lost."""
    assert check(history(("a", None), ("b", None)), {"s": None}).lost == 2


def test_what_proves_nothing() -> None:
    """Events that are alike, and more than KATO keeps, are refused: no verdict would be true."""
    with pytest.raises(ValueError, match="twice"):
        check(history(("a", None), ("a", None)), final("a", "a"))
    made = History()
    with pytest.raises(ValueError, match="1000"), made.call("s", *([["x"]] * (STM_BOUND + 1))):
        pass
