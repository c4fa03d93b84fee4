"""What is given to whatever decides: time, chance, and the user's own judgement."""

from collections.abc import Callable, Sequence
from typing import Protocol

from kato_consul.models import Instance

Clock = Callable[[], float]
"""Monotonic seconds, as `time.monotonic` gives them."""

Random = Callable[[], float]
"""Uniform in [0, 1), as `random.random` gives it."""


class PoolView(Protocol):
    """What is known of an instance now."""

    def weight(self, one: Instance) -> float:
        """Its weight in Consul; less for a while when it is new."""
        ...

    def full_weight(self, one: Instance) -> float:
        """Its weight in Consul."""
        ...

    def heaviest(self) -> float:
        """The largest weight there is."""
        ...

    def outstanding(self, one: Instance) -> int:
        """Requests of this client that it has in hand."""
        ...

    def cost(self, one: Instance) -> float:
        """Seconds that one more request may be expected to wait there (peak EWMA)."""
        ...


class Policy(Protocol):
    """Who gets the next request that belongs to no session. Bring one of your own as
    ``Settings(balancing=…)``; ours are in `kato_consul._balancing.policies`."""

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """One of ``among``: never empty, all alike in health. ``random`` is uniform in [0, 1)."""
        ...
