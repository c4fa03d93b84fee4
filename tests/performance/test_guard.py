"""The guard on instruction counts: it passes now, and it fails when a call costs more."""

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.guard.comparison import HOW_TO_RECORD, PYTHON, RECORD_FILE, compare, read_record
from benchmarks.guard.operations import OPERATIONS, observe_flow
from kato_consul._balancing.pool import Pool

FLOW = "observe flow, 3 instances"


@pytest.fixture
def record() -> dict[str, int]:
    """The record for this Python version."""
    counts = read_record()
    if counts is None:
        pytest.skip(f"no record for Python {PYTHON} in {RECORD_FILE.name}: {HOW_TO_RECORD}")
    return counts


@pytest.mark.parametrize("name", OPERATIONS)
def test_count_is_within_tolerance(name: str, record: dict[str, int]) -> None:
    """No operation takes over 20 % more instructions than recorded, or 20 % fewer."""
    recorded = {name: record[name]} if name in record else {}
    messages = compare({name: OPERATIONS[name]()}, recorded)
    assert not messages, messages[0]


@pytest.mark.parametrize("name", OPERATIONS)
def test_count_is_repeatable(name: str) -> None:
    """Two counts of an operation are equal, to the instruction."""
    assert OPERATIONS[name]() == OPERATIONS[name]()


def test_count_does_not_depend_on_number_of_instances() -> None:
    """A session on its primary costs the same with 3 instances as with 1,000."""
    assert observe_flow(1_000) == observe_flow(3)


def slower_place_session(instructions: int) -> Callable[..., tuple[str, str]]:
    """Return `Pool.place_session` with about ``instructions`` more instructions."""
    original = Pool.place_session

    def place_session(self: Pool, *args: Any) -> tuple[str, str]:
        for _ in range(instructions // 3):  # an iteration is FOR_ITER, STORE_FAST and a jump
            pass
        return original(self, *args)

    return place_session


@pytest.mark.parametrize(("share", "fails"), [(0.10, False), (0.25, True)])
def test_guard_fails_when_the_flow_costs_a_quarter_more(
    monkeypatch: pytest.MonkeyPatch, share: float, fails: bool
) -> None:
    """A flow with 25 % more instructions is reported; one with 10 % more passes."""
    before = observe_flow(3)
    monkeypatch.setattr(Pool, "place_session", slower_place_session(round(before * share)))
    after = observe_flow(3)
    messages = compare({FLOW: after}, {FLOW: before})
    assert bool(messages) is fails
    if fails:
        assert f"{FLOW} takes {after / before - 1:.0%} more instructions" in messages[0]


def test_missing_record_and_missing_count_are_reported() -> None:
    """A count without a record and a record without a count each give a message."""
    without_record, without_count = compare({"new": 10}, {"old": 10})
    assert "new: 10 instructions, and no record" in without_record
    assert without_count == "old is on record but was not counted"


def test_guard_fails_when_an_operation_costs_much_less() -> None:
    """30 % fewer instructions must be recorded, or a later regression would pass."""
    (message,) = compare({FLOW: 70}, {FLOW: 100})
    assert "30% fewer instructions" in message
    assert "--record" in message
