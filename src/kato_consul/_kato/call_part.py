"""Call part: what one write does of a call that has an idempotency key or a log position."""

from dataclasses import dataclass

from kato_consul.models import Position


@dataclass(slots=True, eq=False)
class CallPart:
    """So many units of a call, made by one write.

    The **units** of a call are its observations, and one for its learn. ``request`` is a digest of
    what the call asks for. ``applied`` is True once the write is part of the session's journal.
    """

    key: str | None
    request: str
    position: Position | None
    units: int
    observations: int
    applied: bool = False

    def is_of(self, key: str | None, position: Position | None) -> bool:
        """Return whether it belongs to the call with this key or this position."""
        if key is not None and self.key == key:
            return True
        return position is not None and self.position == position
