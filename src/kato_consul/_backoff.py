"""Waiting between attempts: tenacity's strategies, asked from inside a flow.

tenacity decides how long; it never sleeps and never calls: a flow yields the `Sleep`. Its random
strategies draw from the global `random`, so the jitter is ours, with the source as an argument.
"""

from collections.abc import Iterator

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_base, wait_exponential

from kato_consul._flow import Random


def full_jitter(wait: wait_base, random: Random) -> Iterator[float]:
    """Seconds to wait after the first failure, the second, …: uniform in [0, what ``wait`` says).

    "Full jitter" keeps callers that failed together from coming back together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """
    state = RetryCallState(Retrying(), None, (), {})
    while True:
        yield wait(state) * random()
        state.attempt_number += 1


CONSUL_WAIT = wait_exponential(multiplier=0.1, max=0.4)
"""For an agent that does not answer: 0.1, 0.2, then 0.4 s at most, so that a client is back within
half a second of Consul's return, with a tenth of it left for the answer. That is five requests a
second in the mean, to an agent that is usually on the same machine."""

MISTAKE_WAIT = wait_exponential(multiplier=0.1, max=5.0)
"""For an agent that refuses: 0.1, 0.2, … 5 s at most. Somebody has to mend something."""

INSTANCE_WAIT = wait_exponential(multiplier=0.05, max=1.0)
"""For instances that none of a round took a request: 0.05, 0.1, … 1 s at most."""
