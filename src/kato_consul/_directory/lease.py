"""Lease: until when a process may act as the owner of its sessions."""

import time
from collections.abc import Callable
from functools import partial

boottime: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic
)
"""Returns seconds on a clock that also runs while the machine is suspended. ``time.monotonic``
stands still then on Linux: a lease would outlive a suspended machine."""


class Lease:
    """One lease of a process, in a directory: for all sessions that were acquired under it.

    ``end`` is on ``now``'s clock: the moment *before* the request that confirmed it last, plus its
    length. Until then no other process can acquire a session of it. Once lost, it never becomes
    valid again; there is another one then. ``used``: it was needed since it was last confirmed, so
    it is worth confirming in time.
    """

    __slots__ = ("end", "lost", "now", "used")

    def __init__(self, now: Callable[[], float] = boottime) -> None:
        self.now = now
        self.end = 0.0
        self.lost = False
        self.used = False

    def is_valid(self) -> bool:
        """Return whether the process may act as an owner at this moment."""
        return self.now() < self.end

    def extend(self, end: float) -> None:
        """Record that it is confirmed until ``end``."""
        if not self.lost:
            self.end = max(self.end, end)

    def lose(self) -> None:
        """Record that it is lost."""
        self.lost, self.end = True, 0.0
