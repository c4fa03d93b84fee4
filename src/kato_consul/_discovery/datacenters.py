"""Several datacenters as one: the first, in the order that was given, that has an instance to use.

Each has a watch of its own, but one that is not the first begins only when none before it has
anybody: who is well looks into one datacenter. When one before it has somebody again, it ends with
the query that is under way, and forgets what it saw.

A datacenter that cannot be reached after it was seen is not one without instances: its last good
snapshot stays, as with one datacenter alone.
"""

from collections.abc import Callable, Iterator, Sequence

from kato_consul._consul.health_query import Look
from kato_consul._flow import AwaitChange, Flow
from kato_consul._observable import Board, Cell
from kato_consul.errors import KatoConsulError
from kato_consul.models import Snapshot

Watch = Callable[[Look, Board, Callable[[], bool]], Flow[None]]
"""Makes the flow that watches by a look, onto a board, while the function says so."""

LONG = 3600.0
"""Seconds. Nothing is missed by waiting: what changes wakes."""


class Datacenters:
    """What is seen of each datacenter, and the flows that keep ``board`` by it."""

    def __init__(self, board: Board, looks: Sequence[Look], watch: Watch) -> None:
        self._board = board
        self._looks = tuple(looks)
        self._watch = watch
        self._news: Cell[object] = Cell(object())
        self._parts = tuple(_Part(board.service, self._news) for _ in looks)

    def flows(self) -> Iterator[Flow[None]]:
        """The flows: one that writes the board, and one for each datacenter."""
        yield self._merge()
        for place in range(len(self._parts)):
            yield self._watch_in_turn(place)

    def _merge(self) -> Flow[None]:
        while True:
            seen = self._news.current
            self._settle()
            yield AwaitChange(self._news, seen, LONG)

    def _settle(self) -> None:
        for part in self._parts:
            if part.current is not None and part.current.usable:
                self._show(part)
                return
        if any(part.current is None and part.trouble is None for part in self._parts):
            return  # one has not answered yet
        seen = [part for part in self._parts if part.current is not None]
        peopled = [part for part in seen if part.current is not None and part.current.instances]
        if seen:
            self._show((peopled or seen)[0])
        trouble = next((part.trouble for part in self._parts if part.trouble is not None), None)
        if trouble is not None:
            self._board.report(trouble)

    def _show(self, part: "_Part") -> None:
        assert part.current is not None
        self._board.publish(part.current, part.confirmed_at)
        if part.trouble is not None:
            self._board.report(part.trouble)

    def _watch_in_turn(self, place: int) -> Flow[None]:
        part = self._parts[place]

        def wanted() -> bool:
            return all(one.has_nobody for one in self._parts[:place])

        while True:
            seen = self._news.current
            if wanted():
                yield from self._watch(self._looks[place], part, wanted)
                part.forget()
            else:
                yield AwaitChange(self._news, seen, LONG)


class _Part(Board):
    """The board of one datacenter; whatever is written there is news."""

    def __init__(self, service: str, news: Cell[object]) -> None:
        super().__init__(service)
        self._news = news

    @property
    def has_nobody(self) -> bool:
        """Is it known to have nobody to use, or not to be had from the start?"""
        if self.current is None:
            return self.trouble is not None
        return not self.current.usable

    def publish(self, snapshot: Snapshot, confirmed_at: float | None = None) -> None:
        super().publish(snapshot, confirmed_at)
        self._news.show(object())

    def report(self, trouble: KatoConsulError) -> None:
        super().report(trouble)
        self._news.show(object())

    def forget(self) -> None:
        """What was seen gets old: the next watch begins anew."""
        self.current = self.trouble = self.confirmed_at = None
