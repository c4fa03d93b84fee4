"""Zones: near ones first, and how much spills over when few of them are left."""

from dataclasses import replace

import pytest

from kato_consul._balancing.zones import prefer_zone
from kato_consul.models import Health, Instance, Snapshot
from tests.balancing.views import seeded
from tests.building import instance, snapshot


def pool(here: int, ill: int, elsewhere: int) -> tuple[list[Instance], Snapshot]:
    """Usable ones here and elsewhere, and ill ones here; and the snapshot of all."""
    well = [_in("a", instance(f"here-{n}")) for n in range(here)]
    critical = [_in("a", instance(f"ill-{n}", Health.CRITICAL)) for n in range(ill)]
    others = [_in("b", instance(f"there-{n}")) for n in range(elsewhere)]
    return [*well, *others], snapshot(*well, *critical, *others)


def _in(zone: str, one: Instance) -> Instance:
    return replace(one, meta={"zone": zone})


@pytest.mark.parametrize(
    ("here", "ill", "elsewhere", "local"),
    [
        (3, 0, 3, 1.0),
        (3, 1, 3, 1.0),  # 75 % of the zone: 105 %
        (2, 1, 3, 0.933),  # 67 %: the rest spills over
        (1, 1, 3, 0.7),
        (1, 3, 3, 0.35),
        (0, 3, 3, 0.0),
    ],
)
def test_share(here: int, ill: int, elsewhere: int, local: float) -> None:
    """The share that stays here, as Envoy's priority levels have it."""
    among, seen = pool(here, ill, elsewhere)
    random = seeded()
    times = 2_000
    stayed = sum(prefer_zone(among, "a", seen, random)[0].zone == "a" for _ in range(times))
    if here:
        assert stayed / times == pytest.approx(local, abs=0.04)
    else:
        assert prefer_zone(among, "a", seen, random) == among


@pytest.mark.parametrize(("zone", "here", "elsewhere"), [("", 2, 2), ("c", 2, 2), ("a", 2, 0)])
def test_no_choice(zone: str, here: int, elsewhere: int) -> None:
    """Without a zone of our own, or with all in one, nobody is preferred."""
    among, seen = pool(here, 2, elsewhere)
    assert prefer_zone(among, zone, seen, seeded()) == among
