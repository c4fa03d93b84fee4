"""Snapshot store: one writer, many readers, and when listeners are notified."""

from contextlib import ExitStack

import pytest

from kato_consul._observable import SnapshotStore
from kato_consul.errors import ConsulUnreachable
from kato_consul.models import Health, Snapshot, Source
from tests.building import instance, snapshot

UNREACHABLE = ConsulUnreachable("http://consul.test:8500", "refused")


class Listener:
    """Counts its calls."""

    calls = 0

    def __call__(self) -> None:
        self.calls += 1


def test_new_store_is_empty() -> None:
    """Before the first response there is neither a snapshot nor an error."""
    store = SnapshotStore("kato")
    assert (store.service, store.current, store.last_error) == ("kato", None, None)


def test_change_notifies_all_listeners() -> None:
    """Each change is published, and every listener is called once."""
    store, one, other = SnapshotStore("kato"), Listener(), Listener()
    first, second = snapshot(instance()), snapshot(instance(health=Health.CRITICAL))
    with store.listening(one), store.listening(other):
        store.publish(first)
        assert store.current is first
        store.publish(second)
        assert store.current is second
    assert (one.calls, other.calls) == (2, 2)


def test_equal_snapshot_notifies_no_listener() -> None:
    """A snapshot that a client would treat alike calls no listener."""
    store, listener = SnapshotStore("kato"), Listener()
    store.publish(snapshot(instance(), index=1))
    with store.listening(listener):
        store.publish(snapshot(instance(output="checked again"), index=2))
    assert listener.calls == 0


def test_error_keeps_the_last_good_snapshot() -> None:
    """While Consul is unreachable the last good snapshot stays, and no listener is called."""
    store, listener = SnapshotStore("kato"), Listener()
    store.publish(snapshot(instance()))
    with store.listening(listener):
        store.record_error(UNREACHABLE)
    assert (store.current, store.last_error) == (snapshot(instance()), UNREACHABLE)
    assert listener.calls == 0


def test_error_before_the_first_response_notifies_listeners() -> None:
    """An error notifies a listener that waits for the first snapshot: there may never be one."""
    store, listener = SnapshotStore("kato"), Listener()
    with store.listening(listener):
        store.record_error(UNREACHABLE)
    assert (store.current, store.last_error, listener.calls) == (None, UNREACHABLE, 1)


def test_snapshot_clears_the_error() -> None:
    """A snapshot clears the error, also if it is equal to the last one."""
    store = SnapshotStore("kato")
    store.publish(snapshot(instance()))
    store.record_error(UNREACHABLE)
    store.publish(snapshot(instance()))
    assert store.last_error is None


def test_listener_is_not_called_after_its_block() -> None:
    """After the block, also if it raised, the listener is not called."""
    store, listener = SnapshotStore("kato"), Listener()
    with pytest.raises(KeyError), store.listening(listener):
        raise KeyError
    store.publish(snapshot(instance()))
    assert listener.calls == 0


def test_listener_may_be_removed_by_another() -> None:
    """A listener may remove another one while listeners are being called."""
    store, listener = SnapshotStore("kato"), Listener()
    other = ExitStack()
    with store.listening(other.close):
        other.enter_context(store.listening(listener))
        store.publish(snapshot(instance()))
        store.publish(snapshot())
    assert listener.calls == 1


# --- the fallback until Consul responds -----------------------------------------------------

STATIC = Snapshot("kato", (instance("given"),), source=Source.STATIC)
SAVED = Snapshot("kato", (instance(),), source=Source.DISK)


@pytest.mark.parametrize(("fallback", "confirmed"), [(STATIC, None), (SAVED, -500.0)])
def test_first_error_publishes_the_fallback(fallback: Snapshot, confirmed: float | None) -> None:
    """The first error publishes the fallback, with the time of Consul's confirmation."""
    store, listener = (
        SnapshotStore("kato", fallback=fallback, fallback_confirmed_at=confirmed),
        Listener(),
    )
    assert not store.current
    with store.listening(listener):
        store.record_error(UNREACHABLE)
        store.record_error(UNREACHABLE)
    assert store.current is fallback
    assert (store.last_error, listener.calls) == (UNREACHABLE, 1)
    assert (store.confirmed_at, store.empty_since) == (confirmed, None)


def test_snapshot_replaces_the_fallback() -> None:
    """Consul's snapshot replaces it, also one with equal content, because the source differs."""
    store = SnapshotStore("kato", fallback=SAVED, fallback_confirmed_at=-500.0)
    store.record_error(UNREACHABLE)
    store.publish(snapshot(instance()), 10.0)
    assert store.current is not None
    assert (store.current.source, store.confirmed_at) == (Source.CONSUL, 10.0)
    store.record_error(UNREACHABLE)
    assert store.current.source is Source.CONSUL


@pytest.mark.parametrize("first", [UNREACHABLE, None])
def test_empty_snapshot_does_not_replace_a_static_list(first: ConsulUnreachable | None) -> None:
    """An empty snapshot does not replace a static list, until Consul has reported an instance."""
    store = SnapshotStore("kato", fallback=STATIC)
    if first is not None:
        store.record_error(first)
    store.publish(snapshot(), 10.0)
    assert (store.current, store.last_error, store.empty_since) == (STATIC, None, None)
    store.publish(snapshot(instance()), 11.0)
    store.publish(snapshot(), 12.0)
    assert (store.current, store.empty_since) == (snapshot(), 12.0)


def test_empty_snapshot_replaces_a_saved_snapshot() -> None:
    """A saved snapshot is only an earlier response of Consul."""
    store = SnapshotStore("kato", fallback=SAVED, fallback_confirmed_at=-500.0)
    store.record_error(UNREACHABLE)
    store.publish(snapshot(), 10.0)
    assert store.current == snapshot()


# --- times ----------------------------------------------------------------------------------


@pytest.mark.parametrize("unusable", [snapshot(), snapshot(instance(health=Health.CRITICAL))])
def test_empty_since_is_the_first_time_without_a_usable_instance(unusable: Snapshot) -> None:
    """The time stays through other snapshots and errors, until an instance is usable."""
    store = SnapshotStore("kato")
    store.publish(snapshot(instance()), 10.0)
    assert store.empty_since is None
    store.publish(unusable, 11.0)
    store.publish(snapshot(instance("other", Health.MAINTENANCE)), 12.0)
    store.record_error(UNREACHABLE)
    assert store.empty_since == 11.0
    store.publish(snapshot(instance()), 13.0)
    assert store.empty_since is None


def test_snapshot_is_confirmed_by_each_response() -> None:
    """Each response confirms the snapshot; an error does not."""
    store = SnapshotStore("kato")
    assert store.confirmed_at is None
    store.publish(snapshot(instance()), 10.0)
    store.publish(snapshot(instance()), 70.0)
    store.record_error(UNREACHABLE)
    assert store.confirmed_at == 70.0
