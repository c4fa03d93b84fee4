"""Policies: who gets the next request that belongs to no session.

A policy is a value with one method. `POLICIES` has ours by name; a user may bring one of their own.
It is given those that may be asked, all alike in health, and a `PoolView` of what is known of them.

| name                  | picks                                                                   |
| --------------------- | ----------------------------------------------------------------------- |
| ``p2c``               | the cheaper of two drawn by weight (power of two choices; the default)  |
| ``least_outstanding`` | who has the fewest requests in hand for its weight                      |
| ``round_robin``       | one after the other; newcomers are passed over now and then             |
| ``weighted``          | one after the other, as often as its weight says (nginx's smooth order) |
| ``random``            | by weight, at random                                                    |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kato_consul._protocols import Policy, PoolView, Random
from kato_consul.errors import ConfigurationError
from kato_consul.models import Instance

TINY = 1e-9
"""In the place of a weight of 0, which means: only when there is nobody else."""

DRAWS = 16
"""Draws until one is taken whatever its weight: enough for one of a sixteenth of the heaviest."""


class PowerOfTwo:
    """Two drawn, the cheaper one taken: nearly as good as the cheapest of all, at the cost of two,
    and without the herd that runs to the cheapest (Mitzenmacher 2001; Finagle's ``P2CPick``)."""

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """The cheaper of two."""
        one = draw(among, view, random)
        if len(among) == 1:
            return one
        other = draw([each for each in among if each is not one], view, random)
        return one if view.cost(one) <= view.cost(other) else other


class LeastOutstanding:
    """The fewest requests in hand for its weight; of several, any."""

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """The least busy one."""
        start = int(random() * len(among))
        turned = [*among[start:], *among[:start]]
        return min(turned, key=lambda one: (view.outstanding(one) + 1) / (view.weight(one) or TINY))


class Uniform:
    """At random, by weight."""

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """Any one."""
        return draw(among, view, random)


@dataclass
class RoundRobin:
    """One after the other, in the order of their uids, whoever comes and goes."""

    _last: str = ""

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """The next one that is not passed over for being new."""
        after = sorted(among, key=lambda one: (one.uid <= self._last, one.uid))
        for one in after:
            if random() * view.full_weight(one) <= view.weight(one):
                break
        else:
            one = after[0]
        self._last = one.uid
        return one


@dataclass
class Weighted:
    """nginx's smooth weighted round robin: an instance of weight 5 beside two of 1 gets five of
    seven, and not five in a row."""

    _current: dict[str, float] = field(default_factory=dict)

    def pick(self, among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
        """The one whose turn it is."""
        weights = {one.uid: view.weight(one) for one in among}
        self._current = {uid: self._current.get(uid, 0.0) + more for uid, more in weights.items()}
        chosen = max(among, key=lambda one: self._current[one.uid])
        self._current[chosen.uid] -= sum(weights.values())
        return chosen


POLICIES: Mapping[str, type[Policy]] = {
    "p2c": PowerOfTwo,
    "least_outstanding": LeastOutstanding,
    "round_robin": RoundRobin,
    "weighted": Weighted,
    "random": Uniform,
}


def policy_for(wanted: str | Policy) -> Policy:
    """The policy of a name, new; or the user's own, as it is.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if not isinstance(wanted, str):
        return wanted
    if wanted not in POLICIES:
        raise ConfigurationError(f"balancing must be one of {', '.join(POLICIES)}, not {wanted!r}")
    return POLICIES[wanted]()


def draw(among: Sequence[Instance], view: PoolView, random: Random) -> Instance:
    """One at random, by weight: drawn evenly, and kept as often as its weight says."""
    heaviest = view.heaviest()
    for _ in range(DRAWS):
        one = among[int(random() * len(among))]
        weight = view.weight(one)
        if weight >= heaviest or random() * heaviest < weight:
            return one
    return one
