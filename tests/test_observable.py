"""The board: one writer, many readers, and who is woken when."""

from contextlib import ExitStack

import pytest

from kato_consul._observable import SnapshotStore
from kato_consul.errors import ConsulUnreachable
from kato_consul.models import Health, Snapshot, Source
from tests.building import instance, snapshot

AWAY = ConsulUnreachable("http://consul.test:8500", "refused")


class Bell:
    """A listener that counts."""

    rings = 0

    def __call__(self) -> None:
        self.rings += 1


def test_empty_at_first() -> None:
    """Before the first answer there is neither a snapshot nor trouble."""
    store = SnapshotStore("kato")
    assert (store.service, store.current, store.last_error) == ("kato", None, None)


def test_change_wakes_all() -> None:
    """Each change is shown to readers and rings every bell once."""
    store, one, other = SnapshotStore("kato"), Bell(), Bell()
    first, second = snapshot(instance()), snapshot(instance(health=Health.CRITICAL))
    with store.listening(one), store.listening(other):
        store.publish(first)
        assert store.current is first
        store.publish(second)
        assert store.current is second
    assert (one.rings, other.rings) == (2, 2)


def test_same_again_wakes_nobody() -> None:
    """An answer that changes nothing a client acts on rings no bell."""
    store, bell = SnapshotStore("kato"), Bell()
    store.publish(snapshot(instance(), index=1))
    with store.listening(bell):
        store.publish(snapshot(instance(output="checked again"), index=2))
    assert bell.rings == 0


def test_trouble_keeps_the_last_good_one() -> None:
    """While Consul is away the last good snapshot stays, and nobody is woken for nothing."""
    store, bell = SnapshotStore("kato"), Bell()
    store.publish(snapshot(instance()))
    with store.listening(bell):
        store.record_error(AWAY)
    assert (store.current, store.last_error) == (snapshot(instance()), AWAY)
    assert bell.rings == 0


def test_trouble_before_the_first_answer() -> None:
    """Who waits for the first snapshot is woken by trouble: it may be all there will be."""
    store, bell = SnapshotStore("kato"), Bell()
    with store.listening(bell):
        store.record_error(AWAY)
    assert (store.current, store.last_error, bell.rings) == (None, AWAY, 1)


def test_answer_ends_trouble() -> None:
    """An answer ends the trouble, also one that changes nothing."""
    store = SnapshotStore("kato")
    store.publish(snapshot(instance()))
    store.record_error(AWAY)
    store.publish(snapshot(instance()))
    assert store.last_error is None


def test_listening_ends() -> None:
    """After the block, also one that failed, the bell stays silent."""
    store, bell = SnapshotStore("kato"), Bell()
    with pytest.raises(KeyError), store.listening(bell):
        raise KeyError
    store.publish(snapshot(instance()))
    assert bell.rings == 0


def test_listener_may_leave_while_woken() -> None:
    """A bell that makes another one leave does not disturb the round."""
    store, bell = SnapshotStore("kato"), Bell()
    leaving = ExitStack()
    with store.listening(leaving.close):
        leaving.enter_context(store.listening(bell))
        store.publish(snapshot(instance()))
        store.publish(snapshot())
    assert bell.rings == 1


# --- what there is to go by until Consul answers --------------------------------------------

LIST = Snapshot("kato", (instance("given"),), source=Source.STATIC)
COPY = Snapshot("kato", (instance(),), source=Source.DISK)


@pytest.mark.parametrize(("fallback", "confirmed"), [(LIST, None), (COPY, -500.0)])
def test_fallback(fallback: Snapshot, confirmed: float | None) -> None:
    """At the first trouble, and not before, the fallback is shown, with when Consul said so."""
    store, bell = SnapshotStore("kato", fallback=fallback, fallback_confirmed_at=confirmed), Bell()
    assert not store.current
    with store.listening(bell):
        store.record_error(AWAY)
        store.record_error(AWAY)
    assert store.current is fallback
    assert (store.last_error, bell.rings) == (AWAY, 1)
    assert (store.confirmed_at, store.empty_since) == (confirmed, None)


def test_answer_ends_the_fallback() -> None:
    """Consul's answer takes its place, also one with the same content: its source is another."""
    store = SnapshotStore("kato", fallback=COPY, fallback_confirmed_at=-500.0)
    store.record_error(AWAY)
    store.publish(snapshot(instance()), 10.0)
    assert store.current is not None
    assert (store.current.source, store.confirmed_at) == (Source.CONSUL, 10.0)
    store.record_error(AWAY)
    assert store.current.source is Source.CONSUL


@pytest.mark.parametrize("first", [AWAY, None])
def test_nobody_does_not_end_a_list(first: ConsulUnreachable | None) -> None:
    """That Consul has nobody is no reason to give up a list that was given; once it had somebody,
    it is believed."""
    store = SnapshotStore("kato", fallback=LIST)
    if first is not None:
        store.record_error(first)
    store.publish(snapshot(), 10.0)
    assert (store.current, store.last_error, store.empty_since) == (LIST, None, None)
    store.publish(snapshot(instance()), 11.0)
    store.publish(snapshot(), 12.0)
    assert (store.current, store.empty_since) == (snapshot(), 12.0)


def test_nobody_ends_a_copy() -> None:
    """A copy is only what Consul said before."""
    store = SnapshotStore("kato", fallback=COPY, fallback_confirmed_at=-500.0)
    store.record_error(AWAY)
    store.publish(snapshot(), 10.0)
    assert store.current == snapshot()


# --- since when -----------------------------------------------------------------------------


@pytest.mark.parametrize("nobody", [snapshot(), snapshot(instance(health=Health.CRITICAL))])
def test_empty_since(nobody: Snapshot) -> None:
    """It is known since when nobody can be used, through whatever Consul says of others."""
    store = SnapshotStore("kato")
    store.publish(snapshot(instance()), 10.0)
    assert store.empty_since is None
    store.publish(nobody, 11.0)
    store.publish(snapshot(instance("other", Health.MAINTENANCE)), 12.0)
    store.record_error(AWAY)
    assert store.empty_since == 11.0
    store.publish(snapshot(instance()), 13.0)
    assert store.empty_since is None


def test_confirmed() -> None:
    """Each answer confirms what is shown; trouble does not."""
    store = SnapshotStore("kato")
    assert store.confirmed_at is None
    store.publish(snapshot(instance()), 10.0)
    store.publish(snapshot(instance()), 70.0)
    store.record_error(AWAY)
    assert store.confirmed_at == 70.0
