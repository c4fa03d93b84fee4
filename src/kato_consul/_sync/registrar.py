"""The registrar for threads."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._registration.events import EventSink
from kato_consul._registration.registrar import RegistrarService, log_event
from kato_consul._registration.registrar_state import ManagedInstance
from kato_consul._sync.driver import Driver
from kato_consul.settings import Settings


class Registrar:
    """Puts instances into Consul, keeps them there, tells how they are, takes them out.

        with Registrar([ServiceDefinition(name="kato", port=8000)]):
            serve()

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
        self._driver = Driver(self.settings)
        self._service = RegistrarService(
            self.settings, definitions, owner=owner, consul_within=consul_within, on_event=on_event
        )
        self._reconciling: threading.Thread | None = None

    def register(self) -> None:
        """Register all and wait until Consul calls all of them passing; or leave no trace.

        The checks are the agent's own, since nobody stays to feed one.

        Raises:
            ConsulError: the agent could not be reached, or would not have a definition.
            NotPassing: somebody was not passing within ``wait`` seconds.
        """
        made = self._service
        try:
            self._driver.run(made.registration.register_all())
            if self._wait:
                self._driver.run(made.registration.wait_until_passing(self._wait))
            self._driver.run(made.registration.publish_metadata())
        except BaseException:  # Ctrl-C too, which ends the flow where it stands
            self._driver.run(made.registration.roll_back())
            raise

    def start(self) -> None:
        """Register all, and stay: probe, report and keep in the background until `deregister`.

        Raises as `register`, and leaves no trace then either.
        """
        made = self._service
        made.state.stays = True
        try:
            self._driver.run(made.registration.register_all())
            self._begin()
            if self._wait:
                self._driver.run(made.registration.wait_until_passing(self._wait))
        except BaseException:
            self._stop_reconciling()
            self._driver.run(made.registration.roll_back())
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

    def registered(self) -> list[ServiceDefinition]:
        """The instances of any service that the agent has, whoever registered them."""
        return self._driver.run(self._service.registration.registered())

    def drain(self, within: float, reason: str = "draining") -> bool:
        """Send clients elsewhere, and wait until they have gone: have they all, in ``within``
        seconds?

        Raises:
            ConsulError: an instance could not be put into maintenance mode.
        """
        for service_id in self._service.state.instances:
            self._driver.run(self._service.enter_maintenance(service_id, reason))
        return self._driver.run(self._service.wait_until_idle(within))

    def resume(self) -> None:
        """Take all out of maintenance mode."""
        for service_id in self._service.state.instances:
            self._driver.run(self._service.leave_maintenance(service_id))

    def deregister(self) -> None:
        """Take all out of Consul, and end what keeps them there."""
        self._stop_reconciling()
        self._driver.run(self._service.registration.deregister_all())

    def close(self) -> None:
        """End what runs in the background and close the connections. What is registered stays."""
        self._stop_reconciling()
        self._driver.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.deregister()
        finally:
            self.close()

    def _begin(self) -> None:
        for one in self._service.state.instances.values():
            self._start_instance_flows(one)
        self._reconciling = self._driver.start(self._service.reconcile(), "kato-consul keep")

    def _start_instance_flows(self, one: ManagedInstance) -> None:
        for flow, name in self._service.instance_flows(one):
            self._driver.start(flow, name)

    def _stop_reconciling(self) -> None:
        # Joined before anything is taken out: it might put that back.
        self._service.state.stop()
        if self._reconciling is not None:
            self._reconciling.join()
            self._reconciling = None
