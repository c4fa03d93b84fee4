"""Which instance: Consul's word and what this client saw itself, put together.

Tiers first: an instance of a worse one is asked only when those of the better ones were.

| tier | Consul says | our own eyes         |
| ---- | ----------- | -------------------- |
| 1    | passing     | nothing against it   |
| 2    | warning     | nothing against it   |
| 3    | passing     | out (see `Ejection`) |
| 4    | warning     | out                  |

Within a tier a session goes by its home and its ranking (`placing`), everything else by a policy
(`picking`), near ones first (`zones`).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from kato_consul._balancing.latency_p95 import LatencyP95
from kato_consul._balancing.load_tracker import LoadTracker
from kato_consul._balancing.outlier_detection import OutlierDetector
from kato_consul._balancing.policies import PowerOfTwo
from kato_consul._balancing.retry_after import RetryAfterTracker
from kato_consul._balancing.retry_budget import RetryBudget
from kato_consul._balancing.session_placement import SessionPlacement, ranked
from kato_consul._balancing.slow_start import SlowStart
from kato_consul._balancing.zones import prefer_zone
from kato_consul._protocols import Clock, Policy, Random
from kato_consul.models import Health, Instance, Snapshot


@dataclass(frozen=True, slots=True)
class InstanceView:
    """What this client sees of one instance, beside what Consul says of it (``instance.health``).

    ``out_for``: seconds for which it is let alone still. ``outstanding``: requests in hand.
    ``average``: seconds that an answer takes, of late. ``sessions``: those that live there.
    """

    instance: Instance
    ejected_for: float
    outstanding: int
    mean_latency: float
    sessions: int


class Pool:
    """The instances of a service, as one client has come to know them."""

    def __init__(
        self, clock: Clock, random: Random, policy: Policy | None = None, zone: str = ""
    ) -> None:
        self.outliers = OutlierDetector()
        self.load = LoadTracker()
        self.placement = SessionPlacement()
        self.budget = RetryBudget()
        self.retry_after = RetryAfterTracker()
        self.read_latency = LatencyP95()
        self._slow_start = SlowStart()
        self._policy = policy or PowerOfTwo()
        self._zone = zone
        self._clock = clock
        self._random = random
        self._snapshot: Snapshot | None = None
        self._heaviest = 1.0

    def update(self, snapshot: Snapshot) -> None:
        """Take note of who came and who left. The same snapshot again costs nothing."""
        before = self._snapshot
        if snapshot is before:
            return
        self._snapshot = snapshot
        self._slow_start.update(snapshot, self._clock())
        self._heaviest = max((one.weight for one in snapshot.usable), default=1.0)
        if before is not None:
            gone = before.by_uid.keys() - snapshot.by_uid.keys()
            self.outliers.forget(gone)
            self.load.forget(gone)

    def pick(self, snapshot: Snapshot, tried: Collection[str]) -> Instance | None:
        """Who gets a request that belongs to no session; None when all were tried."""
        self.update(snapshot)
        for tier in self._tiers(snapshot, tried):
            among = prefer_zone(tier, self._zone, snapshot, self._random)
            return among[0] if len(among) == 1 else self._policy.pick(among, self, self._random)
        return None

    def pick_for_session(
        self, key: str, snapshot: Snapshot, tried: Collection[str]
    ) -> Instance | None:
        """Who gets a request of a session that cannot be where it is; None when all were tried."""
        self.update(snapshot)
        for tier in self._tiers(snapshot, tried):
            return ranked(key, tier, self._zone)[0]
        return None

    def place_session(self, key: str, home: str, at: str, snapshot: Snapshot) -> tuple[str, str]:
        """Where a session lives, and where it is, for the operation that begins: their uids.

        ``home`` and ``at`` are what this said for the operation before, or "". Both are "" when
        there is nobody.
        """
        self.update(snapshot)
        there = snapshot.by_uid.get(home)
        if there is not None and self._is_available(there):
            return home, home
        staying = there is not None and there.health is not Health.MAINTENANCE
        if staying and at != home and self.available(snapshot, at) is not None:
            return home, at
        for tier in self._tiers(snapshot, ()):
            if there is None or not staying:
                home = self.placement.place(key, home, tier, self._zone).uid
                return home, home
            if there in tier:  # nobody is better off
                return home, home
            return home, ranked(key, tier, self._zone)[0].uid
        return home if staying else "", ""

    def available(self, snapshot: Snapshot, uid: str) -> Instance | None:
        """The instance, if nothing speaks against asking it."""
        one = snapshot.by_uid.get(uid)
        return one if one is not None and self._is_available(one) else None

    def retry_wait(self, snapshot: Snapshot) -> float:
        """Seconds until anybody may be asked, by their own word; 0 when somebody may."""
        return self.retry_after.shortest_wait((one.uid for one in snapshot.usable), self._clock())

    def views(self, snapshot: Snapshot) -> list[InstanceView]:
        """What is seen of each instance."""
        now = self._clock()
        return [
            InstanceView(
                one,
                self.outliers.ejected_for(one.uid, now),
                self.load.outstanding(one.uid),
                self.load.mean_latency(one.uid, now),
                self.placement[one.uid],
            )
            for one in snapshot.instances
        ]

    # What policies see: `picking.PoolView`.

    def weight(self, one: Instance) -> float:
        """Its weight in Consul; less for a while when it is new."""
        return one.weight * self._slow_start.share(one, self._clock())

    def full_weight(self, one: Instance) -> float:
        """Its weight in Consul."""
        return float(one.weight)

    def heaviest(self) -> float:
        """The largest weight there is."""
        return self._heaviest

    def outstanding(self, one: Instance) -> int:
        """Requests of this client that it has in hand."""
        return self.load.outstanding(one.uid)

    def cost(self, one: Instance) -> float:
        """Seconds that one more request may be expected to wait there."""
        return self.load.cost(one.uid, self._clock())

    def _is_available(self, one: Instance) -> bool:
        now = self._clock()
        return (
            one.health in (Health.PASSING, Health.WARNING)
            and not self.outliers.is_ejected(one.uid, now)
            and one.uid not in self.retry_after.waiting(now)
        )

    def _tiers(self, snapshot: Snapshot, tried: Collection[str]) -> Iterator[Sequence[Instance]]:
        """The usable instances that were not tried yet, the best first; no empty tier."""
        now = self._clock()
        out = self.outliers.ejected(snapshot.usable, now)
        usable: Sequence[Instance] = snapshot.usable
        if passed_over := {*tried, *self.retry_after.waiting(now)}:
            usable = [one for one in usable if one.uid not in passed_over]
        if not out and snapshot.all_passing:
            if usable:
                yield usable
            return
        for is_out in (False, True):
            for health in (Health.PASSING, Health.WARNING):
                tier = [
                    one for one in usable if one.health is health and (one.uid in out) is is_out
                ]
                if tier:
                    yield tier
