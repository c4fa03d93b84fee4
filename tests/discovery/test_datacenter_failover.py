"""Datacenter failover: which datacenter is used, and which ones are watched."""

from collections.abc import Callable

import pytest

from kato_consul._consul.health_query import HealthQuery
from kato_consul._discovery.datacenters import Datacenters
from kato_consul._flow import Flow, Sleep, WaitForChange
from kato_consul._observable import SnapshotStore
from kato_consul.errors import ConsulUnreachable
from kato_consul.models import Health, Snapshot
from tests.building import instance, snapshot

EAST, WEST, NORTH = (
    HealthQuery("kato", datacenter="e"),
    HealthQuery("kato", datacenter="w"),
    HealthQuery("kato"),
)
DOWN = ConsulUnreachable("http://consul.test:8500", "refused")

GOOD_E, GOOD_W = snapshot(instance("east-1")), snapshot(instance("west-1"))
CRITICAL_E = snapshot(instance("east-1", Health.CRITICAL))
CRITICAL_W = snapshot(instance("west-1", Health.CRITICAL))
WARNING = snapshot(instance("east-1", Health.WARNING))
EMPTY = snapshot()

Result = Snapshot | ConsulUnreachable | None


class Merged:
    """Datacenters whose watches return set results, one round at a time."""

    def __init__(self, *queries: HealthQuery) -> None:
        self.store = SnapshotStore("kato")
        self.results: dict[HealthQuery, Result] = {}
        self.stopped: list[HealthQuery] = []
        self.watched: list[HealthQuery] = []
        datacenters = Datacenters(self.store, queries, self._watch)
        self._flows = list(datacenters.flows())
        for flow in self._flows:
            next(flow)

    def _watch(
        self, query: HealthQuery, store: SnapshotStore, needed: Callable[[], bool]
    ) -> Flow[None]:
        self.watched.append(query)
        while needed():
            result = self.results.get(query)
            if isinstance(result, Snapshot):
                store.publish(result, 7.0)
            elif result is not None:
                store.record_error(result)
            yield Sleep(0.0)
        self.stopped.append(query)

    def round(self, **results: Result) -> Snapshot | None:
        """Set results, run the flows until nothing changes, and return the merged snapshot."""
        self.results.update(
            {{"east": EAST, "west": WEST}[name]: one for name, one in results.items()}
        )
        for _ in range(4):
            for flow in self._flows:
                step = flow.send(None)
                assert isinstance(step, Sleep | WaitForChange)
        return self.store.current


@pytest.mark.parametrize(
    ("east", "west", "expected"),
    [
        (GOOD_E, None, GOOD_E),
        (GOOD_E, GOOD_W, GOOD_E),
        (WARNING, GOOD_W, WARNING),  # a warning does not cause a failover
        (EMPTY, GOOD_W, GOOD_W),
        (CRITICAL_E, GOOD_W, GOOD_W),
        (DOWN, GOOD_W, GOOD_W),
        (None, GOOD_W, None),  # the first has not responded yet: the second is not watched
        (EMPTY, None, None),  # the second has not responded yet
        (EMPTY, EMPTY, EMPTY),
        (CRITICAL_E, EMPTY, CRITICAL_E),
        (EMPTY, CRITICAL_W, CRITICAL_W),  # critical instances are the reason why none can be used
        (CRITICAL_E, CRITICAL_W, CRITICAL_E),
        (DOWN, DOWN, None),
        (EMPTY, DOWN, EMPTY),
        (DOWN, CRITICAL_W, CRITICAL_W),
    ],
)
def test_first_datacenter_with_a_usable_instance_is_used(
    east: Result, west: Result, expected: Snapshot | None
) -> None:
    """The first datacenter with a usable instance is used; else the first with any instance."""
    assert Merged(EAST, WEST).round(east=east, west=west) == expected


def test_later_datacenter_is_watched_only_when_needed() -> None:
    """While the first has a usable instance, the second is not watched."""
    merged = Merged(EAST, WEST)
    merged.round(east=GOOD_E)
    assert merged.watched == [EAST]
    merged.round(east=EMPTY, west=GOOD_W)
    assert merged.watched == [EAST, WEST]


def test_failback_discards_the_snapshot_of_the_later_datacenter() -> None:
    """When the first has a usable instance again, it is used at once and the second watch stops.
    The next failover reads the second one again."""
    merged = Merged(EAST, WEST)
    assert merged.round(east=EMPTY, west=GOOD_W) == GOOD_W
    assert merged.round(east=GOOD_E) == GOOD_E
    assert merged.stopped == [WEST]
    assert merged.round(east=EMPTY, west=None) == GOOD_E  # until the second has responded
    assert merged.round(west=EMPTY) == EMPTY
    assert merged.watched == [EAST, WEST, WEST]


def test_datacenter_that_becomes_unreachable_keeps_its_snapshot() -> None:
    """A datacenter that becomes unreachable keeps its last good snapshot."""
    merged = Merged(EAST, WEST)
    merged.round(east=GOOD_E, west=GOOD_W)
    assert merged.round(east=DOWN) == GOOD_E
    assert merged.store.last_error is DOWN
    assert merged.watched == [EAST]


def test_error_and_confirmation_time_are_merged() -> None:
    """The merged store has the error and the time of confirmation, too."""
    merged = Merged(EAST, WEST)
    merged.round(east=DOWN, west=DOWN)
    errors = [merged.store.last_error]
    merged.round(west=GOOD_W)
    errors.append(merged.store.last_error)
    assert errors == [DOWN, None]
    assert merged.store.confirmed_at == 7.0


def test_third_datacenter_is_watched_after_the_second() -> None:
    """The third is watched only while the first two have no usable instance."""
    merged = Merged(EAST, WEST, NORTH)
    merged.results[NORTH] = snapshot(instance("north-1"))
    merged.round(east=EMPTY, west=GOOD_W)
    assert merged.watched == [EAST, WEST]
    assert merged.round(west=DOWN) == GOOD_W  # its last good one
    merged.round(west=EMPTY)
    assert merged.store.current == merged.results[NORTH]
