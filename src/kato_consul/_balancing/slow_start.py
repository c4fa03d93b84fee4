"""Slow start: raises the weight of a new instance gradually.

A process that just started has cold caches and no connections. For `WINDOW` seconds its weight
grows linearly from `MIN_WEIGHT_SHARE` to all of it (slow start of Envoy, with its ``aggression`` of
1 and ``min_weight_percent`` of 10).

Instances that were usable when the client started are not new: the client does not know their age.
If all instances ramp up together, slow start has no effect.
"""

from kato_consul.models import Instance, Snapshot

WINDOW = 30.0
"""Seconds. A real KATO loads its caches within some seconds of its first requests."""

MIN_WEIGHT_SHARE = 0.1
"""Share of its weight that a new instance has at first."""


class SlowStart:
    """When new instances became usable, by uid. Times are seconds on the caller's clock."""

    __slots__ = ("_started_at", "_usable")

    def __init__(self) -> None:
        self._started_at: dict[str, float] = {}
        self._usable: frozenset[str] | None = None

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Start the ramp of instances that are newly usable: new, or critical or drained before."""
        usable = frozenset(instance.uid for instance in snapshot.usable)
        if self._usable:  # if none was usable before, all would ramp up together
            self._started_at.update(dict.fromkeys(usable - self._usable, now))
        self._started_at = {
            uid: started_at
            for uid, started_at in self._started_at.items()
            if uid in usable and now < started_at + WINDOW
        }
        self._usable = usable

    def share(self, instance: Instance, now: float) -> float:
        """Return the share of its weight that an instance has now: above 0, at most 1."""
        started_at = self._started_at.get(instance.uid) if self._started_at else None
        if started_at is None:
            return 1.0
        elapsed = max(0.0, now - started_at)
        return min(1.0, MIN_WEIGHT_SHARE + (1.0 - MIN_WEIGHT_SHARE) * elapsed / WINDOW)
