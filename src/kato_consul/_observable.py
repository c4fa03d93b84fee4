"""Observables: values that one writer sets and many readers read, without a lock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from kato_consul.errors import KatoConsulError
from kato_consul.models import Snapshot, Source

T = TypeVar("T")


class Observable(Generic[T]):
    """The newest value of one writer, for any number of readers. Reading ``current`` is atomic."""

    def __init__(self, initial: T) -> None:
        self.current = initial
        self._listeners: dict[object, Callable[[], None]] = {}

    def set(self, value: T) -> None:
        """Make ``value`` the current one, and notify the listeners."""
        self.current = value
        self.notify()

    @contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` on each change while the block runs.

        It is called on the writer's thread or task, so it must only set an event. (Adding to a dict
        and copying its values are each atomic, so listeners need no lock either.)
        """
        token = object()
        self._listeners[token] = listener
        try:
            yield
        finally:
            del self._listeners[token]

    def notify(self) -> None:
        """Call all listeners."""
        for listener in tuple(self._listeners.values()):
            listener()


class SnapshotStore(Observable[Snapshot | None]):
    """The newest snapshot of one service.

    ``current`` is None until the first response. While Consul is unreachable the last good snapshot
    stays, and ``last_error`` is the reason; it is None while Consul responds.

    Times are seconds on the writer's clock. ``confirmed_at`` is when Consul last confirmed the
    current snapshot (None: never). ``empty_since`` is when Consul first reported no usable instance
    (None: there is one). ``empty_unconfirmed`` is True while there is no snapshot, since a response
    without instances is being confirmed.
    """

    def __init__(
        self,
        service: str,
        *,
        fallback: Snapshot | None = None,
        fallback_confirmed_at: float | None = None,
        query_description: str = "",
    ) -> None:
        """Create an empty store.

        ``fallback`` is used until the first response of Consul; ``fallback_confirmed_at`` is when
        Consul confirmed it. ``query_description`` is what is queried in addition to the service's
        name, for error messages.
        """
        super().__init__(None)
        self.service = service
        self.query_description = query_description
        self.last_error: KatoConsulError | None = None
        self.confirmed_at: float | None = None
        self.empty_since: float | None = None
        self.empty_unconfirmed = False
        self._fallback = fallback
        self._fallback_confirmed_at = fallback_confirmed_at

    def publish(self, snapshot: Snapshot, confirmed_at: float | None = None) -> None:
        """Publish a snapshot that was just read. Listeners are notified only if it has changed."""
        self.last_error = None
        if not snapshot.instances and self._keep_static_list():
            return
        self.confirmed_at = confirmed_at
        if snapshot.usable:
            self.empty_since = None
        elif self.empty_since is None:
            self.empty_since = confirmed_at
        current = self.current
        if current is None or current != snapshot or current.source is not snapshot.source:
            self.set(snapshot)

    def record_error(self, error: KatoConsulError) -> None:
        """Record that Consul could not be read. The current snapshot stays; without one the
        fallback is published."""
        self.last_error = error
        if self.current is not None:
            return
        if self._fallback is None:
            self.notify()
        else:
            self.confirmed_at = self._fallback_confirmed_at
            self.set(self._fallback)

    @property
    def lists_none(self) -> bool:
        """True if Consul has answered, and has listed no instance."""
        return self.empty_unconfirmed if self.current is None else not self.current.instances

    @property
    def has_fallback(self) -> bool:
        """True if there is a snapshot to use until Consul's first response."""
        return self._fallback is not None

    def set_aside(self) -> None:
        """Make the current snapshot the fallback: its watch has ended, so it gets out of date."""
        if self.current is not None:
            self._fallback, self._fallback_confirmed_at = self.current, self.confirmed_at
        self.current = self.last_error = self.confirmed_at = self.empty_since = None
        self.empty_unconfirmed = False

    def _keep_static_list(self) -> bool:
        """Keep a static list current until Consul has reported an instance.

        Return whether it is current.
        """
        static = self._fallback
        if static is None or static.source is not Source.STATIC:
            return False
        if self.current is None:
            self.set(static)
        return self.current is static
