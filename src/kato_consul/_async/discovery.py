"""Watching a service on asyncio."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self, TypeVar

from kato_consul._async.driver import AsyncDriver
from kato_consul._discovery.service import DiscoveryService
from kato_consul._flow import Flow
from kato_consul.errors import ClientClosed, KatoConsulError
from kato_consul.models import Snapshot
from kato_consul.settings import Settings

T = TypeVar("T")


class AsyncDiscovery:
    """The instances of one service, kept up to date by a blocking query.

        async with AsyncDiscovery() as kato:
            print((await kato.snapshot()).usable)
            async for snapshot in kato.changes():
                print(snapshot.summary())

    Settings come from the environment unless given. The watch begins with the first call.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.from_env()
        self._service = DiscoveryService(self.settings)
        self._driver = AsyncDriver(self.settings)
        self._watching = False
        self._keeper: asyncio.Task[None] | None = None

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

    async def snapshot(self, timeout: float | None = None) -> Snapshot:
        """The current snapshot; the first one is waited for, ``timeout`` seconds at most.

        Raises:
            ConsulError: Consul did not answer in time (``settings.deadline`` unless given).
        """
        within = self.settings.deadline if timeout is None else timeout
        return await self.run(self._service.first(within))

    async def registered_snapshot(self, timeout: float | None = None) -> Snapshot:
        """Like `snapshot`, but a service that Consul has never heard of is an error.

        Raises:
            UnknownService: with the names of the services there are.
        """
        snapshot = await self.snapshot(timeout)
        return await self.run(self._service.require_registered(snapshot))

    async def wait_for_change(self, seen: Snapshot | None, timeout: float) -> Snapshot | None:
        """The current snapshot, as soon as it differs from ``seen``, after at most ``timeout``
        seconds."""
        self._watch()
        return await self.run(self._service.snapshot_after(seen, timeout))

    async def changes(self) -> AsyncGenerator[Snapshot, None]:
        """The current snapshot, then every one that differs from the one before."""
        seen: Snapshot | None = None
        while True:
            seen = await self.run(self._service.next_change(seen))
            yield seen

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow beside the watch, on the same connections."""
        self._watch()
        return await self._driver.run(flow)

    async def aclose(self) -> None:
        """End the watch and close the connections."""
        await self._driver.aclose()
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper

    async def __aenter__(self) -> Self:
        self._watch()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _watch(self) -> None:
        if not self._watching:
            for flow in self._service.watches():
                self._driver.start(flow, f"kato-consul watch {self.settings.service}")
            self._watching = True
            if self._service.saves_snapshots:
                self._keeper = asyncio.create_task(self._keep_copy())

    async def _keep_copy(self) -> None:
        seen: Snapshot | None = None
        with contextlib.suppress(ClientClosed):  # that is how it ends
            while True:
                seen = await self._driver.run(self._service.snapshot_after(seen))
                await asyncio.to_thread(self._service.save_snapshot)
