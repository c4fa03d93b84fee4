"""The pool: which instance gets a request, and where sessions are while instances fail."""

from dataclasses import dataclass, replace

import pytest

from kato_consul._balancing.pool import Pool
from kato_consul._balancing.rendezvous import rank
from kato_consul._balancing.session_placement import BALANCE_FACTOR
from kato_consul.models import Health, Instance, Snapshot
from kato_consul.testing.clock import ManualClock
from tests.balancing.fake_pool_view import seeded
from tests.building import instance, snapshot

BEGIN = 1_000.0
KEY = "session-1"
A, B, C = (instance(f"kato-{name}") for name in "abc")
FIRST, SECOND, THIRD = rank(KEY, [A, B, C])
ALL = snapshot(A, B, C)


class PoolFixture:
    """A pool on a manual clock."""

    def __init__(self, zone: str = "") -> None:
        self.clock = ManualClock(BEGIN)
        self.pool = Pool(self.clock, seeded(), zone=zone)

    def eject(self, one: Instance, took: float = 1.0) -> None:
        """Record a failure that ejects the instance."""
        self.pool.outliers.record_failure(one.uid, self.clock(), took, eject_now=True)

    def picked(self, current: Snapshot, *tried: Instance) -> set[str]:
        """Return the uids of all instances that 50 picks return."""
        uids = {one.uid for one in tried}
        return {one.uid for _ in range(50) if (one := self.pool.pick(current, uids)) is not None}


@dataclass
class Session:
    """A session's primary and current instance, operation by operation."""

    fixture: PoolFixture
    primary: str = ""
    current: str = ""

    def start_operation(self, instances: Snapshot = ALL) -> tuple[str, str]:
        """Place the session for an operation. Return its primary and current instance."""
        self.primary, self.current = self.fixture.pool.place_session(
            KEY, self.primary, self.current, instances
        )
        return self.primary, self.current


def with_health(one: Instance, health: Health = Health.CRITICAL) -> Instance:
    """Return the instance with another health."""
    return replace(one, health=health)


# --- tiers ----------------------------------------------------------------------------------


def test_all_healthy_instances_are_picked() -> None:
    """If all instances are healthy, all get requests."""
    assert PoolFixture().picked(ALL) == {A.uid, B.uid, C.uid}


def test_tiers_in_order() -> None:
    """Passing before warning, both before ejected ones; instances already tried are skipped."""
    fixture = PoolFixture()
    warned, failing = with_health(A, Health.WARNING), with_health(B, Health.PASSING)
    instances = snapshot(
        warned, failing, C, with_health(instance("kato-d")), instance("kato-e", weight=3)
    )
    fixture.eject(failing)
    e = instance("kato-e")
    assert fixture.picked(instances) == {C.uid, "kato-e"}
    assert fixture.picked(instances, C, e) == {warned.uid}
    assert fixture.picked(instances, C, e, warned) == {failing.uid}
    assert fixture.picked(instances, C, e, warned, failing) == set()


def test_retry_after_excludes_an_instance() -> None:
    """An instance is not picked at all until its ``Retry-After`` has passed."""
    fixture = PoolFixture()
    fixture.pool.retry_after.record(A.uid, BEGIN + 5.0)
    assert fixture.picked(ALL) == {B.uid, C.uid}
    assert fixture.picked(ALL, B, C) == set()
    fixture.clock.advance(5.0)
    assert A.uid in fixture.picked(ALL)


def test_retry_wait_is_the_shortest() -> None:
    """If all instances are waiting, the wait is the shortest of theirs."""
    fixture = PoolFixture()
    for one, seconds in ((A, 5.0), (B, 3.0), (C, 9.0)):
        assert fixture.pool.retry_wait(ALL) == 0.0
        fixture.pool.retry_after.record(one.uid, BEGIN + seconds)
    assert fixture.pool.retry_wait(ALL) == 3.0


def test_removed_instance_has_no_record() -> None:
    """An instance that leaves and returns starts without a record."""
    fixture = PoolFixture()
    fixture.pool.update(ALL)
    fixture.eject(A)
    fixture.pool.update(snapshot(B, C))
    fixture.pool.update(ALL)
    assert not fixture.pool.outliers.is_ejected(A.uid, BEGIN)


# --- sessions -------------------------------------------------------------------------------


def test_new_session_gets_its_first_choice() -> None:
    """A session's primary is its first choice, and also its current instance."""
    session = Session(PoolFixture())
    assert session.start_operation() == (FIRST.uid, FIRST.uid)
    assert session.fixture.pool.placement[FIRST.uid] == 1


def test_sessions_are_bounded() -> None:
    """Many sessions are spread within the bound, whatever their hashes are."""
    fixture = PoolFixture()
    for number in range(300):
        fixture.pool.place_session(f"session-{number}", "", "", ALL)
    assert max(fixture.pool.placement[one.uid] for one in ALL.instances) <= 100 * BALANCE_FACTOR + 1


def test_session_stays_when_an_instance_joins() -> None:
    """A session stays even if it would have preferred the new instance."""
    session = Session(PoolFixture())
    session.start_operation(snapshot(SECOND, THIRD))
    assert session.start_operation(ALL) == (SECOND.uid, SECOND.uid)


@pytest.mark.parametrize("deregistered", [True, False])
def test_session_moves_when_its_primary_leaves(deregistered: bool) -> None:
    """When its primary drains or is deregistered, a session gets another one and keeps it."""
    session = Session(PoolFixture())
    session.start_operation()
    without = (
        snapshot(SECOND, THIRD)
        if deregistered
        else snapshot(with_health(FIRST, Health.MAINTENANCE), SECOND, THIRD)
    )
    assert session.start_operation(without) == (SECOND.uid, SECOND.uid)
    assert session.start_operation(ALL) == (SECOND.uid, SECOND.uid)
    assert session.fixture.pool.placement[FIRST.uid] == 0


def test_session_returns_after_its_primary_was_critical() -> None:
    """While its primary is critical a session is elsewhere; then it returns."""
    session = Session(PoolFixture())
    session.start_operation()
    assert session.start_operation(snapshot(with_health(FIRST), SECOND, THIRD)) == (
        FIRST.uid,
        SECOND.uid,
    )
    assert session.start_operation(ALL) == (FIRST.uid, FIRST.uid)


def test_warning_moves_no_session() -> None:
    """A warning moves no session, since a busy KATO has one; new sessions avoid it."""
    session = Session(PoolFixture())
    session.start_operation()
    warned = snapshot(with_health(FIRST, Health.WARNING), SECOND, THIRD)
    assert session.start_operation(warned) == (FIRST.uid, FIRST.uid)
    assert Session(PoolFixture()).start_operation(warned) == (SECOND.uid, SECOND.uid)


def test_session_returns_after_its_primary_was_ejected() -> None:
    """While its primary is ejected a session stays at its next choice; then it returns."""
    session = Session(PoolFixture())
    session.start_operation()
    session.fixture.eject(FIRST, took=10.0)
    assert session.start_operation() == (FIRST.uid, SECOND.uid)
    assert session.start_operation() == (FIRST.uid, SECOND.uid)
    session.fixture.clock.advance(10.0)
    assert session.start_operation() == (FIRST.uid, FIRST.uid)


def test_first_return_is_a_probe() -> None:
    """While one session probes a primary that was ejected, others stay away."""
    fixture = PoolFixture()
    first, second = Session(fixture), Session(fixture)
    for session in (first, second):
        session.start_operation()
    fixture.eject(FIRST)
    fixture.clock.advance(1.0)
    assert first.start_operation()[1] == FIRST.uid
    fixture.pool.outliers.attempt_started(FIRST.uid, fixture.clock(), 10.0)
    assert second.start_operation()[1] == SECOND.uid


def test_session_moves_on_when_its_next_choice_fails() -> None:
    """A session away from its primary moves on when that instance fails as well."""
    session = Session(PoolFixture())
    session.start_operation()
    session.fixture.eject(FIRST, took=30.0)
    session.start_operation()
    instances = snapshot(FIRST, with_health(SECOND), THIRD)
    assert session.start_operation(instances) == (FIRST.uid, THIRD.uid)


def test_session_stays_when_all_are_ejected() -> None:
    """If all instances are ejected, a session is on its primary: none is better."""
    session = Session(PoolFixture())
    session.start_operation()
    for one in (A, B, C):
        session.fixture.eject(one)
    assert session.start_operation() == (FIRST.uid, FIRST.uid)


def test_session_without_usable_instance() -> None:
    """Without a usable instance it has no current one, and keeps its primary unless that left."""
    session = Session(PoolFixture())
    session.start_operation()
    assert session.start_operation(snapshot(with_health(FIRST))) == (FIRST.uid, "")
    assert session.start_operation(ALL) == (FIRST.uid, FIRST.uid)
    assert session.start_operation(snapshot()) == ("", "")


def test_session_is_placed_in_the_client_zone() -> None:
    """A session is in its client's zone while an instance there is usable."""
    far, near = (replace(one, meta={"zone": zone}) for one, zone in ((FIRST, "b"), (SECOND, "a")))
    session = Session(PoolFixture(zone="a"))
    assert session.start_operation(snapshot(far, near)) == (near.uid, near.uid)
    assert session.start_operation(snapshot(far, with_health(near))) == (near.uid, far.uid)


# --- views ----------------------------------------------------------------------------------


def test_views() -> None:
    """A view has the health in Consul and what the client measured."""
    fixture = PoolFixture()
    session = Session(fixture)
    session.start_operation()
    fixture.eject(FIRST, took=4.0)
    token = fixture.pool.load.started(SECOND.uid)
    views = {view.instance.uid: view for view in fixture.pool.views(ALL)}
    first, second = views[FIRST.uid], views[SECOND.uid]
    assert (first.instance.health, first.ejected_for, first.sessions) == (Health.PASSING, 4.0, 1)
    assert (second.ejected_for, second.outstanding, second.mean_latency) == (0.0, 1, 0.0)
    fixture.pool.load.abandoned(SECOND.uid, token)


def test_critical_instances_serve_where_the_settings_allow_it() -> None:
    """With ``use_critical`` and no healthy instance, requests and sessions use critical ones."""
    critical = snapshot(*(instance(f"k{i}", Health.CRITICAL) for i in "12"))
    panic = replace(critical, use_critical=True)
    pool = Pool(ManualClock(0.0), seeded())
    assert {pool.pick(panic, ()).uid for _ in range(50)} == {"k1", "k2"}  # type: ignore[union-attr]
    primary, current = pool.place_session("s", "", "", panic)
    assert primary == current in {"k1", "k2"}
    assert pool.available(panic, current) is not None
    healthy = snapshot(instance("k1", Health.CRITICAL), instance("k2"))
    assert pool.pick(replace(healthy, use_critical=True), ()) == instance("k2")
    assert pool.pick(critical, ()) is None
