"""Asking an agent that may not be there yet, or is between two leaders."""

from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.api import ConsulCall, T, execute
from kato_consul._flow import Clock, Flow, Random, Sleep
from kato_consul.errors import ConsulUnavailable, ConsulUnreachable


def execute_with_retry(
    call: ConsulCall[T], within: float, *, clock: Clock, random: Random
) -> Flow[T]:
    """Flow: make a call, again and again while the agent cannot serve it, for ``within`` seconds.

    Raises:
        ConsulError: the last one, when the time is over; at once, when it is no matter of time.
    """
    until = clock() + within
    pauses = full_jitter(CONSUL_WAIT, random)
    while True:
        try:
            return (yield from execute(call))
        except (ConsulUnreachable, ConsulUnavailable) as error:
            left = until - clock()
            if left <= 0:
                raise
            yield Sleep(min(next(pauses) + (error.retry_after or 0.0), left))
