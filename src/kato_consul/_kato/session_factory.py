"""How a client's sessions are put together, for both shells: settings in, flows out."""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from kato_consul._balancing.policies import policy_for
from kato_consul._balancing.pool import InstanceView, Pool
from kato_consul._flow import Flow
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.queries import Query, query_any, query_instance
from kato_consul._kato.session_state import OnConflict, SessionState
from kato_consul._observable import SnapshotStore
from kato_consul._requests.failover import Failover
from kato_consul._runtime_defaults import clock, uniform
from kato_consul.errors import ClientClosed, ConfigurationError
from kato_consul.models import Snapshot
from kato_consul.settings import Settings


def pool_for(settings: Settings) -> Pool:
    """What a client that has these settings will come to know of a service's instances.

    Raises:
        ConfigurationError: there is no such policy.
    """
    return Pool(clock, uniform, policy_for(settings.balancing), settings.zone)


NOTHING: Mapping[str, Any] = MappingProxyType({})
"""One for all: an empty dict for each of 100,000 sessions is 6 MB."""


class SessionFactory:
    """What the sessions of one client share. ``run`` is the shell's way to run a flow."""

    def __init__(
        self, settings: Settings, store: SnapshotStore, run: Callable[[Flow[Any]], Any]
    ) -> None:
        self.run = run
        self._process = os.getpid()
        self._settings = settings
        self.pool = pool_for(settings)
        failover = Failover(store, self.pool, clock, uniform, hedge=settings.hedge)
        self.api = KatoApi(failover, settings.attempt_timeout)

    def new_state(
        self,
        key: str,
        node_id: str | None,
        config: dict[str, Any] | None,
        metadata: dict[str, Any] | None,
        ttl: int | None,
        on_conflict: OnConflict,
        attach: str | None,
    ) -> SessionState:
        """What is known of a new session: nothing but how it is to be opened."""
        if not key:
            raise ConfigurationError("a session needs a key of yours, such as a user's id")
        return SessionState(
            key,
            node_id or key,
            metadata=metadata or NOTHING,
            config=config or NOTHING,
            ttl=ttl if ttl is not None else self._settings.session_ttl,
            on_conflict=on_conflict,
            attach=attach or "",
        )

    def query_any(self, query: Query[Any]) -> Flow[Any]:
        """Flow: ask whoever answers."""
        return query_any(self.api, query, self.deadline())

    def query_instance(self, uid: str, query: Query[Any]) -> Flow[Any]:
        """Flow: ask one instance and no other."""
        return query_instance(self.api, query, uid, self.deadline())

    def instance_views(self, snapshot: Snapshot) -> list[InstanceView]:
        """Each instance: what Consul says of it, and what this client saw of it."""
        return self.pool.views(snapshot)

    def require_own_process(self) -> None:
        """Are these sessions this process's?

        Raises:
            ClientClosed: they were made before a fork, and are the parent's.
        """
        if self._process != os.getpid():
            raise ClientClosed(
                "this session was made before the process forked, and is its parent's: two "
                "writers would lose observations. Ask the client for the session again"
            )

    def deadline(self) -> float:
        """When a call that begins now has to be over."""
        return clock() + self._settings.deadline
