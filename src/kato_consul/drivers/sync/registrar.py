"""The registrar for threads."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from kato_consul.drivers.sync.driver import Driver
from kato_consul.drivers.wiring import registering
from kato_consul.registry.definition import ServiceDefinition
from kato_consul.registry.registering import CONSUL_WITHIN, Say
from kato_consul.settings import Settings


class Registrar:
    """Puts instances into Consul, keeps them there, takes them out.

    ``say`` is told of progress: an instance's id and what happened to it. As a context manager it
    registers on the way in and deregisters on the way out.
    """

    def __init__(
        self,
        definitions: Sequence[ServiceDefinition],
        settings: Settings | None = None,
        *,
        wait: float = 60.0,
        say: Say = lambda instance_id, what: None,
    ) -> None:
        self.settings = settings or Settings.from_env()
        self._wait = wait
        self._driver = Driver(self.settings)
        self._registering = registering(self.settings, definitions, say)

    def register(self) -> None:
        """Register all and wait until Consul calls all of them passing; or leave no trace.

        Raises:
            ConsulError: the agent could not be reached, or would not have a definition.
            NotPassing: somebody was not passing within ``wait`` seconds.
        """
        # Who does not wait long for instances does not want to wait longer for Consul.
        within = min(CONSUL_WITHIN, self._wait) if self._wait else CONSUL_WITHIN
        try:
            self._driver.run(self._registering.register(wait=self._wait, consul_within=within))
        except BaseException:  # Ctrl-C too, which ends the flow where it stands
            self._driver.run(self._registering.roll_back())
            raise

    def keep(self) -> None:
        """Register again whatever the agent loses; until interrupted."""
        self._driver.run(self._registering.keep())

    def deregister(self) -> None:
        """Take all out of Consul."""
        self._driver.run(self._registering.deregister())

    def close(self) -> None:
        """Close the connections. What is registered stays."""
        self._driver.close()

    def __enter__(self) -> Self:
        try:
            self.register()
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
