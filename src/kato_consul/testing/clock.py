"""Manual clock: time that only a test advances."""


class ManualClock:
    """A clock for flows. Call it for the current time in seconds; ``now`` is where it starts."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Advance the time by ``seconds``, 0 or more. Raises ValueError for a negative number."""
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds} s; give 0 or more")
        self.now += seconds
