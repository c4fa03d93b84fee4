"""Discovery: watches the instances of one service in Consul, on asyncio."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Self, TypeVar

from kato_consul._async import runtime
from kato_consul._async.driver import AsyncDriver
from kato_consul._discovery.discovery_service import DiscoveryService
from kato_consul._flow import Flow
from kato_consul.errors import KatoConsulError
from kato_consul.models import Snapshot
from kato_consul.settings import Settings

T = TypeVar("T")


class AsyncDiscovery:
    """The instances of one service, kept up to date by blocking queries.

        async with AsyncDiscovery() as kato:
            print((await kato.snapshot()).usable)
            async for snapshot in kato.changes():
                print(snapshot.summary())

    The watch starts at the first call.

    Args:
        settings: how to reach Consul, and which service; from the environment unless given.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._driver = AsyncDriver(self.settings, owner=self)
        runtime.in_each_process(self, AsyncDiscovery._set_up)

    def _set_up(self) -> None:
        self._service = DiscoveryService(self.settings)
        self._watching = False

    @property
    def current(self) -> Snapshot | None:
        """The newest snapshot, without waiting; None until Consul has answered."""
        return self._service.store.current

    @property
    def age(self) -> float | None:
        """Seconds since Consul last confirmed the current snapshot; None if it never did.

        While nothing changes, Consul confirms it about once a minute. While Consul cannot be
        reached, the age grows.
        """
        return self._service.age()

    @property
    def last_error(self) -> KatoConsulError | None:
        """Why the last request to Consul failed; None while Consul answers."""
        return self._service.store.last_error

    @property
    def empty_since(self) -> float | None:
        """When Consul first reported no usable instance, on the clock of `time.monotonic`.

        None while an instance is usable, and until Consul has answered.
        """
        return self._service.store.empty_since

    async def snapshot(self, timeout: float | None = None) -> Snapshot:
        """Return the current snapshot; wait for the first one.

        Args:
            timeout: the longest wait in seconds; ``settings.deadline`` unless given.

        Raises:
            ConsulError: Consul did not answer in time.
        """
        within = self.settings.deadline if timeout is None else timeout
        return await self._run(self._service.snapshot(within))

    async def registered_snapshot(self, timeout: float | None = None) -> Snapshot:
        """Return the current snapshot of a service that must be in Consul's catalog.

        Args:
            timeout: the longest wait in seconds; ``settings.deadline`` unless given.

        Raises:
            UnknownService: the catalog has no such service; the error lists those it has.
            ConsulDenied: Consul hides its instances, because the token may not read them.
            ConsulError: Consul did not answer in time.
        """
        within = self.settings.deadline if timeout is None else timeout
        return await self._run(self._service.registered_snapshot(within))

    async def wait_for_change(self, seen: Snapshot | None, timeout: float) -> Snapshot | None:
        """Return the current snapshot as soon as it differs from ``seen``.

        Args:
            seen: the snapshot that the caller has; None to wait for the first one.
            timeout: the longest wait in seconds; after it the current snapshot is returned.
        """
        return await self._run(self._service.snapshot_after(seen, timeout))

    async def changes(self) -> AsyncGenerator[Snapshot, None]:
        """Yield the current snapshot, then each one that differs from the one before."""
        seen: Snapshot | None = None
        while True:
            seen = await self._run(self._service.next_change(seen))
            yield seen

    async def aclose(self) -> None:
        """Stop the watch and close the connections."""
        await self._driver.aclose()

    async def __aenter__(self) -> Self:
        self._watch()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _run(self, flow: Flow[T]) -> T:
        """Run a flow beside the watch, on the same connections."""
        self._watch()
        return await self._driver.run(flow)

    def _watch(self) -> None:
        if self._watching:
            return
        service, name = self._service, self.settings.service
        for flow in service.watches():
            self._driver.start(flow, f"kato-consul watch {name}")
        if service.saves_snapshots:
            saving = partial(_save_snapshots, service, self._driver)
            self._driver.start_work(saving, f"kato-consul snapshot {name}")
        self._watching = True


async def _save_snapshots(service: DiscoveryService, driver: AsyncDriver) -> None:
    """Save each snapshot. Not a method: it would keep an object that users have dropped."""
    seen: Snapshot | None = None
    if not service.begin_saving():
        return
    while True:
        seen = await driver.run(service.snapshot_after(seen))
        await runtime.call_blocking(service.save_snapshot)
