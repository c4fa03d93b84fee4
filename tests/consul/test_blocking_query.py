"""The token bucket: at once until the burst is used up, then at its rate."""

import pytest

from kato_consul._consul.blocking_query import TokenBucket

BEGIN = 1_000.0


def waits(rate: float, burst: float, at: list[float], begin: float) -> list[float]:
    """What each take says, made at these seconds after the beginning."""
    bucket = TokenBucket(rate, burst)
    return [bucket.take(begin + moment) for moment in at]


@pytest.mark.parametrize("begin", [0.0, BEGIN, -5.0])
@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ([0], [0]),
        ([0, 0, 0], [0, 0, 0]),  # the burst is free
        ([0, 0, 0, 0, 0], [0, 0, 0, 0.5, 1.0]),  # then one more every half second
        ([0, 0, 0, 0.5, 1.0], [0, 0, 0, 0, 0]),  # who waits as told finds a token
        ([0, 0, 0, 0.25], [0, 0, 0, 0.25]),  # half a token came: wait for the other half
        ([0, 0, 0, 100, 100, 100, 100], [0, 0, 0, 0, 0, 0, 0.5]),  # no more than the burst is kept
        ([0, 1, 2, 3, 4, 5, 6], [0] * 7),  # slower than the rate: never a wait
    ],
)
def test_take(at: list[float], expected: list[float], begin: float) -> None:
    """How long each waits, with two tokens a second and a burst of three, wherever time begins."""
    assert waits(2.0, 3.0, at, begin) == pytest.approx(expected)


def test_rate_holds_in_the_long_run() -> None:
    """Somebody who always takes and waits as told gets the burst and then the rate."""
    bucket, now = TokenBucket(2.0, 10.0), BEGIN
    for _ in range(110):
        now += bucket.take(now)
    assert now - BEGIN == pytest.approx(50.0)
