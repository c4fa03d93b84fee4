"""The pool: whom it names for a request, and where sessions live through bad days."""

from dataclasses import dataclass, replace

import pytest

from kato_consul._balancing.pool import Pool
from kato_consul._balancing.rendezvous import rank
from kato_consul._balancing.session_placement import BALANCE_FACTOR
from kato_consul.models import Health, Instance, Snapshot
from kato_consul.testing.clock import ManualClock
from tests.balancing.views import seeded
from tests.building import instance, snapshot

BEGIN = 1_000.0
KEY = "session-1"
A, B, C = (instance(f"kato-{name}") for name in "abc")
FIRST, SECOND, THIRD = rank(KEY, [A, B, C])
ALL = snapshot(A, B, C)


class Pools:
    """A pool on a manual clock."""

    def __init__(self, zone: str = "") -> None:
        self.clock = ManualClock(BEGIN)
        self.pool = Pool(self.clock, seeded(), zone=zone)

    def fails(self, one: Instance, took: float = 1.0) -> None:
        """The instance was refused, or silent for so long."""
        self.pool.outliers.record_failure(one.uid, self.clock(), took, eject_now=True)

    def picked(self, seen: Snapshot, *tried: Instance) -> set[str]:
        """Whom it names, of many times."""
        uids = {one.uid for one in tried}
        return {one.uid for _ in range(50) if (one := self.pool.pick(seen, uids)) is not None}


@dataclass
class Session:
    """Where one session lives and is, operation by operation."""

    pools: Pools
    home: str = ""
    at: str = ""

    def operates(self, seen: Snapshot = ALL) -> tuple[str, str]:
        """It begins an operation."""
        self.home, self.at = self.pools.pool.place_session(KEY, self.home, self.at, seen)
        return self.home, self.at


def ill(one: Instance, health: Health = Health.CRITICAL) -> Instance:
    """The instance in another health."""
    return replace(one, health=health)


# --- tiers ----------------------------------------------------------------------------------


def test_everybody() -> None:
    """Where all is well, everybody gets requests."""
    assert Pools().picked(ALL) == {A.uid, B.uid, C.uid}


def test_tiers() -> None:
    """Passing before warning, and both before those that are out; who was tried is passed over."""
    pools = Pools()
    warned, failing = ill(A, Health.WARNING), ill(B, Health.PASSING)
    seen = snapshot(warned, failing, C, ill(instance("kato-d")), instance("kato-e", weight=3))
    pools.fails(failing)
    e = instance("kato-e")
    assert pools.picked(seen) == {C.uid, "kato-e"}
    assert pools.picked(seen, C, e) == {warned.uid}
    assert pools.picked(seen, C, e, warned) == {failing.uid}
    assert pools.picked(seen, C, e, warned, failing) == set()


def test_resting() -> None:
    """Who asked to be let alone is not named at all, until the time is over."""
    pools = Pools()
    pools.pool.retry_after.record(A.uid, BEGIN + 5.0)
    assert pools.picked(ALL) == {B.uid, C.uid}
    assert pools.picked(ALL, B, C) == set()
    pools.clock.advance(5.0)
    assert A.uid in pools.picked(ALL)


def test_rest() -> None:
    """How long all of them rest is the shortest time of any."""
    pools = Pools()
    for one, seconds in ((A, 5.0), (B, 3.0), (C, 9.0)):
        assert pools.pool.retry_wait(ALL) == 0.0
        pools.pool.retry_after.record(one.uid, BEGIN + seconds)
    assert pools.pool.retry_wait(ALL) == 3.0


def test_who_left_is_forgotten() -> None:
    """An instance that leaves and comes back is not held to what it was."""
    pools = Pools()
    pools.pool.update(ALL)
    pools.fails(A)
    pools.pool.update(snapshot(B, C))
    pools.pool.update(ALL)
    assert not pools.pool.outliers.is_ejected(A.uid, BEGIN)


# --- sessions -------------------------------------------------------------------------------


def test_home() -> None:
    """A session's home is its first choice, and it is there."""
    session = Session(Pools())
    assert session.operates() == (FIRST.uid, FIRST.uid)
    assert session.pools.pool.placement[FIRST.uid] == 1


def test_bounded_load() -> None:
    """Many sessions are spread within the bound, whatever their hashes say."""
    pools = Pools()
    for number in range(300):
        pools.pool.place_session(f"session-{number}", "", "", ALL)
    assert max(pools.pool.placement[one.uid] for one in ALL.instances) <= 100 * BALANCE_FACTOR + 1


def test_instance_joins() -> None:
    """A session stays when an instance joins, also one that it would have preferred."""
    session = Session(Pools())
    session.operates(snapshot(SECOND, THIRD))
    assert session.operates(ALL) == (SECOND.uid, SECOND.uid)


@pytest.mark.parametrize("gone", [True, False])
def test_home_leaves(gone: bool) -> None:
    """When its home drains, or is deregistered, it gets another one; and keeps that."""
    session = Session(Pools())
    session.operates()
    without = (
        snapshot(SECOND, THIRD) if gone else snapshot(ill(FIRST, Health.MAINTENANCE), SECOND, THIRD)
    )
    assert session.operates(without) == (SECOND.uid, SECOND.uid)
    assert session.operates(ALL) == (SECOND.uid, SECOND.uid)
    assert session.pools.pool.placement[FIRST.uid] == 0


def test_home_is_critical() -> None:
    """While Consul calls its home critical it is elsewhere, and comes back after that."""
    session = Session(Pools())
    session.operates()
    assert session.operates(snapshot(ill(FIRST), SECOND, THIRD)) == (FIRST.uid, SECOND.uid)
    assert session.operates(ALL) == (FIRST.uid, FIRST.uid)


def test_home_has_a_warning() -> None:
    """A warning moves no session, since KATO gives one when it is busy; new ones go by it."""
    session = Session(Pools())
    session.operates()
    warned = snapshot(ill(FIRST, Health.WARNING), SECOND, THIRD)
    assert session.operates(warned) == (FIRST.uid, FIRST.uid)
    assert Session(Pools()).operates(warned) == (SECOND.uid, SECOND.uid)


def test_home_fails() -> None:
    """While our own eyes say so it is at its next choice, and stays there; then it comes home."""
    session = Session(Pools())
    session.operates()
    session.pools.fails(FIRST, took=10.0)
    assert session.operates() == (FIRST.uid, SECOND.uid)
    assert session.operates() == (FIRST.uid, SECOND.uid)
    session.pools.clock.advance(10.0)
    assert session.operates() == (FIRST.uid, FIRST.uid)


def test_coming_home_is_a_probe() -> None:
    """While one tries a home that was out, others stay away."""
    pools = Pools()
    one, other = Session(pools), Session(pools)
    for session in (one, other):
        session.operates()
    pools.fails(FIRST)
    pools.clock.advance(1.0)
    assert one.operates()[1] == FIRST.uid
    pools.pool.outliers.attempt_started(FIRST.uid, pools.clock(), 10.0)
    assert other.operates()[1] == SECOND.uid


def test_the_next_choice_fails_too() -> None:
    """One that is elsewhere goes on when that fails as well."""
    session = Session(Pools())
    session.operates()
    session.pools.fails(FIRST, took=30.0)
    session.operates()
    seen = snapshot(FIRST, ill(SECOND), THIRD)
    assert session.operates(seen) == (FIRST.uid, THIRD.uid)


def test_everybody_fails() -> None:
    """When all are out, it is at home: nobody is better."""
    session = Session(Pools())
    session.operates()
    for one in (A, B, C):
        session.pools.fails(one)
    assert session.operates() == (FIRST.uid, FIRST.uid)


def test_nobody_there() -> None:
    """With nobody to ask it is nowhere, and remembers its home unless that left."""
    session = Session(Pools())
    session.operates()
    assert session.operates(snapshot(ill(FIRST))) == (FIRST.uid, "")
    assert session.operates(ALL) == (FIRST.uid, FIRST.uid)
    assert session.operates(snapshot()) == ("", "")


def test_zone() -> None:
    """A session lives in its client's zone while anybody there can be used."""
    far, near = (replace(one, meta={"zone": zone}) for one, zone in ((FIRST, "b"), (SECOND, "a")))
    session = Session(Pools(zone="a"))
    assert session.operates(snapshot(far, near)) == (near.uid, near.uid)
    assert session.operates(snapshot(far, ill(near))) == (near.uid, far.uid)


# --- both signals ---------------------------------------------------------------------------


def test_seen() -> None:
    """What Consul says and what we saw are shown side by side."""
    pools = Pools()
    session = Session(pools)
    session.operates()
    pools.fails(FIRST, took=4.0)
    token = pools.pool.load.started(SECOND.uid)
    found = {one.instance.uid: one for one in pools.pool.views(ALL)}
    first, second = found[FIRST.uid], found[SECOND.uid]
    assert (first.instance.health, first.ejected_for, first.sessions) == (Health.PASSING, 4.0, 1)
    assert (second.ejected_for, second.outstanding, second.mean_latency) == (0.0, 1, 0.0)
    pools.pool.load.abandoned(SECOND.uid, token)
