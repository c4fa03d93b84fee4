"""Several agents of one cluster: the one that works is asked until it fails, then the next."""

from collections.abc import Sequence

from kato_consul._consul.api import ConsulApi
from kato_consul.errors import ConsulError, ConsulUnavailable, ConsulUnreachable
from kato_consul.settings import Settings


class Agents:
    """The agents, and which of them is asked. Those who watch share it."""

    def __init__(self, api: Sequence[ConsulApi]) -> None:
        self._calls = tuple(api)
        self._asked = 0

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def current(self) -> ConsulApi:
        """The calls to the agent to ask."""
        return self._calls[self._asked]

    def record_failure(self, api: ConsulApi) -> None:
        """This one did: ask the next, unless somebody else found that out already."""
        if api is self.current:
            self._asked = (self._asked + 1) % len(self._calls)


def another_may_serve(error: ConsulError) -> bool:
    """Is it this agent's own matter, so that another is asked at once? 429 is the agent's limit; a
    5xx is that of the servers behind all agents, and has to be waited for."""
    return isinstance(error, ConsulUnreachable) or (
        isinstance(error, ConsulUnavailable) and error.status == 429
    )


def consul_api(settings: Settings) -> ConsulApi:
    """The API of the agent that ``settings`` names; of the first one if they name several."""
    return consul_apis(settings)[0]


def consul_apis(settings: Settings) -> list[ConsulApi]:
    """The API of each agent that ``settings`` names."""
    # The query parameters that Consul's own client adds to every call (api.QueryOptions).
    common = {"ns": settings.namespace, "partition": settings.partition}
    return [
        ConsulApi(
            origin,
            token=settings.token,
            datacenter=settings.datacenters[0],
            auth=settings.auth,
            everywhere={name: value for name, value in common.items() if value},
        )
        for origin in settings.consul_origins
    ]
