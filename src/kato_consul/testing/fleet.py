"""Local deployment: a Consul agent and stand-in instances on this machine."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from kato_consul._definitions.schema import CheckDefinition, ServiceDefinition
from kato_consul._sync.discovery import Discovery
from kato_consul._sync.registrar import Registrar
from kato_consul.models import Snapshot
from kato_consul.settings import Settings
from kato_consul.testing.consul.agent import ConsulAgent
from kato_consul.testing.consul.binary import find_consul
from kato_consul.testing.kato.instance import StandInKato, flush
from kato_consul.testing.scratch import ScratchFolder

STORE = "store.sqlite"


class Fleet:
    """A Consul agent and stand-in instances that share a store, as a context manager.

        with Fleet(3, registered=True) as fleet, KatoClient(fleet.settings) as kato:
            kato.session("user-123").observe(["a"])

    ``agent`` is the agent. ``instances`` maps service ids (``kato-1``, …) to the instances.

    Args:
        size: number of instances.
        registered: register them, and wait until they are passing. Otherwise a registrar of your
            own does it, with `definitions`.
        service: service name in Consul, and SERVICE_NAME of the instances.
        interval: interval of each instance's health check, as Consul writes durations.
        on_progress: called with a line of text before each step that takes time.

    Raises:
        ConsulNotFound: on entering, no Consul program was found.
        ConsulFailed: on entering, the agent did not start.
        NotPassing: on entering, an instance that is to be registered was not passing in time.
        RuntimeError: on entering, an instance did not start.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        registered: bool = False,
        service: str = "kato",
        interval: str = "1s",
        on_progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._size = size
        self._registered = registered
        self._service = service
        self._interval = interval
        self._on_progress = on_progress
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self.folder = opening.enter_context(ScratchFolder("kato-consul-")).path
            binary = find_consul(on_progress=self._on_progress)
            self._on_progress("starting a Consul agent")
            self.agent = opening.enter_context(ConsulAgent(binary=binary))
            self.instances: dict[str, StandInKato] = {}
            for number in range(1, self._size + 1):
                self._on_progress(f"starting KATO (stand-in) {number} of {self._size}")
                instance = StandInKato(store=self.folder / STORE, name=self._service)
                self.instances[f"{self._service}-{number}"] = opening.enter_context(instance)
            if self._registered:
                self._on_progress("registering the instances")
                # Closed without deregistering: the agent ends too, and a test may have ended it.
                registrar = Registrar(self.definitions, self.settings)
                opening.callback(registrar.close)
                registrar.start()
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def reset(self, timeout: float = 30.0) -> None:
        """Repair the agent and all instances, and delete all sessions and all that was learned.

        If they are registered, wait until Consul reports all of them as passing. An agent that was
        killed is started empty; they are registered with it again.

        Args:
            timeout: seconds to wait at most.

        Raises:
            TimeoutError: an instance was not passing in time.
            ConsulFailed: the agent did not start.
            RuntimeError: an instance did not start.
        """
        self.agent.repair()
        for instance in self.instances.values():
            instance.repair()
        flush(self.folder / STORE)
        if self._registered:
            self._wait_until_passing(timeout)

    def _wait_until_passing(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with Discovery(self.settings) as discovery:
            seen: Snapshot | None = None
            while True:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError(f"not all instances are passing within {timeout:g} s")
                seen = discovery.wait_for_change(seen, remaining)
                if seen is not None and len(seen.usable) == len(self.instances):
                    return

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for a program that uses this fleet."""
        return {"CONSUL_HTTP_ADDR": self.agent.http_addr, "KATO_CONSUL_SERVICE": self._service}

    @property
    def settings(self) -> Settings:
        """Settings for a client or registrar of this fleet; the environment is not read."""
        return Settings(consul_addr=self.agent.http_addr, service=self._service, trust_env=False)

    @property
    def definitions(self) -> list[ServiceDefinition]:
        """One service definition per instance, with an HTTP check every ``interval``."""
        return [
            ServiceDefinition(
                name=self._service,
                id=service_id,
                address=instance.host,
                port=instance.port,
                check=CheckDefinition(
                    http=f"{instance.url}/health", interval=self._interval, timeout="5s"
                ),
            )
            for service_id, instance in self.instances.items()
        ]

    def definition_file(self) -> Path:
        """Write `definitions` to a TOML file, as a user writes it, and return its path."""
        path = self.folder / "kato.toml"
        tables = [
            f"[[service]]\n"
            f'name = "{one.name}"\nid = "{one.id}"\naddress = "{one.address}"\nport = {one.port}\n'
            f'check = {{ interval = "{self._interval}", timeout = "5s" }}\n'
            for one in self.definitions
        ]
        path.write_text("\n".join(tables), encoding="utf-8")
        return path
