"""The one place where a snapshot passes from its writer to its readers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kato_consul.errors import KatoConsulError
from kato_consul.model import Snapshot


class Board:
    """Holds the newest snapshot of one service. One writer, any number of readers, no lock.

    ``current`` is None until the first answer. The last good snapshot stays while Consul is away;
    ``trouble`` then says what is wrong. Reading either attribute is atomic.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self.current: Snapshot | None = None
        self.trouble: KatoConsulError | None = None
        self._listeners: dict[object, Callable[[], None]] = {}

    def publish(self, snapshot: Snapshot) -> None:
        """Show a snapshot that was just read. The same content again wakes nobody."""
        self.trouble = None
        if snapshot != self.current:
            self.current = snapshot
            self._notify()

    def report(self, trouble: KatoConsulError) -> None:
        """Consul does not answer: keep what there is, and say so."""
        self.trouble = trouble
        if self.current is None:
            self._notify()

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

    def _notify(self) -> None:
        for listener in tuple(self._listeners.values()):
            listener()
