"""A figure, measured several times, and the goal it is held against."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """What was measured, once a round. ``why_not`` says why it was not, if it was not.

    ``at_least`` or ``at_most`` is the goal for the median; a figure without one stands beside.
    """

    name: str
    unit: str
    values: Sequence[float] = field(default=())
    at_least: float | None = None
    at_most: float | None = None
    why_not: str = ""

    @property
    def median(self) -> float:
        """In the middle of all rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Is the goal met? None: there is none, or nothing was measured."""
        if not self.values or (self.at_least is None and self.at_most is None):
            return None
        below = self.at_least is not None and self.median < self.at_least
        above = self.at_most is not None and self.median > self.at_most
        return not (below or above)

    @property
    def goal(self) -> str:
        """The goal in words; "" when there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g} {self.unit}"
        return f"≤ {self.at_most:g} {self.unit}" if self.at_most is not None else ""

    def as_json(self) -> dict[str, object]:
        """For machines: the values of all rounds, and what is told of them."""
        told: dict[str, object] = {"name": self.name, "unit": self.unit, "goal": self.goal}
        if not self.values:
            return {**told, "not_measured": self.why_not}
        spread = {"median": self.median, "min": min(self.values), "max": max(self.values)}
        return {**told, **spread, "met": self.met, "values": list(self.values)}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round: what disturbed a round disturbed both."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]
