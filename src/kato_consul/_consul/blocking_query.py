"""Blocking queries: which index comes next, how long one may take, and how often one may be sent.

HashiCorp's rule for clients (https://developer.hashicorp.com/consul/api-docs/features/blocking,
"Rate limit"): a client must limit its rate of queries, even if changes never pause. A sleep after
each query would delay every change. With a token bucket, changes are read at once until the burst
is used up.
"""

from dataclasses import dataclass

NETWORK_SLACK = 5.0
"""Seconds that the network may take, in addition to wait + wait/16 (see `query_timeout`)."""

RATE, BURST = 2.0, 10.0
"""Queries per second, and how many may be sent at once. A rolling restart of a small fleet is a
burst."""


@dataclass(slots=True)
class TokenBucket:
    """A token bucket: ``rate`` tokens per second, at most ``burst`` of them stored. Starts full."""

    rate: float = RATE
    burst: float = BURST
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


def query_timeout(wait: float) -> float:
    """Return the timeout for a query that may block for ``wait`` seconds.

    The server adds up to wait/16, so that the queries of many clients do not end together.
    """
    return wait + wait / 16 + NETWORK_SLACK


def next_index(last: int, returned: int) -> int:
    """Return the index for the next query, after a query with ``last`` returned ``returned``.

    An index that went down means a restarted server: the next query starts at 0. Otherwise it is at
    least 1, because a query with index 0 does not block.
    """
    return 0 if returned < last else max(1, returned)
