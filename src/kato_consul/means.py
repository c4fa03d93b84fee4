"""Time and chance, which whatever decides is given as arguments."""

from collections.abc import Callable

Clock = Callable[[], float]
"""Monotonic seconds, as `time.monotonic` gives them."""

Random = Callable[[], float]
"""Uniform in [0, 1), as `random.random` gives it."""
