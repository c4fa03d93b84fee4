"""Retry budget: how many retries are allowed, and when one is free."""

import pytest

from kato_consul._balancing.retry_budget import (
    CALLS_PER_RETRY,
    MIN_RETRIES_PER_SECOND,
    TOKEN_TTL,
    RetryBudget,
)

BEGIN = 1_000.0


def withdraw_all(budget: RetryBudget, now: float) -> int:
    """Withdraw until the budget is empty. Return the number of retries."""
    count = 0
    while budget.withdraw(now):
        count += 1
    return count


def test_new_budget_has_the_minimum() -> None:
    """A new budget has the minimum of all `TOKEN_TTL` seconds."""
    assert withdraw_all(RetryBudget(), BEGIN) == MIN_RETRIES_PER_SECOND * TOKEN_TTL


@pytest.mark.parametrize("calls", [5, 50, 500])
def test_calls_pay_for_retries(calls: int) -> None:
    """Each call pays for a fifth of a retry, on top of the minimum."""
    budget = RetryBudget()
    withdraw_all(budget, BEGIN)
    for _ in range(calls):
        budget.deposit(BEGIN)
    assert withdraw_all(budget, BEGIN) == calls // CALLS_PER_RETRY


@pytest.mark.parametrize("seconds", [1, 3, 9])
def test_minimum_without_calls(seconds: int) -> None:
    """Each second adds the minimum, also without calls."""
    budget = RetryBudget()
    withdraw_all(budget, BEGIN)
    assert withdraw_all(budget, BEGIN + seconds) == MIN_RETRIES_PER_SECOND * seconds


def test_tokens_expire() -> None:
    """Old tokens expire: quiet hours do not pay for a retry storm."""
    budget = RetryBudget()
    for _ in range(1_000):
        budget.deposit(BEGIN)
    assert withdraw_all(budget, BEGIN + TOKEN_TTL) == MIN_RETRIES_PER_SECOND * TOKEN_TTL


def test_oldest_tokens_are_spent_first() -> None:
    """Tokens that expire soonest are spent first."""
    budget = RetryBudget()
    withdraw_all(budget, BEGIN)
    for _ in range(50):
        budget.deposit(BEGIN)
    for _ in range(50):
        budget.deposit(BEGIN + 5)
    for _ in range(10):
        assert budget.withdraw(BEGIN + 5)
    # The tokens of the first calls have expired by then; those of the later calls are all there.
    assert withdraw_all(budget, BEGIN + TOKEN_TTL) == MIN_RETRIES_PER_SECOND * TOKEN_TTL + 10


def test_refunded_retries_are_free() -> None:
    """A retry that is refunded costs nothing, any number of times."""
    budget = RetryBudget()
    withdraw_all(budget, BEGIN)
    budget.refund(BEGIN)
    for _ in range(1_000):
        assert budget.withdraw(BEGIN)
        budget.refund(BEGIN)


def test_clock_that_goes_back_adds_no_tokens() -> None:
    """If the clock goes back, no tokens are added."""
    budget = RetryBudget()
    withdraw_all(budget, BEGIN)
    assert withdraw_all(budget, BEGIN - 5) == 0


@pytest.mark.parametrize("rate", [20, 100, 1_000])
def test_outage_causes_no_retry_storm(rate: int) -> None:
    """In a minute of failures, retries are a fifth of the calls plus the minimum."""
    budget, retries = RetryBudget(), 0
    for second in range(60):
        for _ in range(rate):
            budget.deposit(BEGIN + second)
            while budget.withdraw(BEGIN + second):
                retries += 1
    assert retries <= 60 * rate / CALLS_PER_RETRY + MIN_RETRIES_PER_SECOND * (60 + TOKEN_TTL)


def test_settling_has_tokens_of_its_own() -> None:
    """Retries cannot take what settles earlier requests, and the other way round."""
    budget = RetryBudget()
    withdraw_all(budget, BEGIN)
    assert budget.withdraw(BEGIN, settling=True)
    budget.refund(BEGIN, settling=True)
    assert not budget.withdraw(BEGIN)
    while budget.withdraw(BEGIN, settling=True):
        pass
    budget.refund(BEGIN)
    assert budget.withdraw(BEGIN)
