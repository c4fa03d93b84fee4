"""Watching a service for threads."""

import contextlib
import threading
from collections.abc import Generator
from types import TracebackType
from typing import Self, TypeVar

from kato_consul._discovery.service import DiscoveryService
from kato_consul._flow import Flow
from kato_consul._sync.driver import Driver
from kato_consul._sync.fork_hooks import reset_in_child
from kato_consul.errors import ClientClosed, KatoConsulError
from kato_consul.models import Snapshot
from kato_consul.settings import Settings

T = TypeVar("T")


class Discovery:
    """The instances of one service, kept up to date by a blocking query.

        with Discovery() as kato:
            print((kato.snapshot()).usable)
            for snapshot in kato.changes():
                print(snapshot.summary())

    Settings come from the environment unless given. The watch begins with the first call.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.from_env()
        self._service = DiscoveryService(self.settings)
        self._driver = Driver(self.settings)
        self._watching = False
        self._beginning = threading.Lock()
        self._keeper: threading.Thread | None = None
        reset_in_child(self, Discovery._reset_in_child)

    @property
    def current(self) -> Snapshot | None:
        """The newest snapshot, without waiting; None while Consul has not answered yet."""
        return self._service.store.current

    @property
    def age(self) -> float | None:
        """Seconds since Consul last said that the current snapshot is so; None: it never did.

        While nothing changes Consul says so once a minute or so; while it is away the age grows.
        """
        return self._service.age()

    @property
    def last_error(self) -> KatoConsulError | None:
        """Why Consul could not be read the last time; None while it answers."""
        return self._service.store.last_error

    @property
    def empty_since(self) -> float | None:
        """When Consul first reported no usable instance, on the clock of `time.monotonic`.

        None while an instance is usable, and until Consul has answered.
        """
        return self._service.store.empty_since

    def snapshot(self, timeout: float | None = None) -> Snapshot:
        """The current snapshot; the first one is waited for, ``timeout`` seconds at most.

        Raises:
            ConsulError: Consul did not answer in time (``settings.deadline`` unless given).
        """
        within = self.settings.deadline if timeout is None else timeout
        return self.run(self._service.first(within))

    def registered_snapshot(self, timeout: float | None = None) -> Snapshot:
        """Like `snapshot`, but a service that Consul has never heard of is an error.

        Raises:
            UnknownService: with the names of the services there are.
        """
        snapshot = self.snapshot(timeout)
        return self.run(self._service.require_registered(snapshot))

    def wait_for_change(self, seen: Snapshot | None, timeout: float) -> Snapshot | None:
        """The current snapshot, as soon as it differs from ``seen``, after at most ``timeout``
        seconds."""
        self._watch()
        return self.run(self._service.snapshot_after(seen, timeout))

    def changes(self) -> Generator[Snapshot, None, None]:
        """The current snapshot, then every one that differs from the one before."""
        seen: Snapshot | None = None
        while True:
            seen = self.run(self._service.next_change(seen))
            yield seen

    def run(self, flow: Flow[T]) -> T:
        """Run a flow beside the watch, on the same connections."""
        self._watch()
        return self._driver.run(flow)

    def close(self) -> None:
        """End the watch and close the connections."""
        self._driver.close()
        if self._keeper is not None:
            self._keeper.join()

    def __enter__(self) -> Self:
        self._watch()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _reset_in_child(self) -> None:
        """In a forked child: the parent's watch is not here, nor who waits for its board."""
        self._service = DiscoveryService(self.settings)
        self._watching = False
        self._keeper = None

    def _watch(self) -> None:
        if self._watching:
            return
        with self._beginning:
            if self._watching:
                return
            for flow in self._service.watches():
                self._driver.start(flow, f"kato-consul watch {self.settings.service}")
            self._watching = True
            if self._service.saves_snapshots:
                self._keeper = threading.Thread(
                    target=self._keep_copy,
                    name=f"kato-consul copy {self.settings.service}",
                    daemon=True,
                )
                self._keeper.start()

    def _keep_copy(self) -> None:
        seen: Snapshot | None = None
        with contextlib.suppress(ClientClosed):  # that is how it ends
            while True:
                seen = self._driver.run(self._service.snapshot_after(seen))
                self._service.save_snapshot()
