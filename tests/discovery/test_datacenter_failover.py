"""Several datacenters: whose snapshot is shown, and who is asked at all."""

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
AWAY = ConsulUnreachable("http://consul.test:8500", "refused")

WELL_E, WELL_W = snapshot(instance("east-1")), snapshot(instance("west-1"))
ILL_E = snapshot(instance("east-1", Health.CRITICAL))
ILL_W = snapshot(instance("west-1", Health.CRITICAL))
WARNED = snapshot(instance("east-1", Health.WARNING))
EMPTY = snapshot()

Said = Snapshot | ConsulUnreachable | None


class Merged:
    """Datacenters whose watches say what they are told to, one round at a time."""

    def __init__(self, *queries: HealthQuery) -> None:
        self.store = SnapshotStore("kato")
        self.said: dict[HealthQuery, Said] = {}
        self.ends: list[HealthQuery] = []
        self.asked: list[HealthQuery] = []
        datacenters = Datacenters(self.store, queries, self._watch)
        self._flows = list(datacenters.flows())
        for flow in self._flows:
            next(flow)

    def _watch(
        self, query: HealthQuery, store: SnapshotStore, go_on: Callable[[], bool]
    ) -> Flow[None]:
        self.asked.append(query)
        while go_on():
            said = self.said.get(query)
            if isinstance(said, Snapshot):
                store.publish(said, 7.0)
            elif said is not None:
                store.record_error(said)
            yield Sleep(0.0)
        self.ends.append(query)

    def round(self, **said: Said) -> Snapshot | None:
        """Let each say something, and all come to rest; what is shown then."""
        self.said.update({{"east": EAST, "west": WEST}[name]: one for name, one in said.items()})
        for _ in range(4):
            for flow in self._flows:
                step = flow.send(None)
                assert isinstance(step, Sleep | WaitForChange)
        return self.store.current


@pytest.mark.parametrize(
    ("east", "west", "shown"),
    [
        (WELL_E, None, WELL_E),
        (WELL_E, WELL_W, WELL_E),
        (WARNED, WELL_W, WARNED),  # a warning is no reason to go far away
        (EMPTY, WELL_W, WELL_W),
        (ILL_E, WELL_W, WELL_W),
        (AWAY, WELL_W, WELL_W),
        (None, WELL_W, None),  # the first has not answered yet: the second is not even asked
        (EMPTY, None, None),  # the second has not answered yet
        (EMPTY, EMPTY, EMPTY),
        (ILL_E, EMPTY, ILL_E),
        (EMPTY, ILL_W, ILL_W),  # who is there but ill says why nobody can be used
        (ILL_E, ILL_W, ILL_E),
        (AWAY, AWAY, None),
        (EMPTY, AWAY, EMPTY),
        (AWAY, ILL_W, ILL_W),
    ],
)
def test_first_with_somebody(east: Said, west: Said, shown: Snapshot | None) -> None:
    """The first datacenter with an instance to use is shown; else the first with any at all."""
    assert Merged(EAST, WEST).round(east=east, west=west) == shown


def test_others_are_not_asked() -> None:
    """While the first has somebody, nobody looks into the second."""
    merged = Merged(EAST, WEST)
    merged.round(east=WELL_E)
    assert merged.asked == [EAST]
    merged.round(east=EMPTY, west=WELL_W)
    assert merged.asked == [EAST, WEST]


def test_there_and_back() -> None:
    """When the first has somebody again it is used at once, and the second is left in peace; the
    next time that one is asked anew, and not taken for what it was."""
    merged = Merged(EAST, WEST)
    assert merged.round(east=EMPTY, west=WELL_W) == WELL_W
    assert merged.round(east=WELL_E) == WELL_E
    assert merged.ends == [WEST]
    assert merged.round(east=EMPTY, west=None) == WELL_E  # until the second has answered
    assert merged.round(west=EMPTY) == EMPTY
    assert merged.asked == [EAST, WEST, WEST]


def test_away_later() -> None:
    """A datacenter that cannot be reached any more keeps its last good snapshot."""
    merged = Merged(EAST, WEST)
    merged.round(east=WELL_E, west=WELL_W)
    assert merged.round(east=AWAY) == WELL_E
    assert merged.store.last_error is AWAY
    assert merged.asked == [EAST]


def test_trouble_and_age() -> None:
    """Trouble is shown beside the snapshot, and so is when it was confirmed."""
    merged = Merged(EAST, WEST)
    merged.round(east=AWAY, west=AWAY)
    troubles = [merged.store.last_error]
    merged.round(west=WELL_W)
    troubles.append(merged.store.last_error)
    assert troubles == [AWAY, None]
    assert merged.store.confirmed_at == 7.0


def test_three() -> None:
    """The third is asked only when the first two have nobody."""
    merged = Merged(EAST, WEST, NORTH)
    merged.said[NORTH] = snapshot(instance("north-1"))
    merged.round(east=EMPTY, west=WELL_W)
    assert merged.asked == [EAST, WEST]
    assert merged.round(west=AWAY) == WELL_W  # its last good one
    merged.round(west=EMPTY)
    assert merged.store.current == merged.said[NORTH]
