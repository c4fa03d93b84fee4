"""A token bucket: how often a watch may ask, however often Consul answers.

HashiCorp's rule for blocking queries (https://developer.hashicorp.com/consul/api-docs/features/blocking,
"Rate limit"): a busy service must not make a client ask without pause, and a sleep after every
round would make every change late. A bucket does neither: changes are seen at once until the burst
is used up.
"""

from dataclasses import dataclass

SLACK = 5.0
"""Seconds allowed for the way to the server and back, beyond wait + wait/16."""

RATE, BURST = 2.0, 10.0
"""Rounds a second, and how many may come at once. A rolling restart of a small fleet is a burst."""


@dataclass(slots=True)
class TokenBucket:
    """``rate`` tokens a second, at most ``burst`` of them kept. Starts full."""

    rate: float
    burst: float
    _tokens: float | None = None
    _then: float = 0.0

    def take(self, now: float) -> float:
        """Take one token; the seconds to wait for it, 0 when it was there."""
        kept = self.burst
        if self._tokens is not None:
            kept = min(self.burst, self._tokens + (now - self._then) * self.rate)
        self._then = now
        self._tokens = kept - 1
        return max(0.0, -self._tokens / self.rate)


def next_index(last: int, answered: int) -> int:
    """The index to ask with next. Backwards means a restarted server: start over."""
    return 0 if answered < last else max(1, answered)
