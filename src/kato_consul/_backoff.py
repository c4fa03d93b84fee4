"""Backoff: how long to wait between attempts, by tenacity's exponential strategy with full jitter.

tenacity computes the durations only; a flow yields the `Sleep`. Its own jitter draws from the
global `random`, so the jitter is added here, with the random source as an argument. tenacity is
imported with the first client (`kato_consul._libraries`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

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
