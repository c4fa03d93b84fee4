"""The checker of histories finds each kind of violation, and no others."""

from collections.abc import Sequence
from typing import Any

import pytest

from kato_consul.errors import KatoConsulError, OutcomeUnknown, RequestNotSent
from tests.histories.calls import Ended, Event, Made, Request
from tests.histories.check import Final, Pattern, Report, Stop, check

NOT_SENT = RequestNotSent("no instance accepted the request")
UNKNOWN = OutcomeUnknown("observe", "kato-1", "no response")

A, B, C = (("a",), ("b",), ("c",))


class Calls:
    """Calls in the session "s", each of which takes one second, and begins after the last one."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.now = 0.0

    def call(
        self,
        method: str,
        *events: Event,
        answer: Any = None,
        error: KatoConsulError | None = None,
        ends: bool = True,
        key: str | None = None,
        starts: float | None = None,
        process: str = "p1",
        applied: int = 0,
    ) -> "Calls":
        """Add a call. ``starts`` is when, if it is not after the last one."""
        start = self.now + 0.5 if starts is None else starts
        self.now += 1.5
        request = Request("s", method, events, idempotency_key=key)
        ended = Ended(
            len(self.made),
            self.now,
            answer=answer if answer is not None else {},
            error=type(error).__name__ if error is not None else "",
            denied=error is not None and error.sent is False,
            applied=applied,
        )
        self.made.append(
            Made(process, len(self.made), start, request, 30.0, ended if ends else None)
        )
        return self

    def observe(self, *events: Event, **options: Any) -> "Calls":
        """Add an observation, or several in one call."""
        return self.call("observe" if len(events) == 1 else "observe_sequence", *events, **options)

    def learn(self, name: str, **options: Any) -> "Calls":
        """Add a learn that was answered with this pattern."""
        return self.call("learn", answer={"pattern_name": f"PTRN|{name}"}, **options)


def checked(
    calls: Calls,
    memory: Sequence[Event],
    patterns: Sequence[tuple[str, Sequence[Event]]] = (),
    *,
    frequency: int = 1,
    stops: Sequence[Stop] = (),
) -> Report:
    """Check the calls on the session that has this memory and these patterns."""
    learned = tuple(Pattern(name, frequency, tuple(events)) for name, events in patterns)
    final = Final(tuple(memory), learned, tuple(memory))
    return check(calls.made, {"s": final}, stops)


def test_all_acknowledged_and_stored() -> None:
    """All observations are there, in a pattern or in the memory, in order."""
    calls = Calls().observe(A).learn("one").observe(B, C)
    calls.call("stm", answer=[B, C]).call("predictions")
    report = checked(calls, [B, C], [("one", [A])])
    assert not report.violations
    assert (report.observations, report.acknowledged, report.unknown) == (3, 3, 0)


@pytest.mark.parametrize(
    ("memory", "violations"),
    [
        ([A], {"lost": 1}),
        ([], {"lost": 2}),
        ([A, B, A], {"twice": 1, "out of order": 1}),
        ([B, A], {"out of order": 1}),
        ([A, B, C], {"foreign": 1}),
    ],
)
def test_acknowledged_and_not_stored_once(memory: list[Event], violations: dict[str, int]) -> None:
    """What was acknowledged is there once, in order, and nothing else."""
    assert checked(Calls().observe(A).observe(B), memory).violations == violations


def test_an_observation_in_a_pattern_and_in_the_memory_is_twice() -> None:
    """It counts wherever it is."""
    calls = Calls().observe(A).observe(B).learn("one")
    report = checked(calls, [B], [("one", [A, B])])
    assert report.violations == {"twice": 1, "not learned": 1}


def test_order_of_patterns() -> None:
    """What was acknowledged first is in the earlier pattern."""
    calls = Calls().observe(A).learn("one").observe(B).learn("two")
    assert not checked(calls, [], [("one", [A]), ("two", [B])]).violations
    wrong = checked(calls, [], [("two", [B]), ("one", [A])])
    assert wrong.violations == {"out of order": 1}


def test_overlapping_calls_have_any_order() -> None:
    """Two processes observe at the same time."""
    calls = Calls().observe(A).observe(B, starts=1.0, process="p2")
    assert not checked(calls, [A, B]).violations
    assert not checked(calls, [B, A]).violations


def test_a_sequence_keeps_its_order() -> None:
    """Others may be in between, in another process' name."""
    calls = Calls().observe(A, B).observe(C, starts=1.0, process="p2")
    assert not checked(calls, [A, C, B]).violations
    assert checked(calls, [B, A, C]).violations == {"sequence out of order": 1}


def test_what_is_denied_is_not_there() -> None:
    """A call that says that nothing was applied is right."""
    calls = Calls().observe(A, error=NOT_SENT)
    assert not checked(calls, []).violations
    assert checked(calls, [A]).violations == {"there although denied": 1}


@pytest.mark.parametrize("options", [{"error": UNKNOWN}, {"ends": False}])
def test_without_an_outcome_it_is_there_once_or_not(options: dict[str, Any]) -> None:
    """A call without an outcome, or of a process that was killed."""
    calls = Calls().observe(A, **options).observe(B)
    assert not checked(calls, [B]).violations
    assert not checked(calls, [A, B]).violations
    assert checked(calls, [A, A, B]).violations == {"twice": 1}
    assert checked(calls, [B]).unknown == 1


def test_a_part_of_a_sequence_is_certain() -> None:
    """The first observations of a sequence were applied, its error says."""
    calls = Calls().observe(A, B, error=UNKNOWN, applied=1)
    assert not checked(calls, [A]).violations
    assert checked(calls, []).violations == {"lost": 1}


def test_repetitions_are_one_call() -> None:
    """A call that is made again is there once, however its tries ended, with one answer."""
    calls = Calls().observe(A, key="k", error=UNKNOWN).observe(B)
    calls.observe(A, key="k", answer={"time": 1}, process="p2")
    calls.observe(A, key="k", error=NOT_SENT, process="p3")
    assert not checked(calls, [A, B]).violations
    assert not checked(calls, [B, A]).violations
    assert checked(calls, [B]).violations == {"lost": 1}
    calls.observe(A, key="k", answer={"time": 2}, process="p4")
    assert checked(calls, [A, B]).violations == {"answered differently": 1}


def test_a_learn_without_an_outcome_may_learn_what_goes_on() -> None:
    """It may be applied late: the memory, or a longer pattern, begins with its pattern."""
    calls = Calls().observe(A).call("learn", error=UNKNOWN).observe(B)
    report = checked(calls, [A, B], [("one", [A])])
    assert not report.violations
    assert report.late_learns == 1
    certain = Calls().observe(A).call("learn", error=NOT_SENT).observe(B)
    assert checked(certain, [A, B], [("one", [A])]).violations == {"learned twice": 1}


def test_learned_once() -> None:
    """A learn that returned has learned its pattern, once."""
    calls = Calls().observe(A).learn("one")
    assert checked(calls, [], [("one", [A])], frequency=2).violations == {"learned twice": 1}
    assert checked(calls, [A]).violations == {"not learned": 2}


def test_clears() -> None:
    """A clear removes what was there, and nothing later."""
    calls = Calls().observe(A).call("clear_stm").observe(B)
    assert not checked(calls, [B]).violations
    assert checked(calls, [A, B]).violations == {"not cleared": 1}
    assert checked(calls, []).violations == {"lost": 1}
    unknown = Calls().observe(A).call("clear_stm", error=UNKNOWN)
    assert not checked(unknown, []).violations
    assert not checked(unknown, [A]).violations
    denied = Calls().observe(A).call("clear_stm", error=NOT_SENT)
    assert checked(denied, []).violations == {"lost": 1}


def test_reads() -> None:
    """A read shows what was acknowledged before it, unless that was cleared or learned."""
    calls = Calls().observe(A).observe(B)
    calls.call("stm", answer=[A])
    assert checked(calls, [A, B]).violations == {"lost in a read": 1}
    learned = Calls().observe(A).learn("one").call("stm", answer=[])
    assert not checked(learned, [], [("one", [A])]).violations
    cleared = Calls().observe(A).call("clear_stm").observe(B).call("stm", answer=[B])
    assert not checked(cleared, [B]).violations
    earlier = Calls().observe(A).call("stm", answer=[]).call("clear_stm")
    assert checked(earlier, []).violations == {"lost in a read": 1}


def test_the_end_is_read_by_a_client() -> None:
    """What a client reads in the end is what KATO has."""
    calls = Calls().observe(A)
    report = check(calls.made, {"s": Final((A,), (), ())})
    assert report.violations == {"read differs": 1}


def test_deadlines() -> None:
    """A call ends at its deadline, not counting the time for which its process was stopped."""
    calls = Calls().observe(A, starts=-50.0)
    assert checked(calls, [A]).violations == {"beyond its deadline": 1}
    assert not checked(calls, [A], stops=[Stop("p1", -45.0, -25.0)]).violations
    assert checked(calls, [A], stops=[Stop("p2", -45.0, -25.0)]).violations
    assert checked(calls, [A]).longest_wait == 51.5


def test_errors() -> None:
    """Errors that are not of this package, and conflicts, are violations: there is no other
    writer."""
    calls = Calls().observe(A)
    (made,) = calls.made
    made.ended = Ended(0, 1.0, error="KeyError", ours=False)
    assert checked(calls, [A]).violations == {"raised KeyError": 1}
    made.ended = Ended(0, 1.0, error="SessionConflict")
    assert checked(calls, [A]).violations == {"raised SessionConflict": 1}
    assert checked(calls, [A]).errors == {"SessionConflict": 1}
