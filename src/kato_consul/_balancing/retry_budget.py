"""Retry budget: bounds the attempts after the first, so that an outage causes no retry storm.

`CALLS_PER_RETRY` calls pay for one retry. A retry that is answered is refunded: it was useful, and
only attempts that fail have to be bounded. So a pool with one bad instance never exhausts the
budget. A pool in which all instances fail gets at most 20 % more requests than there are calls,
plus `MIN_RETRIES_PER_SECOND`. A pool has two budgets, one of them for the requests that settle or
repair earlier ones (`_requests/failover.py`).

Tokens expire after `TOKEN_TTL` seconds. The numbers are those of Finagle (``RetryBudget``: 20 %,
ten seconds) and tower, except for the minimum: theirs is 10 a second, for clients with more traffic
than one of a small fleet.
"""

from dataclasses import dataclass, field

CALLS_PER_RETRY = 5
"""Calls that pay for one retry: 20 %."""

MIN_RETRIES_PER_SECOND = 3
"""Retries a second that are always allowed, so that a client with few calls can fail over."""

TOKEN_TTL = 10
"""Seconds after which unused tokens expire."""

_TOKENS_PER_SECOND = MIN_RETRIES_PER_SECOND * CALLS_PER_RETRY


@dataclass(slots=True)
class RetryBudget:
    """Tokens for retries. Times are seconds on the caller's clock.

    Shared by threads without a lock: a lost update is harmless here.
    """

    _tokens: list[int] = field(default_factory=lambda: [_TOKENS_PER_SECOND] * TOKEN_TTL)
    """Tokens by the second in which they were paid, oldest first."""
    _second: int | None = None

    def deposit(self, now: float) -> None:
        """Pay the token of one call."""
        self._expire(now)
        self._tokens[-1] += 1

    def withdraw(self, now: float) -> bool:
        """Take the tokens of one retry. Return False, and take none, if there are too few."""
        self._expire(now)
        if sum(self._tokens) < CALLS_PER_RETRY:
            return False
        due = CALLS_PER_RETRY
        for second, available in enumerate(self._tokens):  # oldest first: they expire soonest
            taken = min(available, due)
            self._tokens[second] -= taken
            due -= taken
        return True

    def refund(self, now: float) -> None:
        """Return the tokens of a retry that was answered."""
        self._expire(now)
        self._tokens[-1] += CALLS_PER_RETRY

    def _expire(self, now: float) -> None:
        second = int(now)
        if second == self._second:
            return
        passed = 0 if self._second is None else min(max(second - self._second, 0), TOKEN_TTL)
        self._tokens = self._tokens[passed:] + [_TOKENS_PER_SECOND] * passed
        self._second = second
