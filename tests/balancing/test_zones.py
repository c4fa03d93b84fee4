"""Zone preference: local instances first, and the share that spills over."""

from dataclasses import replace

import pytest

from kato_consul._balancing.zones import prefer_zone
from kato_consul.models import Health, Instance, Snapshot
from tests.balancing.fake_pool_view import seeded
from tests.building import instance, snapshot


def zoned_pool(local: int, critical: int, remote: int) -> tuple[list[Instance], Snapshot]:
    """Return the usable instances in zones a and b, and the snapshot with critical ones in a."""
    near = [_in("a", instance(f"near-{n}")) for n in range(local)]
    unusable = [_in("a", instance(f"critical-{n}", Health.CRITICAL)) for n in range(critical)]
    far = [_in("b", instance(f"far-{n}")) for n in range(remote)]
    return [*near, *far], snapshot(*near, *unusable, *far)


def _in(zone: str, one: Instance) -> Instance:
    return replace(one, meta={"zone": zone})


@pytest.mark.parametrize(
    ("local", "critical", "remote", "share"),
    [
        (3, 0, 3, 1.0),
        (3, 1, 3, 1.0),  # 75 % of the zone usable: 105 %
        (2, 1, 3, 0.933),  # 67 % usable: the rest spills over
        (1, 1, 3, 0.7),
        (1, 3, 3, 0.35),
        (0, 3, 3, 0.0),
    ],
)
def test_local_share(local: int, critical: int, remote: int, share: float) -> None:
    """The share of requests that stays local is that of Envoy's priority levels."""
    among, instances = zoned_pool(local, critical, remote)
    random = seeded()
    times = 2_000
    stayed = sum(prefer_zone(among, "a", instances, random)[0].zone == "a" for _ in range(times))
    if local:
        assert stayed / times == pytest.approx(share, abs=0.04)
    else:
        assert prefer_zone(among, "a", instances, random) == among


@pytest.mark.parametrize(("zone", "local", "remote"), [("", 2, 2), ("c", 2, 2), ("a", 2, 0)])
def test_no_zone_to_prefer(zone: str, local: int, remote: int) -> None:
    """Without a client zone, or with all instances in one, none is preferred."""
    among, instances = zoned_pool(local, 2, remote)
    assert prefer_zone(among, zone, instances, seeded()) == among
