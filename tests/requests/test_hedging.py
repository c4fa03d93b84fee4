"""Hedged reads: a second instance is asked when the first is slower than nearly all were."""

import pytest

from kato_consul._balancing.latency_p95 import MIN_SAMPLES, SAMPLES, LatencyP95
from kato_consul._flow import Hedge, Hedged, Outcome
from kato_consul.errors import NoResponse
from tests.building import cut, reply
from tests.requests.calling import FIRST, GOOD, READ, SECOND, WRITE, Calling

OTHER = reply(200, {"status": "okay", "whose": "second"})


class Hedging(Calling):
    """A call with hedging on, of which ``hedged`` comes; answers took 0.1 s before."""

    def __init__(self, hedged: Hedged, *outcomes: Outcome) -> None:
        super().__init__(*outcomes)
        self.failover.hedge = True
        self.hedges: list[Hedge] = []
        self.hedged = hedged
        self.player.hedge = self._carry_out
        for _ in range(MIN_SAMPLES):
            self.pool.read_latency.add(0.1)

    def _carry_out(self, step: Hedge) -> Hedged:
        self.hedges.append(step)
        return self.hedged

    @property
    def left(self) -> int:
        """Further attempts that the budget has."""
        count = 0
        while self.pool.budget.withdraw(self.clock()):
            count += 1
        return count


@pytest.mark.parametrize(
    ("hedged", "whose", "answer", "costs"),
    [
        (Hedged(GOOD, None, both_sent=False), FIRST, GOOD, 0),  # quick enough
        (Hedged(GOOD, None, both_sent=True), FIRST, GOOD, 1),  # slow, and still the quicker
        (Hedged(None, OTHER, both_sent=True), SECOND, OTHER, 0),
        (Hedged(cut(), OTHER, both_sent=True), SECOND, OTHER, 0),
        (Hedged(GOOD, cut(), both_sent=True), FIRST, GOOD, 1),
    ],
)
def test_hedged(hedged: Hedged, whose: object, answer: Outcome, costs: int) -> None:
    """The answer is whoever's came first; what it costs is another attempt, if it was in vain."""
    hedging, before = Hedging(hedged), Hedging(hedged).left
    found = hedging.call(READ)
    assert (found.instance, found.reply) == (whose, answer)
    (step,) = hedging.hedges
    assert (step.first.origin, step.second.origin, step.after) == (FIRST.origin, SECOND.origin, 0.1)
    assert before - hedging.left == costs
    assert all(hedging.pool.load.outstanding(one.uid) == 0 for one in (FIRST, SECOND))


def test_both_failed() -> None:
    """When both fail, it goes on like any call that failed."""
    hedging = Hedging(Hedged(cut(), cut(), both_sent=True), *[cut()] * 1_000)
    with pytest.raises(NoResponse):
        hedging.call(READ, within=2.0)
    assert len(hedging.hedges) == 1


def test_writes_are_not_hedged() -> None:
    """What must not be done twice is asked of one alone."""
    hedging = Hedging(Hedged(None, None, both_sent=False), GOOD)
    assert hedging.call(WRITE).instance == FIRST


def test_not_without_budget() -> None:
    """A hedge is a further attempt: without budget there is none."""
    hedging = Hedging(Hedged(None, None, both_sent=False), GOOD)
    assert hedging.left > 0
    assert hedging.call(READ).instance == FIRST


def test_not_while_little_is_known() -> None:
    """Until enough answers were seen there is nothing to be slower than."""
    hedging = Hedging(Hedged(None, None, both_sent=False), GOOD)
    hedging.pool.read_latency = LatencyP95()
    assert hedging.call(READ).instance == FIRST


def test_not_with_one_instance() -> None:
    """There has to be somebody else to ask."""
    calling = Calling(GOOD, instances=(FIRST,))
    calling.failover.hedge = True
    for _ in range(MIN_SAMPLES):
        calling.pool.read_latency.add(0.1)
    assert calling.call(READ).instance == FIRST


def test_given_up() -> None:
    """A caller that gives up leaves nothing counted as under way."""
    hedging = Hedging(Hedged(None, None, both_sent=False))
    flow = hedging.failover.call(READ, hedging.clock() + 30.0)
    assert isinstance(next(flow), Hedge)
    flow.close()
    assert all(hedging.pool.load.outstanding(one.uid) == 0 for one in (FIRST, SECOND))


@pytest.mark.parametrize(
    ("times", "p95"),
    [
        ([0.1] * (MIN_SAMPLES - 1), None),
        ([0.1] * MIN_SAMPLES, 0.1),
        ([*([0.1] * 90), *([9.0] * 6)], 9.0),
        ([*([9.0] * SAMPLES), *([0.1] * SAMPLES)], 0.1),
        ([number / 100 for number in range(1, 97)], 0.92),
    ],
)
def test_p95(times: list[float], p95: float | None) -> None:
    """Of the last answers, once there are enough."""
    recent = LatencyP95()
    for one in times:
        recent.add(one)
    assert recent.p95 == p95
