"""Slow start: an instance that just came gets its share of requests little by little.

A process that started has cold caches and no connections. For `WINDOW` seconds its weight grows in
a straight line from `FIRST` of it to all of it (Envoy's slow start, with its ``aggression`` of 1
and ``min_weight_percent`` of 10). Those that were there when the client started are no
newcomers: it knows nothing of their age, and all of them slow would be nobody slow.
"""

from kato_consul.models import Instance, Snapshot

WINDOW = 30.0
"""Seconds. A real KATO loads its caches within some seconds of its first requests."""

FIRST = 0.1
"""Share of its weight that a newcomer has at first."""


class SlowStart:
    """When each usable instance came, by uid."""

    __slots__ = ("_came", "_known")

    def __init__(self) -> None:
        self._came: dict[str, float] = {}
        self._known: frozenset[str] | None = None

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Take note of who came, and who came back: from being critical, or drained."""
        usable = frozenset(one.uid for one in snapshot.usable)
        if self._known:  # a client that had nobody to ask has no old hands to spare newcomers for
            self._came.update(dict.fromkeys(usable - self._known, now))
        self._came = {
            uid: came for uid, came in self._came.items() if uid in usable and now < came + WINDOW
        }
        self._known = usable

    def share(self, one: Instance, now: float) -> float:
        """How much of its weight an instance has: above 0, at most 1."""
        came = self._came.get(one.uid) if self._came else None
        if came is None:
            return 1.0
        return min(1.0, FIRST + (1.0 - FIRST) * max(0.0, now - came) / WINDOW)
