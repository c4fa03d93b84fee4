"""Time that passes when a test says so."""


class ManualClock:
    """A clock for flows: call it for the seconds, `advance` it to let time pass."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        self.now += seconds
