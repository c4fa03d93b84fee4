"""Where a value passes from its one writer to its readers, without a lock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from kato_consul.errors import KatoConsulError
from kato_consul.models import Snapshot, Source

T = TypeVar("T")


class Observable(Generic[T]):
    """Holds the newest value. One writer, any number of readers; reading ``current`` is atomic."""

    def __init__(self, first: T) -> None:
        self.current = first
        self._listeners: dict[object, Callable[[], None]] = {}

    def set(self, value: T) -> None:
        """Let ``value`` be the current one, and wake who listens."""
        self.current = value
        self.notify()

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

    def notify(self) -> None:
        """Let who listens look again."""
        for listener in tuple(self._listeners.values()):
            listener()


class SnapshotStore(Observable[Snapshot | None]):
    """The newest snapshot of one service.

    ``current`` is None until the first answer. The last good snapshot stays while Consul is away;
    ``trouble`` then says what is wrong. Times are on the clock of whoever writes: ``confirmed_at``
    is when Consul last said that it is so (None: it never did), ``empty_since`` since when nobody
    can be used by Consul's word (None: somebody can).

    ``fallback`` is what to go by until Consul answers, and ``fallback_confirmed_at`` when Consul
    said so. ``asked`` are words for what is looked for, beyond the service's name.
    """

    def __init__(
        self,
        service: str,
        *,
        fallback: Snapshot | None = None,
        fallback_confirmed_at: float | None = None,
        asked: str = "",
    ) -> None:
        super().__init__(None)
        self.service = service
        self.query_description = asked
        self.last_error: KatoConsulError | None = None
        self.confirmed_at: float | None = None
        self.empty_since: float | None = None
        self._fallback = fallback
        self._fallback_confirmed_at = fallback_confirmed_at

    def publish(self, snapshot: Snapshot, confirmed_at: float | None = None) -> None:
        """Show a snapshot that was just read. The same content again wakes nobody."""
        self.last_error = None
        if not snapshot.instances and self._uses_static_list():
            return
        self.confirmed_at = confirmed_at
        if snapshot.usable:
            self.empty_since = None
        elif self.empty_since is None:
            self.empty_since = confirmed_at
        current = self.current
        if current is None or current != snapshot or current.source is not snapshot.source:
            self.set(snapshot)

    def record_error(self, trouble: KatoConsulError) -> None:
        """Consul does not answer: keep what there is, and say so."""
        self.last_error = trouble
        if self.current is not None:
            return
        if self._fallback is None:
            self.notify()
        else:
            self.confirmed_at = self._fallback_confirmed_at
            self.set(self._fallback)

    def _uses_static_list(self) -> bool:
        """Consul has nobody, and never had: go by the list that was given, if there is one."""
        given = self._fallback
        if given is None or given.source is not Source.STATIC:
            return False
        if self.current is None:
            self.set(given)
        return self.current is given
