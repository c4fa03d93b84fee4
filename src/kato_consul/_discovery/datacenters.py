"""Several datacenters as one: the first, in the order that was given, that has an instance to use.

Each has a watch of its own, but one that is not the first begins only when none before it has
anybody: who is well looks into one datacenter. When one before it has somebody again, it ends with
the query that is under way, and forgets what it saw.

A datacenter that cannot be reached after it was seen is not one without instances: its last good
snapshot stays, as with one datacenter alone.
"""

from collections.abc import Callable, Iterator, Sequence

from kato_consul._consul.health_query import HealthQuery
from kato_consul._flow import Flow, WaitForChange
from kato_consul._observable import Observable, SnapshotStore
from kato_consul.errors import KatoConsulError
from kato_consul.models import Snapshot

Watch = Callable[[HealthQuery, SnapshotStore, Callable[[], bool]], Flow[None]]
"""Makes the flow that watches by a look, onto a board, while the function says so."""

LONG = 3600.0
"""Seconds. Nothing is missed by waiting: what changes wakes."""


class Datacenters:
    """What is seen of each datacenter, and the flows that keep ``board`` by it."""

    def __init__(self, store: SnapshotStore, queries: Sequence[HealthQuery], watch: Watch) -> None:
        self._board = store
        self._queries = tuple(queries)
        self._watch = watch
        self._news: Observable[object] = Observable(object())
        self._parts = tuple(_DatacenterStore(store.service, self._news) for _ in queries)

    def flows(self) -> Iterator[Flow[None]]:
        """The flows: one that writes the board, and one for each datacenter."""
        yield self._merge()
        for place in range(len(self._parts)):
            yield self._watch_in_turn(place)

    def _merge(self) -> Flow[None]:
        while True:
            seen = self._news.current
            self._settle()
            yield WaitForChange(self._news, seen, LONG)

    def _settle(self) -> None:
        for part in self._parts:
            if part.current is not None and part.current.usable:
                self._show(part)
                return
        if any(part.current is None and part.last_error is None for part in self._parts):
            return  # one has not answered yet
        seen = [part for part in self._parts if part.current is not None]
        peopled = [part for part in seen if part.current is not None and part.current.instances]
        if seen:
            self._show((peopled or seen)[0])
        trouble = next(
            (part.last_error for part in self._parts if part.last_error is not None), None
        )
        if trouble is not None:
            self._board.record_error(trouble)

    def _show(self, part: "_DatacenterStore") -> None:
        assert part.current is not None
        self._board.publish(part.current, part.confirmed_at)
        if part.last_error is not None:
            self._board.record_error(part.last_error)

    def _watch_in_turn(self, place: int) -> Flow[None]:
        part = self._parts[place]

        def wanted() -> bool:
            return all(one.has_nobody for one in self._parts[:place])

        while True:
            seen = self._news.current
            if wanted():
                yield from self._watch(self._queries[place], part, wanted)
                part.forget()
            else:
                yield WaitForChange(self._news, seen, LONG)


class _DatacenterStore(SnapshotStore):
    """The board of one datacenter; whatever is written there is news."""

    def __init__(self, service: str, news: Observable[object]) -> None:
        super().__init__(service)
        self._news = news

    @property
    def has_nobody(self) -> bool:
        """Is it known to have nobody to use, or not to be had from the start?"""
        if self.current is None:
            return self.last_error is not None
        return not self.current.usable

    def publish(self, snapshot: Snapshot, confirmed_at: float | None = None) -> None:
        super().publish(snapshot, confirmed_at)
        self._news.set(object())

    def record_error(self, error: KatoConsulError) -> None:
        super().record_error(error)
        self._news.set(object())

    def forget(self) -> None:
        """What was seen gets old: the next watch begins anew."""
        self.current = self.last_error = self.confirmed_at = None
