"""Hedging: a slow read is also sent to a second instance."""

import pytest

from kato_consul._balancing.latency_p95 import MIN_SAMPLES, LatencyP95
from kato_consul._flow import Hedge, Hedged, Outcome
from kato_consul.errors import NoResponse
from tests.building import cut, reply
from tests.requests.scripted_service import FIRST, OK, READ, SECOND, WRITE, ScriptedService

OTHER = reply(200, {"status": "okay", "from": "second"})


class HedgingService(ScriptedService):
    """A service called with hedging. Hedges return ``hedged``; earlier reads took 0.1 s."""

    def __init__(self, hedged: Hedged, *outcomes: Outcome) -> None:
        super().__init__(*outcomes)
        self.failover.hedge = True
        self.hedges: list[Hedge] = []
        self.hedged = hedged
        self.player.hedge = self._record
        for _ in range(MIN_SAMPLES):
            self.pool.read_latency.add(0.1)

    def _record(self, step: Hedge) -> Hedged:
        self.hedges.append(step)
        return self.hedged

    def drain_budget(self) -> int:
        """Withdraw until the budget is empty. Return the number of retries."""
        count = 0
        while self.pool.budget.withdraw(self.clock()):
            count += 1
        return count


@pytest.mark.parametrize(
    ("hedged", "winner", "answer", "cost"),
    [
        (Hedged(OK, None, both_sent=False), FIRST, OK, 0),  # fast enough
        (Hedged(OK, None, both_sent=True), FIRST, OK, 1),  # slow, but still the faster one
        (Hedged(None, OTHER, both_sent=True), SECOND, OTHER, 0),
        (Hedged(cut(), OTHER, both_sent=True), SECOND, OTHER, 0),
        (Hedged(OK, cut(), both_sent=True), FIRST, OK, 1),
    ],
)
def test_first_answer_counts(hedged: Hedged, winner: object, answer: Outcome, cost: int) -> None:
    """The first answer counts; a second attempt that did not help costs a retry."""
    service, before = HedgingService(hedged), HedgingService(hedged).drain_budget()
    answered = service.call(READ)
    assert (answered.instance, answered.reply) == (winner, answer)
    (step,) = service.hedges
    assert (step.first.origin, step.second.origin, step.after) == (FIRST.origin, SECOND.origin, 0.1)
    assert before - service.drain_budget() == cost
    assert all(service.pool.load.outstanding(each.uid) == 0 for each in (FIRST, SECOND))


def test_both_attempts_fail() -> None:
    """If both attempts fail, the call fails over like any other."""
    service = HedgingService(Hedged(cut(), cut(), both_sent=True), *[cut()] * 1_000)
    with pytest.raises(NoResponse):
        service.call(READ, within=2.0)
    assert len(service.hedges) == 1


def test_writes_are_not_hedged() -> None:
    """A write is sent to one instance only."""
    service = HedgingService(Hedged(None, None, both_sent=False), OK)
    assert service.call(WRITE).instance == FIRST


def test_no_hedge_without_budget() -> None:
    """Without budget for a retry there is no second attempt."""
    service = HedgingService(Hedged(None, None, both_sent=False), OK)
    assert service.drain_budget() > 0
    assert service.call(READ).instance == FIRST


def test_no_hedge_without_percentile() -> None:
    """With too few latencies there is no second attempt."""
    service = HedgingService(Hedged(None, None, both_sent=False), OK)
    service.pool.read_latency = LatencyP95()
    assert service.call(READ).instance == FIRST


def test_no_hedge_with_one_instance() -> None:
    """With a single instance there is no second attempt."""
    service = ScriptedService(OK, instances=(FIRST,))
    service.failover.hedge = True
    for _ in range(MIN_SAMPLES):
        service.pool.read_latency.add(0.1)
    assert service.call(READ).instance == FIRST


def test_closed_call_leaves_nothing_in_flight() -> None:
    """When the caller gives up, no request is counted as in flight."""
    service = HedgingService(Hedged(None, None, both_sent=False))
    flow = service.failover.call(READ, service.clock() + 30.0)
    assert isinstance(next(flow), Hedge)
    flow.close()
    assert all(service.pool.load.outstanding(each.uid) == 0 for each in (FIRST, SECOND))
