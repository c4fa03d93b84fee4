"""Latency percentile: the 95th of recent latencies, after which a read is hedged."""

SAMPLES = 128
"""Latencies kept. The slowest six are above the 95th percentile."""

MIN_SAMPLES = 32
"""Latencies needed for a percentile. With fewer, it would be that of a single slow reply."""

UPDATE_EVERY = 16
"""Latencies after which the percentile is computed anew."""


class LatencyP95:
    """The 95th percentile of recent latencies.

    Shared by threads without a lock: a lost sample is harmless here.
    """

    __slots__ = ("_count", "_p95", "_samples")

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._count = 0
        self._p95: float | None = None

    def add(self, seconds: float) -> None:
        """Add the latency of one reply, in seconds."""
        if len(self._samples) < SAMPLES:
            self._samples.append(seconds)
        else:
            self._samples[self._count % SAMPLES] = seconds
        self._count += 1
        if self._count >= MIN_SAMPLES and self._count % UPDATE_EVERY == 0:
            ordered = sorted(self._samples)
            self._p95 = ordered[len(ordered) * 95 // 100]

    @property
    def p95(self) -> float | None:
        """Seconds within which 95 of 100 replies came; None with too few samples."""
        return self._p95
