"""Backoff: how long to wait between attempts, by tenacity's exponential strategy with full jitter,
or because a server asked for it (``Retry-After``).

tenacity computes the durations only; a flow yields the `Sleep`. Its own jitter draws from the
global `random`, so the jitter is added here, with the random source as an argument. tenacity is
imported with the first client (`kato_consul._libraries`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from kato_consul._flow import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff: the ceiling is ``initial`` seconds after the first failure, and doubles
    with each further one up to ``maximum`` seconds."""

    initial: float
    maximum: float


CONSUL_WAIT = Backoff(initial=0.1, maximum=0.4)
"""For an agent that does not respond: 0.1, 0.2, then 0.4 s at most. A client then reads from Consul
again within half a second of its return, with 0.1 s of that left for the response. The mean rate is
five requests a second, to an agent that usually runs on the same machine."""

MISTAKE_WAIT = Backoff(initial=0.1, maximum=5.0)
"""For an agent that refuses the request: 0.1, 0.2, … 5 s at most. An operator has to correct
something first."""

INSTANCE_WAIT = Backoff(initial=0.05, maximum=1.0)
"""For a round in which no instance accepted the request: 0.05, 0.1, … 1 s at most."""


MAX_RETRY_AFTER = 60.0
"""Seconds of a ``Retry-After`` that are believed. Usual limits of requests are per minute. A longer
time, such as a day, would exclude a server that recovered, and most callers have given up by then.
"""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After``, at most `MAX_RETRY_AFTER`.

    None without one, or if it is unreadable. A date is relative to the reply's own ``Date``
    (RFC 9110, 10.2.3).
    """
    text = headers.get("retry-after", "")
    if not text:
        return None
    try:
        if text.isdecimal():
            seconds = float(text)  # of many digits: infinity
        else:
            until = parsedate_to_datetime(text)
            seconds = (until - parsedate_to_datetime(headers["date"])).total_seconds()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER)


def full_jitter(backoff: Backoff, random: Random) -> Iterator[float]:
    """Yield the seconds to wait after the first failure, the second, …: uniform in [0, ceiling).

    Full jitter prevents callers that failed together from retrying together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """
    from tenacity import RetryCallState, Retrying
    from tenacity.wait import wait_exponential

    ceiling = wait_exponential(multiplier=backoff.initial, max=backoff.maximum)
    state = RetryCallState(Retrying(), None, (), {})
    while True:
        yield ceiling(state) * random()
        state.attempt_number += 1
