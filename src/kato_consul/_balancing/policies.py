"""Balancing policies: choose the instance for a request that belongs to no session.

A policy is an object with one method. `POLICIES` has the built-in ones by name; users may pass
their own. A policy gets instances of equal health to choose from, and a `PoolView` of their load
and weights.

| name                  | chooses                                                            |
| --------------------- | ------------------------------------------------------------------ |
| ``p2c``               | the cheaper of two drawn by weight (power of two choices; default) |
| ``least_outstanding`` | the fewest requests in flight for its weight                       |
| ``round_robin``       | each in turn; new instances are sometimes skipped                  |
| ``weighted``          | each in turn, in proportion to its weight (smooth order of nginx)  |
| ``random``            | at random, by weight                                               |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kato_consul._protocols import Policy, PoolView, Random
from kato_consul.errors import ConfigurationError
from kato_consul.models import Instance

MIN_WEIGHT = 1e-9
"""Stands for a weight of 0, which means: only if there is no other instance."""

MAX_DRAWS = 16
"""Draws after which an instance is taken whatever its weight. That is enough for one with a
sixteenth of the largest weight."""


IDLE_TIE = 0.05
"""Seconds by which the costs of two idle instances may differ and count as equal. The mean latency
keeps a single slow reply for about ten seconds. Without a tie, one cold start or pause would direct
all requests of a client that sends one at a time to the other instance."""


class PowerOfTwo:
    """Power of two choices: draws two instances and takes the cheaper one.

    Only two instances are compared, and the choice is nearly as good as the cheapest of all. If all
    clients chose the cheapest one, they would overload it together (Mitzenmacher 2001; ``P2CPick``
    of Finagle). Of two idle instances whose costs are nearly equal (`IDLE_TIE`) the first draw is
    taken, so each gets the share of its weight.
    """

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """Return the cheaper of two; if both are idle and nearly equal, the first one drawn."""
        first = draw_by_weight(among, view, random)
        if len(among) == 1:
            return first
        others = [instance for instance in among if instance is not first]
        second = draw_by_weight(others, view, random)
        difference = view.cost(first) - view.cost(second)
        if difference <= 0.0:
            return first
        if difference >= IDLE_TIE or view.outstanding(first) or view.outstanding(second):
            return second
        return first


class LeastOutstanding:
    """Takes the instance with the fewest requests in flight for its weight."""

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """Return the least busy one; if several are equal, one of them at random."""
        start = int(random() * len(among))
        rotated = [*among[start:], *among[:start]]
        return min(
            rotated,
            key=lambda instance: (
                (view.outstanding(instance) + 1) / (view.weight(instance) or MIN_WEIGHT)
            ),
        )


class Uniform:
    """Draws at random, by weight."""

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """Return one drawn by weight."""
        return draw_by_weight(among, view, random)


@dataclass
class RoundRobin:
    """Takes each in turn, in the order of their uids, also while instances join and leave."""

    _last: str = ""

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """Return the next one that slow start does not skip."""
        in_turn = sorted(among, key=lambda instance: (instance.uid <= self._last, instance.uid))
        for instance in in_turn:
            if random() * view.full_weight(instance) <= view.weight(instance):
                break
        else:
            instance = in_turn[0]
        self._last = instance.uid
        return instance


@dataclass
class Weighted:
    """Smooth weighted round robin of nginx.

    An instance of weight 5 beside two of weight 1 gets five of seven requests, but not five in a
    row.
    """

    _current: dict[str, float] = field(default_factory=dict)

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """Return the one with the highest current weight."""
        weights = {instance.uid: view.weight(instance) for instance in among}
        self._current = {
            uid: self._current.get(uid, 0.0) + weight for uid, weight in weights.items()
        }
        picked = max(among, key=lambda instance: self._current[instance.uid])
        self._current[picked.uid] -= sum(weights.values())
        return picked


POLICIES: Mapping[str, type[Policy]] = {
    "p2c": PowerOfTwo,
    "least_outstanding": LeastOutstanding,
    "round_robin": RoundRobin,
    "weighted": Weighted,
    "random": Uniform,
}


def policy_for(policy: str | Policy) -> Policy:
    """Return a new policy of a name, or the user's own policy unchanged.

    Raises:
        ConfigurationError: There is no policy of that name.
    """
    if not isinstance(policy, str):
        return policy
    if policy not in POLICIES:
        raise ConfigurationError(f"balancing must be one of {', '.join(POLICIES)}, not {policy!r}")
    return POLICIES[policy]()


def draw_by_weight(among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
    """Draw one at random, by weight.

    Rejection sampling: draws uniformly and keeps an instance with a chance of its weight divided by
    the largest one.
    """
    heaviest = view.heaviest()
    for _ in range(MAX_DRAWS):
        instance = among[int(random() * len(among))]
        weight = view.weight(instance)
        if weight >= heaviest or random() * heaviest < weight:
            return instance
    return instance
