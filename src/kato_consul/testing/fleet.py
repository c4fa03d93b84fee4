"""A whole deployment on this machine: a Consul agent and stand-in instances behind it."""

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
    """An agent and ``size`` instances that share a store; as a context manager.

    ``instances`` maps service ids (``kato-1``, …) to the instances. They are not registered: that
    is the registrar's job, for which `definitions` are ready.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        service: str = "kato",
        interval: str = "1s",
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._size = size
        self._service = service
        self._interval = interval
        self._say = say
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self.folder = opening.enter_context(ScratchFolder("kato-consul-")).path
            binary = find_consul(say=self._say)
            self._say("starting a Consul agent")
            self.agent = opening.enter_context(ConsulAgent(binary=binary))
            self.instances: dict[str, StandInKato] = {}
            for number in range(1, self._size + 1):
                self._say(f"starting KATO (stand-in) {number} of {self._size}")
                instance = StandInKato(store=self.folder / "store.sqlite", name=self._service)
                self.instances[f"{self._service}-{number}"] = opening.enter_context(instance)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def settings(self) -> Settings:
        """Settings of a client or registrar of this fleet; nothing from the environment."""
        return Settings(consul_addr=self.agent.http_addr, service=self._service)

    @property
    def definitions(self) -> list[ServiceDefinition]:
        """A definition for each instance, checked every ``interval``."""
        return [
            ServiceDefinition(
                name=self._service,
                id=service_id,
                address=one.host,
                port=one.port,
                check=CheckDefinition(
                    http=f"{one.url}/health", interval=self._interval, timeout="1s"
                ),
            )
            for service_id, one in self.instances.items()
        ]

    def definition_file(self) -> Path:
        """The same as a TOML file, as people write it."""
        path = self.folder / "kato.toml"
        tables = [
            f"[[service]]\n"
            f'name = "{one.name}"\nid = "{one.id}"\naddress = "{one.address}"\nport = {one.port}\n'
            f'check = {{ interval = "{self._interval}", timeout = "1s" }}\n'
            for one in self.definitions
        ]
        path.write_text("\n".join(tables), encoding="utf-8")
        return path
