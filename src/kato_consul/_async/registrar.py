"""The registrar: registers instances in Consul and keeps them registered, on asyncio."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from kato_consul._async import runtime
from kato_consul._async.driver import AsyncDriver
from kato_consul._definitions.schema import ServiceDefinition, require_definitions
from kato_consul._registration.events import EventSink
from kato_consul._registration.registrar_service import RegistrarService, log_event
from kato_consul._registration.registrar_state import ManagedInstance
from kato_consul._registration.registration import CONSUL_WITHIN
from kato_consul.settings import Settings

STOP_WITHIN = 1.0
"""Seconds after which the end of a registrar does not wait for its background work any more, which
waits for Consul then."""


class AsyncRegistrar:
    """Registers instances in Consul, keeps them registered and healthy there, and deregisters them.

        async with AsyncRegistrar([ServiceDefinition(name="kato", port=8000)]):
            await serve()

    As a context manager it registers on entry, probes the instances and reconciles their
    registrations in the background, and deregisters on exit. `register` alone is for startup jobs:
    it leaves nothing running.

    Args:
        definitions: the instances. No two of them may have the same id, or checks with the same id
            (`DefinitionError`).
        settings: how to reach Consul; from the environment unless given.
        wait: seconds within which Consul must report the instances as passing; 0 does not wait.
        consul_within: seconds to retry an agent that does not answer; 10 unless given, but at most
            ``wait`` if that is not 0. At its end, a registrar that runs retries for 3 s at most.
        owner: marks the instances as this registrar's. Instances with the same mark that an earlier
            registrar left behind, and that are critical, are deregistered.
        on_event: called with each event; events are logged unless given.
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
        self.settings = settings or Settings()
        self._definitions = require_definitions(definitions)
        self._wait = wait
        self._owner = owner
        if consul_within is None:
            consul_within = min(CONSUL_WITHIN, wait or CONSUL_WITHIN)
        self._consul_within = consul_within
        self._on_event = on_event
        self._managing = False
        self._starts_with_instance = False
        self._driver = AsyncDriver(self.settings, owner=self)
        runtime.in_each_process(self, AsyncRegistrar._set_up)

    def _set_up(self) -> None:
        """Start from the definitions: at first, in a forked child, and when it is started again."""
        self._is_parents = self._managing
        self._managing = False
        self._service = RegistrarService(
            self.settings,
            self._definitions,
            owner=self._owner,
            consul_within=self._consul_within,
            on_event=self._on_event,
        )
        self._reconciling: runtime.Background | None = None

    async def register(self) -> None:
        """Register all instances and wait until Consul reports each as passing, or register none.

        The agent runs the checks, since no registrar keeps running to report health.

        Raises:
            ConsulError: the agent could not be reached, or refused a definition.
            DefinitionError: another service of the agent has the id of one of the checks.
            NotPassing: an instance was not passing within ``wait`` seconds.
        """
        registration = self._service.registration
        try:
            await self._driver.run(registration.register_all())
            if self._wait:
                await self._driver.run(self._service.wait_until_passing(self._wait))
            await self._driver.run(registration.publish_metadata())
        except BaseException:  # also KeyboardInterrupt, which stops the flow at its current step
            await self._driver.run(registration.roll_back())
            raise

    async def start(self) -> None:
        """Register all instances, then probe, report and reconcile in the background until
        `deregister`. It may be started again, also while it runs.

        Raises:
            The errors of `register`, after which nothing is registered either.
        """
        service = await self._begin()
        try:
            await self._driver.run(service.registration.register_all())
            self._start_background()
            if self._wait:
                await self._driver.run(service.wait_until_passing(self._wait))
        except BaseException:
            await self._stop_background()
            await self._driver.run(service.registration.roll_back())
            self._managing = False
            raise

    async def _begin(self) -> RegistrarService:
        """Return the service of a registrar that begins to run, and end an earlier one."""
        self._driver.check_usable()
        if self._managing or self._service.state.stopped:
            await self._stop_background()
            self._service.state.end_locks()
            self._set_up()
        self._managing, self._is_parents = True, False
        state = self._service.state
        state.long_running, state.starts_with_instance = True, self._starts_with_instance
        return self._service

    def register_when_healthy(self) -> None:
        """Start in the background and return at once.

        Each instance is registered as soon as it is healthy and Consul answers. Errors are
        reported as events.
        """
        self._managing, self._is_parents = True, False
        state = self._service.state
        state.long_running = state.when_ready = state.starts_with_instance = True
        self._start_background()

    def replace(self, definitions: Sequence[ServiceDefinition]) -> None:
        """Replace the instances: new ones are registered, missing ones deregistered.

        Args:
            definitions: all instances from now on.
        """
        definitions = require_definitions(definitions)
        new = self._service.state.replace(definitions)
        self._definitions = definitions
        for instance in new:
            self._start_instance_flows(instance)

    async def registered(
        self, node: str | None = None, service: str | None = None
    ) -> list[ServiceDefinition]:
        """Return the instances that the agent has, whatever registered them.

        Args:
            node: the name of a node, to read its instances from the catalog instead.
            service: the name of the service; all services unless given.

        Raises:
            ConsulDenied: the token may not read the service.
            ConsulError: the agent did not answer, or there is no such node.
        """
        return await self._driver.run(self._service.registration.removal.registered(node, service))

    def hung(self) -> dict[str, float]:
        """Return the instances that are hung: they accept connections and do not answer.

        Their checks are critical. An instance is not hung any more with its first answer, or when
        it closes the connection. Usually only a restart ends a hang; but a long computation, or a
        store that hangs, looks the same.

        Returns:
            The id of each, with the seconds since the first request that it has not answered.
        """
        return self._service.hung()

    async def drain(self, within: float, reason: str = "draining") -> bool:
        """Put the instances into maintenance mode and wait until no client uses them.

        Args:
            within: the longest wait in seconds, of which Consul may take all.
            reason: shown in Consul.

        Returns:
            True if all instances were idle within the time.

        Raises:
            ConsulError: an instance could not be put into maintenance mode.
        """
        return await self._driver.run(self._service.drain(within, reason))

    async def resume(self) -> None:
        """End the maintenance mode of the instances."""
        for service_id in self._service.state.instances:
            await self._driver.run(self._service.leave_maintenance(service_id))

    async def deregister(self) -> None:
        """Stop reconciling and deregister all instances.

        After `start`, instances stay that another process of this machine and user keeps
        registered: the last one to end deregisters them. In a child that was forked after `start`,
        this deregisters nothing.

        Raises:
            ConsulError: an instance could not be deregistered; the others were.
        """
        self._driver.check_usable()
        if self._is_parents:
            return
        ended = await self._stop_background()
        await self._driver.run(self._service.registration.deregister_all(again=not ended))
        self._managing = False

    async def remove(self, node: str | None = None) -> None:
        """Deregister instances as an operator does, and verify that they are gone.

        `deregister` is for the instances of this registrar. This is for instances that others have
        registered. An instance that no node has counts as deregistered.

        Args:
            node: the name of a dead node, to remove its instances from the catalog; the agent's own
                instances unless given.

        Raises:
            StillRegistered: an instance is on another node, the node is alive, or a registrar that
                runs has registered an instance again. The error has what to do.
            ConsulError: an instance could not be deregistered; the others were.
        """
        removal, state = self._service.registration.removal, self._service.state
        names = {key: one.definition.name for key, one in state.instances.items()}
        await self._driver.run(
            removal.from_agent(names) if node is None else removal.from_node(node, names)
        )

    async def aclose(self) -> None:
        """Stop the background work and close the connections. Instances stay registered."""
        self._service.state.stop()
        await self._driver.aclose()
        self._service.state.end_locks()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.deregister()
        finally:
            await self.aclose()

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncGenerator[None, None]:
        """The lifespan of a server that is itself the instance, such as
        ``FastAPI(lifespan=AsyncRegistrar([…]).lifespan)``.

        It does not wait until the instance is passing: such a server accepts requests only after it
        has started. Each worker process of a server has its own; the last one to end deregisters
        the instance. It may be entered again, as tests of an application do.

        Args:
            app: the server's application, which is not used.
        """
        self._wait, self._starts_with_instance = 0.0, True
        if self._driver.closed:
            self._driver = AsyncDriver(self.settings, owner=self)
        async with self:
            yield

    def _start_background(self) -> None:
        for instance in self._service.state.instances.values():
            self._start_instance_flows(instance)
        self._reconciling = self._driver.start(self._service.reconcile(), "kato-consul reconcile")

    def _start_instance_flows(self, instance: ManagedInstance) -> None:
        for flow, name in self._service.instance_flows(instance):
            self._driver.start(flow, name)

    async def _stop_background(self) -> bool:
        """End the background work before anything is deregistered, which it might register again.

        Return False if it still runs: it waits for Consul, at most until this is closed.
        """
        self._service.state.stop()
        if self._reconciling is None:
            return True
        ended = await runtime.join(self._reconciling, STOP_WITHIN)
        self._reconciling = None
        return ended
