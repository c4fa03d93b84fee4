"""The registrar on asyncio."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from kato_consul._async.driver import AsyncDriver
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._registration.events import EventSink
from kato_consul._registration.registrar import RegistrarService, log_event
from kato_consul._registration.registrar_state import ManagedInstance
from kato_consul.settings import Settings


class AsyncRegistrar:
    """Puts instances into Consul, keeps them there, tells how they are, takes them out.

        async with AsyncRegistrar([ServiceDefinition(name="kato", port=8000)]):
            await serve()

    As a context manager it stays: it registers on the way in, keeps that true in the background,
    and deregisters on the way out. `register` alone is a startup job, after which nobody stays.

    ``wait`` are the seconds that instances may take until Consul calls them passing; 0 does not
    wait. ``consul_within`` are those for an agent that does not answer yet. ``owner`` marks the
    instances as those of a registrar of that name, which takes out what an earlier one of that name
    left behind when it crashed. ``say`` is told of events; unless given they go to the log.
    """

    def __init__(
        self,
        definitions: Sequence[ServiceDefinition],
        settings: Settings | None = None,
        *,
        wait: float = 60.0,
        consul_within: float | None = None,
        owner: str | None = None,
        on_event: EventSink = log_event,
    ) -> None:
        self.settings = settings or Settings.from_env()
        self._wait = wait
        self._driver = AsyncDriver(self.settings)
        self._service = RegistrarService(
            self.settings, definitions, owner=owner, consul_within=consul_within, on_event=on_event
        )
        self._reconciling: asyncio.Task[Any] | None = None

    async def register(self) -> None:
        """Register all and wait until Consul calls all of them passing; or leave no trace.

        The checks are the agent's own, since nobody stays to feed one.

        Raises:
            ConsulError: the agent could not be reached, or would not have a definition.
            NotPassing: somebody was not passing within ``wait`` seconds.
        """
        made = self._service
        try:
            await self._driver.run(made.registration.register_all())
            if self._wait:
                await self._driver.run(made.registration.wait_until_passing(self._wait))
            await self._driver.run(made.registration.publish_metadata())
        except BaseException:  # Ctrl-C too, which ends the flow where it stands
            await self._driver.run(made.registration.roll_back())
            raise

    async def start(self) -> None:
        """Register all, and stay: probe, report and keep in the background until `deregister`.

        Raises as `register`, and leaves no trace then either.
        """
        made = self._service
        made.state.stays = True
        try:
            await self._driver.run(made.registration.register_all())
            self._begin()
            if self._wait:
                await self._driver.run(made.registration.wait_until_passing(self._wait))
        except BaseException:
            await self._stop_reconciling()
            await self._driver.run(made.registration.roll_back())
            raise

    def register_when_healthy(self) -> None:
        """Stay, as `start` does, but do not wait for anything: each instance is put in as soon as
        it is ready and Consul answers. What goes wrong is told, not raised."""
        self._service.state.stays = True
        self._service.state.when_ready = True
        self._begin()

    def replace(self, definitions: Sequence[ServiceDefinition]) -> None:
        """Look after these from now on: what is new is put in, what is missing taken out."""
        for one in self._service.state.replace(definitions):
            self._start_instance_flows(one)

    async def registered(self) -> list[ServiceDefinition]:
        """The instances of any service that the agent has, whoever registered them."""
        return await self._driver.run(self._service.registration.registered())

    async def drain(self, within: float, reason: str = "draining") -> bool:
        """Send clients elsewhere, and wait until they have gone: have they all, in ``within``
        seconds?

        Raises:
            ConsulError: an instance could not be put into maintenance mode.
        """
        for service_id in self._service.state.instances:
            await self._driver.run(self._service.enter_maintenance(service_id, reason))
        return await self._driver.run(self._service.wait_until_idle(within))

    async def resume(self) -> None:
        """Take all out of maintenance mode."""
        for service_id in self._service.state.instances:
            await self._driver.run(self._service.leave_maintenance(service_id))

    async def deregister(self) -> None:
        """Take all out of Consul, and end what keeps them there."""
        await self._stop_reconciling()
        await self._driver.run(self._service.registration.deregister_all())

    async def aclose(self) -> None:
        """End what runs in the background and close the connections. What is registered stays."""
        await self._stop_reconciling()
        await self._driver.aclose()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.deregister()
        finally:
            await self.aclose()

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncGenerator[None, None]:
        """For an ASGI application: ``FastAPI(lifespan=AsyncRegistrar([…]).lifespan)``.

        Passing is not waited for: the server takes no request before the application has started.
        """
        self._wait = 0.0
        async with self:
            yield

    def _begin(self) -> None:
        for one in self._service.state.instances.values():
            self._start_instance_flows(one)
        self._reconciling = self._driver.start(self._service.reconcile(), "kato-consul keep")

    def _start_instance_flows(self, one: ManagedInstance) -> None:
        for flow, name in self._service.instance_flows(one):
            self._driver.start(flow, name)

    async def _stop_reconciling(self) -> None:
        # Joined before anything is taken out: it might put that back.
        self._service.state.stop()
        if self._reconciling is not None:
            await self._reconciling
            self._reconciling = None
