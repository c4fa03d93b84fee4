"""Where a value passes from its one writer to its readers, without a lock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from kato_consul.errors import KatoConsulError
from kato_consul.model import Snapshot

T = TypeVar("T")


class Cell(Generic[T]):
    """Holds the newest value. One writer, any number of readers; reading ``current`` is atomic."""

    def __init__(self, first: T) -> None:
        self.current = first
        self._listeners: dict[object, Callable[[], None]] = {}

    def show(self, value: T) -> None:
        """Let ``value`` be the current one, and wake who listens."""
        self.current = value
        self.wake()

    @contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` on each change while the block runs.

        Changes come from the writer's thread or task, so a listener only sets an event.
        (Adding to a dict and copying its values are each atomic: readers need no lock here either.)
        """
        token = object()
        self._listeners[token] = listener
        try:
            yield
        finally:
            del self._listeners[token]

    def wake(self) -> None:
        """Let who listens look again."""
        for listener in tuple(self._listeners.values()):
            listener()


class Board(Cell[Snapshot | None]):
    """The newest snapshot of one service.

    ``current`` is None until the first answer. The last good snapshot stays while Consul is away;
    ``trouble`` then says what is wrong.
    """

    def __init__(self, service: str) -> None:
        super().__init__(None)
        self.service = service
        self.trouble: KatoConsulError | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Show a snapshot that was just read. The same content again wakes nobody."""
        self.trouble = None
        if snapshot != self.current:
            self.show(snapshot)

    def report(self, trouble: KatoConsulError) -> None:
        """Consul does not answer: keep what there is, and say so."""
        self.trouble = trouble
        if self.current is None:
            self.wake()
