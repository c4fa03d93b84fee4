"""The guard on what a call costs: that it holds now, and that it would fail."""

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.guard import RECORD, VERSION, recorded, verdicts
from benchmarks.guarded import GUARDED, flow_of_an_observe
from kato_consul._balancing.pool import Pool

FLOW = "flow of an observe, 3 instances"


@pytest.fixture
def record() -> dict[str, int]:
    """What is on record for this Python."""
    found = recorded()
    if found is None:
        pytest.skip(
            f"no counts are on record for Python {VERSION} in {RECORD.name}: "
            "python -m benchmarks.guard --record"
        )
    return found


@pytest.mark.parametrize("name", GUARDED)
def test_no_dearer(name: str, record: dict[str, int]) -> None:
    """No step of a call takes a fifth more instructions than are on record, nor a fifth fewer."""
    found = verdicts({name: GUARDED[name]()}, {name: record[name]} if name in record else {})
    assert not found, found[0]


@pytest.mark.parametrize("name", GUARDED)
def test_repeatable(name: str) -> None:
    """Counted twice, it is the same number, to the instruction."""
    assert GUARDED[name]() == GUARDED[name]()


def test_nothing_by_the_number_of_instances() -> None:
    """A session that is where it lives costs the same with three instances and with a thousand."""
    assert flow_of_an_observe(1_000) == flow_of_an_observe(3)


def dearer(by: int) -> Callable[..., tuple[str, str]]:
    """`Pool.place_session`, and about ``by`` instructions more."""
    inner = Pool.place_session

    def home(self: Pool, *args: Any) -> tuple[str, str]:
        for _ in range(by // 3):  # a turn is FOR_ITER, STORE_FAST and a jump
            pass
        return inner(self, *args)

    return home


@pytest.mark.parametrize(("share", "caught"), [(0.10, False), (0.25, True)])
def test_it_can_fail(monkeypatch: pytest.MonkeyPatch, share: float, caught: bool) -> None:
    """A flow that was made a quarter dearer is caught, and told; a tenth is let pass."""
    before = flow_of_an_observe(3)
    monkeypatch.setattr(Pool, "place_session", dearer(round(before * share)))
    after = flow_of_an_observe(3)
    said = verdicts({FLOW: after}, {FLOW: before})
    assert bool(said) is caught
    if caught:
        assert f"{FLOW} is {after / before - 1:.0%} dearer" in said[0]


def test_what_is_missing() -> None:
    """A count without a record, and a record without a count, are told."""
    without_record, without_count = verdicts({"new": 10}, {"old": 10})
    assert "new: 10 instructions, and no record" in without_record
    assert without_count == "old is on record and not counted"


def test_much_cheaper() -> None:
    """What became much cheaper has to be recorded, or it could grow back unseen."""
    (said,) = verdicts({FLOW: 70}, {FLOW: 100})
    assert "30% cheaper" in said
    assert "--record" in said
