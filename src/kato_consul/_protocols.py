"""Protocols: the clock, the random source and the balancing policy that flows are given."""

from collections.abc import Callable, Sequence
from typing import Protocol

from kato_consul.models import Instance

Clock = Callable[[], float]
"""Returns monotonic seconds, as `time.monotonic` does."""

Random = Callable[[], float]
"""Returns a number uniform in [0, 1), as `random.random` does."""


class PoolView(Protocol):
    """The client's current load and weights of the instances, for a `Policy`."""

    def weight(self, instance: Instance) -> float:
        """Return its current weight: its weight in Consul, or less while a new instance ramps
        up."""
        ...

    def full_weight(self, instance: Instance) -> float:
        """Return its weight in Consul."""
        ...

    def heaviest(self) -> float:
        """Return the largest weight of all instances."""
        ...

    def outstanding(self, instance: Instance) -> int:
        """Return how many requests of this client it is processing."""
        ...

    def cost(self, instance: Instance) -> float:
        """Return the seconds that one more request is expected to wait there (peak EWMA)."""
        ...


class Policy(Protocol):
    """A balancing policy: picks the instance for a request that belongs to no session.

    Pass an implementation of your own as ``Settings(balancing=…)``. The built-in policies are in
    `kato_consul._balancing.policies`.
    """

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """Return one of the candidates.

        Args:
            among: The candidates: at least one, all with the same health.
            view: The load and the weights of the instances.
            random: Returns a number uniform in [0, 1).
        """
        ...
