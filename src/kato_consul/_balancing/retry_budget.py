"""The retry budget: how many attempts may follow first ones, so that trouble does not make a storm.

`PRICE` calls pay for one further attempt. One that is answered is paid back: it did what it was
for, and what has to be bounded is attempts that fail. So a pool with one bad instance never runs
dry, and one in which all are bad is asked at most 20 % more often than callers call, and `FLOOR`
times a second beyond that.

What was paid is kept for `KEPT` seconds. The numbers are Finagle's (``RetryBudget``: 20 %, ten
seconds) and tower's, but for the floor: theirs is 10 a second, meant for clients with more to do
than one of a small fleet.
"""

from dataclasses import dataclass, field

PRICE = 5
"""Calls for one further attempt: 20 %."""

FLOOR = 3
"""Further attempts a second that are paid in any case, so that a client with little to do may fail
over."""

KEPT = 10
"""Seconds that what was paid is kept."""


@dataclass(slots=True)
class RetryBudget:
    """Times are those of the caller's clock. Threads may share it: a call that two of them lose
    between each other does not matter."""

    _paid: list[int] = field(default_factory=lambda: [FLOOR * PRICE] * KEPT)
    _second: int | None = None

    def deposit(self, now: float) -> None:
        """A call is made."""
        self._turn_to(now)
        self._paid[-1] += 1

    def withdraw(self, now: float) -> bool:
        """May another attempt be made? Then it is paid for."""
        self._turn_to(now)
        if sum(self._paid) < PRICE:
            return False
        left = PRICE
        for second, there in enumerate(self._paid):  # the oldest first, which is lost soonest
            taken = min(there, left)
            self._paid[second] -= taken
            left -= taken
        return True

    def refund(self, now: float) -> None:
        """The other attempt was answered."""
        self._turn_to(now)
        self._paid[-1] += PRICE

    def _turn_to(self, now: float) -> None:
        second = int(now)
        if second == self._second:
            return
        passed = 0 if self._second is None else min(max(second - self._second, 0), KEPT)
        self._paid = self._paid[passed:] + [FLOOR * PRICE] * passed
        self._second = second
