"""Blocking queries: which index comes next, how long one may take, and how often one may be sent.

HashiCorp's rule for clients (https://developer.hashicorp.com/consul/api-docs/features/blocking,
"Rate limit"): changes without pause must not make a client send queries without pause. A sleep
after each query would delay every change. A token bucket does neither: changes are read at once
until the burst is used up.
"""

from dataclasses import dataclass

SLACK = 5.0
"""Seconds that the network may take, in addition to wait + wait/16."""

RATE, BURST = 2.0, 10.0
"""Queries per second, and how many may be sent at once. A rolling restart of a small fleet is a
burst."""


@dataclass(slots=True)
class TokenBucket:
    """A token bucket: ``rate`` tokens per second, at most ``burst`` of them stored. Starts full."""

    rate: float
    burst: float
    _tokens: float | None = None
    _updated_at: float = 0.0

    def take(self, now: float) -> float:
        """Take one token at ``now`` (seconds). Return the seconds until it is available; 0 if it
        already is."""
        tokens = self.burst
        if self._tokens is not None:
            tokens = min(self.burst, self._tokens + (now - self._updated_at) * self.rate)
        self._updated_at = now
        self._tokens = tokens - 1
        return max(0.0, -self._tokens / self.rate)


def next_index(last: int, returned: int) -> int:
    """Return the index for the next query, after a query with ``last`` returned ``returned``.

    An index that went down means a restarted server: the next query starts at 0. Otherwise it is at
    least 1, because a query with index 0 does not block.
    """
    return 0 if returned < last else max(1, returned)
