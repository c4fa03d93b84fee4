"""A fake pool view for policies, and a seeded random source."""

import random
from dataclasses import dataclass, field

from kato_consul._protocols import Random
from kato_consul.models import Instance


def seeded(seed: int = 7) -> Random:
    """Return a random source that is the same in each run."""
    return random.Random(seed).random


@dataclass
class FakePoolView:
    """A `PoolView` with given values. Defaults: weight 1, idle, cost 1."""

    weights: dict[str, float] = field(default_factory=dict)
    full: dict[str, float] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)

    def weight(self, instance: Instance) -> float:
        """Return the given value."""
        return self.weights.get(instance.uid, 1.0)

    def full_weight(self, instance: Instance) -> float:
        """Return the given value, or the weight."""
        return self.full.get(instance.uid, self.weight(instance))

    def heaviest(self) -> float:
        """Return the largest given weight, at least 1."""
        return max([1.0, *self.weights.values(), *self.full.values()])

    def outstanding(self, instance: Instance) -> int:
        """Return the given value."""
        return self.busy.get(instance.uid, 0)

    def cost(self, instance: Instance) -> float:
        """Return the given value."""
        return self.costs.get(instance.uid, 1.0)
