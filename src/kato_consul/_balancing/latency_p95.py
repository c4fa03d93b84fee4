"""How long answers take at the slow end, of late."""

KEEP = 128
"""Answers that are looked at: the slowest six of them are above the 95th percentile."""

ENOUGH = 32
"""Below so many nothing is said: one slow answer would be all that is known."""

EVERY = 16
"""Answers after which it is worked out anew."""


class LatencyP95:
    """The 95th percentile of the last answers' times, in seconds. Threads may share it: an answer
    that two of them lose between each other does not matter."""

    __slots__ = ("_count", "_p95", "_times")

    def __init__(self) -> None:
        self._times: list[float] = []
        self._count = 0
        self._p95: float | None = None

    def add(self, seconds: float) -> None:
        """An answer took so long."""
        if len(self._times) < KEEP:
            self._times.append(seconds)
        else:
            self._times[self._count % KEEP] = seconds
        self._count += 1
        if self._count >= ENOUGH and self._count % EVERY == 0:
            ordered = sorted(self._times)
            self._p95 = ordered[len(ordered) * 95 // 100]

    @property
    def p95(self) -> float | None:
        """Seconds within which 95 of 100 were answered; None while too little is known."""
        return self._p95
