"""The retry budget: how many further attempts there may be, and when one costs nothing."""

import pytest

from kato_consul._balancing.retry_budget import MIN_RETRIES_PER_SECOND, TTL, CALLS_PER_RETRY, RetryBudget

BEGIN = 1_000.0


def taken(budget: RetryBudget, now: float) -> int:
    """How many attempts it allows at a moment."""
    count = 0
    while budget.withdraw(now):
        count += 1
    return count


def test_at_first() -> None:
    """A client that just started may make the floor's worth of the time that tokens are kept."""
    assert taken(RetryBudget(), BEGIN) == MIN_RETRIES_PER_SECOND * TTL


@pytest.mark.parametrize("calls", [5, 50, 500])
def test_share(calls: int) -> None:
    """Each call allows a fifth of an attempt beside the floor."""
    budget = RetryBudget()
    taken(budget, BEGIN)
    for _ in range(calls):
        budget.deposit(BEGIN)
    assert taken(budget, BEGIN) == calls // CALLS_PER_RETRY


@pytest.mark.parametrize("seconds", [1, 3, 9])
def test_floor(seconds: int) -> None:
    """Each second brings the floor, whether anybody calls or not."""
    budget = RetryBudget()
    taken(budget, BEGIN)
    assert taken(budget, BEGIN + seconds) == MIN_RETRIES_PER_SECOND * seconds


def test_tokens_are_lost() -> None:
    """What was put in long ago is gone: a quiet hour does not pay for a storm."""
    budget = RetryBudget()
    for _ in range(1_000):
        budget.deposit(BEGIN)
    assert taken(budget, BEGIN + TTL) == MIN_RETRIES_PER_SECOND * TTL


def test_oldest_first() -> None:
    """Tokens that would be lost soonest are spent first."""
    budget = RetryBudget()
    taken(budget, BEGIN)
    for _ in range(50):
        budget.deposit(BEGIN)
    for _ in range(50):
        budget.deposit(BEGIN + 5)
    for _ in range(10):
        assert budget.withdraw(BEGIN + 5)
    # What the first calls paid would be gone by then; what the later ones did is all there.
    assert taken(budget, BEGIN + TTL) == MIN_RETRIES_PER_SECOND * TTL + 10


def test_refund() -> None:
    """An attempt that was answered costs nothing: any number of those may follow each other."""
    budget = RetryBudget()
    taken(budget, BEGIN)
    budget.refund(BEGIN)
    for _ in range(1_000):
        assert budget.withdraw(BEGIN)
        budget.refund(BEGIN)


def test_clock_that_stands() -> None:
    """A clock that goes back brings no tokens."""
    budget = RetryBudget()
    taken(budget, BEGIN)
    assert taken(budget, BEGIN - 5) == 0


@pytest.mark.parametrize("rate", [20, 100, 1_000])
def test_no_storm(rate: int) -> None:
    """Over a minute in which every attempt fails there is a fifth more of them, and the floor."""
    budget, further = RetryBudget(), 0
    for second in range(60):
        for _ in range(rate):
            budget.deposit(BEGIN + second)
            while budget.withdraw(BEGIN + second):
                further += 1
    assert further <= 60 * rate / CALLS_PER_RETRY + MIN_RETRIES_PER_SECOND * (60 + TTL)
