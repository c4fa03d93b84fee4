"""Instance pool: chooses instances by Consul's health and by what this client has measured.

Instances are in tiers. One of a worse tier is used only when all of the better tiers were tried.

| tier | health in Consul | this client          |
| ---- | ---------------- | -------------------- |
| 1    | passing          | not ejected          |
| 2    | warning          | not ejected          |
| 3    | passing          | ejected (`outliers`) |
| 4    | warning          | ejected              |

Critical instances are used only while there is no other, and only where the settings allow it
(``when_all_critical``).

Within a tier, a session goes to its primary or to its next choice (`session_placement`). For other
requests the policy chooses (`policies`), in the client's own zone first (`zones`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kato_consul._balancing.latency_p95 import LatencyP95
from kato_consul._balancing.load_tracker import LoadTracker
from kato_consul._balancing.outlier_detection import OutlierDetector
from kato_consul._balancing.policies import PowerOfTwo, policy_for
from kato_consul._balancing.retry_after import RetryAfterTracker
from kato_consul._balancing.retry_budget import RetryBudget
from kato_consul._balancing.session_placement import SessionPlacement, ranked
from kato_consul._balancing.slow_start import SlowStart
from kato_consul._balancing.zones import prefer_zone
from kato_consul._protocols import Clock, Policy, Random
from kato_consul._runtime_defaults import clock, uniform
from kato_consul.models import USABLE_HEALTH, Health, Instance, Snapshot
from kato_consul.settings import Settings


@dataclass(frozen=True, slots=True)
class InstanceView:
    """What this client has measured of one instance, next to its health in Consul.

    Args:
        instance: The instance in the newest snapshot, with its health and the check's output.
        ejected_for: Seconds until its ejection ends; 0 if it is not ejected.
        outstanding: Requests of this client in flight.
        mean_latency: Recent mean latency in seconds (peak EWMA); 0 before the first reply.
        sessions: Sessions of this client whose primary it is.
    """

    instance: Instance
    ejected_for: float
    outstanding: int
    mean_latency: float
    sessions: int


_BEST_FIRST = (*USABLE_HEALTH, Health.CRITICAL)
"""Critical instances are usable only if no other is (`Settings.when_all_critical`)."""


class Pool:
    """The instances of a service as one client has measured them.

    Args:
        clock: Monotonic seconds.
        random: Uniform in [0, 1).
        policy: Chooses instances for requests without a session; `PowerOfTwo` if None.
        zone: The client's zone, or "".
    """

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
        """Use a new snapshot: start the ramp of new instances, and remove those that left.

        The same snapshot again costs nothing.
        """
        previous = self._snapshot
        if snapshot is previous:
            return
        self._snapshot = snapshot
        self._slow_start.update(snapshot, self._clock())
        self._heaviest = max((instance.weight for instance in snapshot.usable), default=1.0)
        if previous is not None:
            removed = previous.by_uid.keys() - snapshot.by_uid.keys()
            self.outliers.remove(removed)
            self.load.remove(removed)

    def pick(self, snapshot: Snapshot, tried: Collection[str]) -> Instance | None:
        """Return the instance for a request without a session; None if all were tried.

        Args:
            snapshot: The instances.
            tried: Uids of those to leave out.
        """
        self.update(snapshot)
        tier = self._best_tier(snapshot, tried)
        if not tier:
            return None
        among = prefer_zone(tier, self._zone, snapshot, self._random)
        return among[0] if len(among) == 1 else self._policy.pick(among, self, self._random)

    def pick_for_session(
        self, key: str, snapshot: Snapshot, tried: Collection[str]
    ) -> Instance | None:
        """Return the next choice of a session, for when its current instance is not available.

        None if all were tried.

        Args:
            key: The session id.
            snapshot: The instances.
            tried: Uids of those to leave out.
        """
        self.update(snapshot)
        tier = self._best_tier(snapshot, tried)
        return ranked(key, tier, self._zone)[0] if tier else None

    def place_session(
        self, key: str, primary: str, current: str, snapshot: Snapshot
    ) -> tuple[str, str]:
        """Return a session's primary and current instance for the operation that starts.

        Args:
            key: The session id.
            primary: Uid of its primary as returned for the operation before, or "".
            current: Uid of its current instance as returned for the operation before, or "".
            snapshot: The instances.

        Returns:
            Their uids. The current one is "" if no instance is usable, and so is the primary
            unless it is registered and not in maintenance.
        """
        self.update(snapshot)
        instance = snapshot.by_uid.get(primary)
        if instance is not None and self._is_available(instance, snapshot):
            return primary, primary
        keeps_primary = instance is not None and instance.health is not Health.MAINTENANCE
        if keeps_primary and current != primary and self.available(snapshot, current) is not None:
            return primary, current
        tier = self._best_tier(snapshot, ())
        if not tier:
            return primary if keeps_primary else "", ""
        if not keeps_primary:
            primary = self.placement.place(key, primary, tier, self._zone).uid
            return primary, primary
        if instance in tier:  # no other instance is better
            return primary, primary
        return primary, ranked(key, tier, self._zone)[0].uid

    def available(self, snapshot: Snapshot, uid: str) -> Instance | None:
        """Return the instance if it is available, else None.

        Available is an instance that is usable, not ejected, and not waiting for ``Retry-After``.
        """
        instance = snapshot.by_uid.get(uid)
        return instance if instance is not None and self._is_available(instance, snapshot) else None

    def retry_wait(self, snapshot: Snapshot) -> float:
        """Return the seconds until the first usable instance's ``Retry-After`` has passed.

        0 if one accepts requests now.
        """
        uids = (instance.uid for instance in snapshot.usable)
        return self.retry_after.shortest_wait(uids, self._clock())

    def views(self, snapshot: Snapshot) -> list[InstanceView]:
        """Return what this client has measured of each instance."""
        now = self._clock()
        return [
            InstanceView(
                instance,
                self.outliers.ejected_for(instance.uid, now),
                self.load.outstanding(instance.uid),
                self.load.mean_latency(instance.uid, now),
                self.placement[instance.uid],
            )
            for instance in snapshot.instances
        ]

    # The methods of `PoolView`, for policies.

    def weight(self, instance: Instance) -> float:
        """Return its weight in Consul, reduced during slow start."""
        return instance.weight * self._slow_start.share(instance, self._clock())

    def full_weight(self, instance: Instance) -> float:
        """Return its weight in Consul."""
        return float(instance.weight)

    def heaviest(self) -> float:
        """Return the largest weight of a usable instance."""
        return self._heaviest

    def outstanding(self, instance: Instance) -> int:
        """Return the number of this client's requests in flight."""
        return self.load.outstanding(instance.uid)

    def cost(self, instance: Instance) -> float:
        """Return the seconds that one more request is expected to take (peak EWMA)."""
        return self.load.cost(instance.uid, self._clock())

    def _is_available(self, instance: Instance, snapshot: Snapshot) -> bool:
        now = self._clock()
        return (
            (instance.usable or snapshot.uses(instance))
            and not self.outliers.is_ejected(instance.uid, now)
            and instance.uid not in self.retry_after.waiting(now)
        )

    def _best_tier(self, snapshot: Snapshot, tried: Collection[str]) -> Sequence[Instance]:
        """Return the untried instances of the best tier that has any; empty if there is none."""
        now = self._clock()
        ejected = self.outliers.ejected(snapshot.usable, now)
        usable: Sequence[Instance] = snapshot.usable
        if excluded := {*tried, *self.retry_after.waiting(now)}:
            usable = [instance for instance in usable if instance.uid not in excluded]
        if not ejected and snapshot.all_passing:
            return usable
        for is_ejected in (False, True):
            for health in _BEST_FIRST:
                tier = [
                    instance
                    for instance in usable
                    if instance.health is health and (instance.uid in ejected) is is_ejected
                ]
                if tier:
                    return tier
        return ()


def pool_for(settings: Settings) -> Pool:
    """Return an empty pool with the settings' balancing policy and zone.

    Raises:
        ConfigurationError: the settings name an unknown policy.
    """
    return Pool(clock, uniform, policy_for(settings.balancing), settings.zone)
