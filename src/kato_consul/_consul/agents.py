"""Consul agents: the agents of one cluster that the settings list, and failover between them."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.kv_api import KvApi
from kato_consul.errors import ConsulError, ConsulUnavailable, ConsulUnreachable
from kato_consul.settings import Settings

A = TypeVar("A", bound=ConsulApi)


class Agents(Generic[A]):
    """The agents of one cluster, and the one that is in use. Several watches share it."""

    def __init__(self, apis: Sequence[A]) -> None:
        self._apis = tuple(apis)
        self._current = 0

    def __len__(self) -> int:
        return len(self._apis)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of all agents."""
        return tuple(api.address for api in self._apis)

    @property
    def current(self) -> A:
        """The API of the agent in use."""
        return self._apis[self._current]

    def record_failure(self, api: A) -> None:
        """Record that the agent of ``api`` failed. If it is in use, the next one is used from now.

        If it is not, another watch has recorded the failure already, and nothing changes.
        """
        if api is self.current:
            self._current = (self._current + 1) % len(self._apis)


def another_agent_may_serve(error: ConsulError) -> bool:
    """Return whether the error is specific to one agent, so that another one can be used at once.

    429 is the limit of one agent. A 5xx comes from the servers that all agents share: a retry has
    to wait.
    """
    return isinstance(error, ConsulUnreachable) or (
        isinstance(error, ConsulUnavailable) and error.status == 429
    )


def consul_api(settings: Settings) -> ConsulApi:
    """Return the API of the first agent in ``settings``."""
    return consul_apis(settings)[0]


def consul_apis(settings: Settings) -> list[ConsulApi]:
    """Return the API of each agent in ``settings``, in their order."""
    return _apis(settings, ConsulApi)


def kv_apis(settings: Settings) -> list[KvApi]:
    """Return the API of each agent in ``settings`` with the calls to the KV store, in their
    order."""
    return _apis(settings, KvApi)


def _apis(settings: Settings, kind: type[A]) -> list[A]:
    # Consul's own client adds these query parameters to every call, too (api.QueryOptions).
    parameters = {"ns": settings.namespace, "partition": settings.partition}
    token = settings.token_reader()
    return [
        kind(
            address.origin,
            path=address.path,
            token=token,
            datacenter=settings.datacenters[0],
            auth=settings.auth,
            parameters={name: value for name, value in parameters.items() if value},
        )
        for address in settings.consul_addresses
    ]
