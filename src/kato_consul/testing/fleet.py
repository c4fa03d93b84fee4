"""Local deployment: a Consul agent and stand-in instances on this machine."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Self

from kato_consul._definitions.schema import CheckDefinition, ServiceDefinition
from kato_consul.settings import Settings
from kato_consul.testing.consul.agent import ConsulAgent
from kato_consul.testing.consul.binary import find_consul
from kato_consul.testing.kato.instance import StandInKato
from kato_consul.testing.scratch import ScratchFolder


class Fleet:
    """A Consul agent and stand-in instances that share a store, as a context manager.

    ``agent`` is the agent. ``instances`` maps service ids (``kato-1``, …) to the instances. They
    are not registered; register them with a registrar and `definitions`.

    Args:
        size: number of instances.
        service: service name in Consul, and SERVICE_NAME of the instances.
        interval: interval of each instance's health check, as Consul writes durations.
        on_progress: called with a line of text before each step that takes time.

    Raises:
        ConsulNotFound: on entering, no Consul program was found.
        ConsulFailed: on entering, the agent did not start.
        RuntimeError: on entering, an instance did not start.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        service: str = "kato",
        interval: str = "1s",
        on_progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._size = size
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
                instance = StandInKato(store=self.folder / "store.sqlite", name=self._service)
                self.instances[f"{self._service}-{number}"] = opening.enter_context(instance)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

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
