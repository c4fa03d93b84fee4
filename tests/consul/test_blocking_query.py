"""Token bucket: no wait until the burst is used up, then its rate."""

import pytest

from kato_consul._consul.blocking_query import TokenBucket

BEGIN = 1_000.0


def waits(rate: float, burst: float, at: list[float], begin: float) -> list[float]:
    """Return the waits of takes at these seconds after ``begin``."""
    bucket = TokenBucket(rate, burst)
    return [bucket.take(begin + moment) for moment in at]


@pytest.mark.parametrize("begin", [0.0, BEGIN, -5.0])
@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ([0], [0]),
        ([0, 0, 0], [0, 0, 0]),  # the burst is free
        ([0, 0, 0, 0, 0], [0, 0, 0, 0.5, 1.0]),  # then one more every half second
        ([0, 0, 0, 0.5, 1.0], [0, 0, 0, 0, 0]),  # after the wait there is a token
        ([0, 0, 0, 0.25], [0, 0, 0, 0.25]),  # half a token is there: wait for the other half
        ([0, 0, 0, 100, 100, 100, 100], [0, 0, 0, 0, 0, 0, 0.5]),  # at most the burst is stored
        ([0, 1, 2, 3, 4, 5, 6], [0] * 7),  # slower than the rate: never a wait
    ],
)
def test_wait_of_each_take(at: list[float], expected: list[float], begin: float) -> None:
    """The waits with two tokens per second and a burst of three, for any start of the clock."""
    assert waits(2.0, 3.0, at, begin) == pytest.approx(expected)


def test_long_run_has_the_rate_after_the_burst() -> None:
    """A client that always waits as required gets the burst, and then the rate."""
    bucket, now = TokenBucket(2.0, 10.0), BEGIN
    for _ in range(110):
        now += bucket.take(now)
    assert now - BEGIN == pytest.approx(50.0)
