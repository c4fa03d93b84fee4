"""Who asked to be let alone: an answer with ``Retry-After`` is obeyed, unlike a guess of ours."""

from collections.abc import Iterable


class RetryAfterTracker:
    """When each may be asked again, by uid. Times are those of the caller's clock."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def record(self, uid: str, until: float) -> None:
        """It asked for that."""
        self._until[uid] = until

    def waiting(self, now: float) -> frozenset[str]:
        """The uids of those who may not be asked now."""
        if not self._until:
            return frozenset()
        self._until = {uid: until for uid, until in self._until.items() if now < until}
        return frozenset(self._until)

    def shortest_wait(self, uids: Iterable[str], now: float) -> float:
        """Seconds until one of these may be asked; 0 when one may."""
        return min((max(0.0, self._until.get(uid, 0.0) - now) for uid in uids), default=0.0)
