"""``Retry-After``: until when instances accept no request."""

from collections.abc import Iterable


class RetryAfterTracker:
    """When instances accept requests again, by uid. Times are seconds on the caller's clock."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def record(self, uid: str, until: float) -> None:
        """Record that the instance accepts no request before ``until``."""
        self._until[uid] = until

    def waiting(self, now: float) -> frozenset[str]:
        """Return the uids of the instances that accept no request now."""
        if not self._until:
            return frozenset()
        self._until = {uid: until for uid, until in self._until.items() if now < until}
        return frozenset(self._until)

    def shortest_wait(self, uids: Iterable[str], now: float) -> float:
        """Return the seconds until the first of these accepts requests; 0 if one does now."""
        return min((max(0.0, self._until.get(uid, 0.0) - now) for uid in uids), default=0.0)
