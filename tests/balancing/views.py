"""A pool as a policy sees it, put together by hand; and chance that is the same each time."""

import random
from dataclasses import dataclass, field

from kato_consul._protocols import Random
from kato_consul.models import Instance


def seeded(seed: int = 7) -> Random:
    """Chance that is the same each time."""
    return random.Random(seed).random


@dataclass
class Sight:
    """`PoolView` of a pool: whatever is not said is 1 of weight, idle and of one cost."""

    weights: dict[str, float] = field(default_factory=dict)
    full: dict[str, float] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)

    def weight(self, one: Instance) -> float:
        """As said."""
        return self.weights.get(one.uid, 1.0)

    def full_weight(self, one: Instance) -> float:
        """As said, or all of it now."""
        return self.full.get(one.uid, self.weight(one))

    def heaviest(self) -> float:
        """Of those said, 1 at least."""
        return max([1.0, *self.weights.values(), *self.full.values()])

    def outstanding(self, one: Instance) -> int:
        """As said."""
        return self.busy.get(one.uid, 0)

    def cost(self, one: Instance) -> float:
        """As said."""
        return self.costs.get(one.uid, 1.0)
