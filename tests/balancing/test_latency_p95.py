"""Latency percentile: of the last samples, once there are enough."""

import pytest

from kato_consul._balancing.latency_p95 import MIN_SAMPLES, SAMPLES, LatencyP95


@pytest.mark.parametrize(
    ("latencies", "p95"),
    [
        ([0.1] * (MIN_SAMPLES - 1), None),
        ([0.1] * MIN_SAMPLES, 0.1),
        ([*([0.1] * 90), *([9.0] * 6)], 9.0),
        ([*([9.0] * SAMPLES), *([0.1] * SAMPLES)], 0.1),
        ([number / 100 for number in range(1, 97)], 0.92),
    ],
)
def test_p95(latencies: list[float], p95: float | None) -> None:
    """The percentile of the last samples, once there are enough."""
    recent = LatencyP95()
    for seconds in latencies:
        recent.add(seconds)
    assert recent.p95 == p95
