"""Retry budget: bounds the attempts after the first, so that an outage causes no retry storm.

`CALLS_PER_RETRY` calls pay for one retry. A retry that is answered is refunded: it was useful, and
only attempts that fail have to be bounded. So a pool with one bad instance never exhausts the
budget. A pool in which all instances fail gets at most 20 % more requests than there are calls,
plus `MIN_RETRIES_PER_SECOND`, and as many that settle or repair earlier ones. Those have tokens of
their own: a call that is nearly done does not wait behind the retries of others.

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
    """Tokens for retries, and as many for the requests that settle or repair earlier ones.

    Times are seconds on the caller's clock. ``settling`` selects the second kind. Shared by threads
    without a lock: a lost update is harmless here.
    """

    _tokens: list[int] = field(default_factory=lambda: [_TOKENS_PER_SECOND] * TOKEN_TTL)
    """Tokens by the second in which they were paid, oldest first."""
    _settling: list[int] = field(default_factory=lambda: [_TOKENS_PER_SECOND] * TOKEN_TTL)
    _second: int | None = None

    def deposit(self, now: float) -> None:
        """Pay the tokens of one call."""
        self._expire(now)
        self._tokens[-1] += 1
        self._settling[-1] += 1

    def withdraw(self, now: float, *, settling: bool = False) -> bool:
        """Take the tokens of one retry. Return False, and take none, if there are too few."""
        self._expire(now)
        tokens = self._settling if settling else self._tokens
        if sum(tokens) < CALLS_PER_RETRY:
            return False
        due = CALLS_PER_RETRY
        for second, available in enumerate(tokens):  # oldest first: they expire soonest
            taken = min(available, due)
            tokens[second] -= taken
            due -= taken
        return True

    def refund(self, now: float, *, settling: bool = False) -> None:
        """Return the tokens of a retry that was answered."""
        self._expire(now)
        tokens = self._settling if settling else self._tokens
        tokens[-1] += CALLS_PER_RETRY

    def _expire(self, now: float) -> None:
        second = int(now)
        if second == self._second:
            return
        passed = 0 if self._second is None else min(max(second - self._second, 0), TOKEN_TTL)
        new = [_TOKENS_PER_SECOND] * passed
        self._tokens = self._tokens[passed:] + new
        self._settling = self._settling[passed:] + new
        self._second = second
