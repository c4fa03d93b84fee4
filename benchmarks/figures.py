"""Figures: a quantity measured once per round, and the goal for its median."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Progress = Callable[[str], None]
"""Prints one line about what is being measured."""


@dataclass(frozen=True)
class Figure:
    """A measured quantity, one value per round.

    ``at_least`` or ``at_most`` is the goal for the median; without either there is no goal.
    ``not_measured`` is the reason if there are no values.
    """

    name: str
    unit: str
    values: Sequence[float] = field(default=())
    at_least: float | None = None
    at_most: float | None = None
    not_measured: str = ""

    @property
    def median(self) -> float:
        """The median over all rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """True if the goal is met; None without a goal or without values."""
        if not self.values or (self.at_least is None and self.at_most is None):
            return None
        below = self.at_least is not None and self.median < self.at_least
        above = self.at_most is not None and self.median > self.at_most
        return not (below or above)

    @property
    def goal(self) -> str:
        """The goal as text; "" if there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g} {self.unit}"
        return f"≤ {self.at_most:g} {self.unit}" if self.at_most is not None else ""

    def as_json(self) -> dict[str, object]:
        """Return the values of all rounds with median, minimum, maximum and goal."""
        fields: dict[str, object] = {"name": self.name, "unit": self.unit, "goal": self.goal}
        if not self.values:
            return {**fields, "not_measured": self.not_measured}
        spread = {"median": self.median, "min": min(self.values), "max": max(self.values)}
        return {**fields, **spread, "met": self.met, "values": list(self.values)}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divide round by round: noise in a round affects both values."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]
