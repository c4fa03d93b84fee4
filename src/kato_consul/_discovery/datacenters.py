"""Datacenter failover: uses the first datacenter, in the given order, with a healthy instance.

Each datacenter has a watch of its own. A watch of a later datacenter runs only while all earlier
ones have no healthy instance, so normally one datacenter is watched. When an earlier one has a
healthy instance again, the later watch stops after its current query, and its snapshot is
discarded.

A datacenter that becomes unreachable still counts as one with instances: its last snapshot stays,
as with a single datacenter.
"""

from collections.abc import Callable, Iterator, Sequence

from kato_consul._consul.health_query import HealthQuery
from kato_consul._flow import LONG_WAIT, Flow, WaitForChange
from kato_consul._observable import Observable, SnapshotStore
from kato_consul.errors import KatoConsulError
from kato_consul.models import Snapshot

Watch = Callable[[HealthQuery, SnapshotStore, Callable[[], bool]], Flow[None]]
"""Returns the flow that updates a store by a query, while the function returns True."""


class Datacenters:
    """The stores of several datacenters, and the flows that merge them into one store."""

    def __init__(self, store: SnapshotStore, queries: Sequence[HealthQuery], watch: Watch) -> None:
        """``store`` receives the merged snapshot. ``queries`` has one query for each datacenter,
        most preferred first."""
        self._merged = store
        self._queries = tuple(queries)
        self._watch = watch
        self._changes: Observable[object] = Observable(object())
        self._stores = tuple(_DatacenterStore(store.service, self._changes) for _ in queries)

    def flows(self) -> Iterator[Flow[None]]:
        """Yield the flow that writes the merged store, and one flow for each datacenter."""
        yield self._merge()
        for position in range(len(self._stores)):
            yield self._watch_if_needed(position)

    def _merge(self) -> Flow[None]:
        while True:
            seen = self._changes.current
            self._select()
            yield WaitForChange(self._changes, seen, LONG_WAIT)

    def _select(self) -> None:
        for store in self._stores:
            if store.current is not None and store.current.healthy:
                self._publish(store)
                return
        if any(store.current is None and store.last_error is None for store in self._stores):
            return  # one has not responded yet
        responded = [one for one in self._stores if one.current is not None]
        not_empty = [one for one in responded if one.current is not None and one.current.instances]
        if responded:
            self._publish((not_empty or responded)[0])
        error = next((one.last_error for one in self._stores if one.last_error is not None), None)
        if error is not None:
            self._merged.record_error(error)

    def _publish(self, store: "_DatacenterStore") -> None:
        assert store.current is not None
        self._merged.publish(store.current, store.confirmed_at)
        if store.last_error is not None:
            self._merged.record_error(store.last_error)

    def _watch_if_needed(self, position: int) -> Flow[None]:
        store = self._stores[position]

        def needed() -> bool:
            return all(earlier.unusable for earlier in self._stores[:position])

        while True:
            seen = self._changes.current
            if needed():
                yield from self._watch(self._queries[position], store, needed)
                store.clear()
            else:
                yield WaitForChange(self._changes, seen, LONG_WAIT)


class _DatacenterStore(SnapshotStore):
    """The store of one datacenter. Each write to it is also set as a change."""

    def __init__(self, service: str, changes: Observable[object]) -> None:
        super().__init__(service)
        self._changes = changes

    @property
    def unusable(self) -> bool:
        """True if it has no healthy instance, or was unreachable from the start."""
        if self.current is None:
            return self.last_error is not None
        return not self.current.healthy

    def publish(self, snapshot: Snapshot, confirmed_at: float | None = None) -> None:
        super().publish(snapshot, confirmed_at)
        self._changes.set(object())

    def record_error(self, error: KatoConsulError) -> None:
        super().record_error(error)
        self._changes.set(object())

    def clear(self) -> None:
        """Discard the snapshot, which is out of date when the next watch starts."""
        self.current = self.last_error = self.confirmed_at = None
