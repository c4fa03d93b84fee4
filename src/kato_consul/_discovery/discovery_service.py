"""Discovery service: assembles the watch of one service from settings, for both shells."""

import copy
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from kato_consul._consul.agents import Agents, consul_apis
from kato_consul._consul.call import CONSUL_TIMEOUT, call_consul
from kato_consul._consul.health_query import HealthQuery, health_queries
from kato_consul._consul.permissions import NODE_READ, SERVICE_READ, read_permissions
from kato_consul._discovery.connection_cleanup import closing_removed
from kato_consul._discovery.datacenters import Datacenters
from kato_consul._discovery.snapshot_codec import static_snapshot
from kato_consul._discovery.snapshot_file import SnapshotFile
from kato_consul._discovery.watch import (
    BLOCKING_WAIT,
    FIRST_RESPONSE_TIMEOUT,
    TOKEN_WAIT,
    watch,
)
from kato_consul._flow import LONG_WAIT, Flow, WaitForChange
from kato_consul._observable import SnapshotStore
from kato_consul._runtime_defaults import clock, uniform
from kato_consul.errors import ConsulDenied, ConsulUnreachable, UnknownService
from kato_consul.models import Snapshot, Source
from kato_consul.settings import Settings

REWRITE_INTERVAL = 300.0
"""Seconds after which the saved snapshot is written again although it did not change, because it
contains the time of Consul's last confirmation."""


class DiscoveryService:
    """Discovery of one service: its snapshot store, and the flows that read and write it."""

    def __init__(self, settings: Settings) -> None:
        """Read the saved snapshot, if there is one. Nothing is sent.

        The fallback until Consul's first response is the saved snapshot, or else the static list.
        Without Consul the static list is published at once.
        """
        self.settings = settings
        self.agents = Agents(consul_apis(settings) if settings.uses_consul else ())
        self._queries = health_queries(settings)
        self._file = SnapshotFile(settings)
        saved = self._file.read()
        static = (
            static_snapshot(settings.service, settings.kato_urls) if settings.kato_urls else None
        )
        self.store = SnapshotStore(
            settings.service,
            fallback=saved.snapshot if saved else static,
            fallback_confirmed_at=clock() - max(0.0, time.time() - saved.confirmed_at)
            if saved
            else None,
            query_description=self._query_description(),
        )
        if static is not None and not settings.uses_consul:
            self.store.publish(static)
        self._not_running = [*self.new_watch()]
        self._watch_count = len(self._not_running)
        self._savers = itertools.count()

    def _query_description(self) -> str:
        names = " or ".join(query.datacenter for query in self._queries if query.datacenter)
        return replace(self._queries[0], datacenter=names or None).description

    def new_watch(self) -> Iterator[Flow[None]]:
        """Yield the flows of a new watch, which keep the store up to date. They do not end. Without
        Consul there is none."""
        if not self.settings.uses_consul:
            return
        if len(self._queries) == 1:
            flows = iter([self._watch(self._queries[0], self.store)])
        else:
            flows = Datacenters(self.store, self._queries, self._watch).flows()
        for flow in flows:
            yield closing_removed(flow, self.store)

    def watches(self) -> list[Flow[None]]:
        """Return the flows to run in the background, which keep the store up to date.

        Each of them takes one watch that does not run yet, and ends if there is none. So none runs
        twice, although several threads start the flows at once, or a start was interrupted and is
        repeated.
        """
        return [self._next_watch() for _ in range(self._watch_count)]

    def _next_watch(self) -> Flow[None]:
        try:
            watch = self._not_running.pop()
        except IndexError:
            return
        yield from watch

    @property
    def saves_snapshots(self) -> bool:
        """True if the last good snapshot is saved to disk."""
        return self._file.path is not None

    def begin_saving(self) -> bool:
        """Return True the first time: then the caller saves the snapshots."""
        return next(self._savers) == 0

    def _watch(
        self, query: HealthQuery, store: SnapshotStore, needed: Callable[[], bool] = lambda: True
    ) -> Flow[None]:
        return watch(
            self.agents,
            query,
            store,
            clock=clock,
            random=uniform,
            query_interval=self.settings.query_interval,
            first_timeout=FIRST_RESPONSE_TIMEOUT if self.store.has_fallback else CONSUL_TIMEOUT,
            wait_while_hidden=TOKEN_WAIT if self.settings.consul_token_file else BLOCKING_WAIT,
            needed=needed,
        )

    def snapshot_after(
        self, seen: Snapshot | None, within: float = REWRITE_INTERVAL
    ) -> Flow[Snapshot | None]:
        """Flow: wait until the snapshot is not ``seen``, at most ``within`` seconds. Return the
        current one."""
        yield WaitForChange(self.store, seen, within)
        return self.store.current

    def save_snapshot(self) -> None:
        """Save the current snapshot to disk if it is Consul's and has a usable instance. This
        blocks."""
        snapshot, age = self.store.current, self.age()
        if snapshot is not None and snapshot.source is Source.CONSUL and snapshot.usable:
            self._file.write(snapshot, time.time() - (age or 0.0))

    def snapshot(self, timeout: float) -> Flow[Snapshot]:
        """Flow: return the current snapshot; wait for it until Consul has responded.

        Raises:
            ConsulError: Consul did not respond within ``timeout`` seconds.
        """
        deadline = clock() + timeout
        while self.store.current is None:
            remaining = deadline - clock()
            if remaining <= 0:
                error = self.store.last_error or ConsulUnreachable(
                    self.agents.current.address, f"no answer yet after {timeout:g} s", sent=True
                )
                raise copy.copy(error)  # several callers may raise it
            yield WaitForChange(self.store, None, remaining)
        return self.store.current

    def next_change(self, seen: Snapshot | None) -> Flow[Snapshot]:
        """Flow: wait for a snapshot that is not ``seen``, and return it."""
        while self.store.current is None or self.store.current is seen:
            yield WaitForChange(self.store, seen, LONG_WAIT)
        return self.store.current

    def registered_snapshot(self, timeout: float) -> Flow[Snapshot]:
        """Flow: return the current snapshot as `snapshot` does, of a service that is registered.

        Raises:
            ConsulDenied: Consul hides the instances, because the token may not read them.
            UnknownService: it is not registered; the error has the names of all services that are.
            ConsulError: Consul did not respond within ``timeout`` seconds.
        """
        deadline = clock() + timeout
        snapshot = yield from self.snapshot(timeout)
        if snapshot.instances:
            return snapshot
        api, service = self.agents.current, snapshot.service
        names = yield from call_consul(api.service_names().within(deadline - clock()))
        allowed = yield from read_permissions(api, service, deadline - clock())
        # Without node:read Consul lists a service's name, and none of its instances.
        needed = NODE_READ if service in names else SERVICE_READ
        if snapshot.filtered or not allowed.get(needed, True):
            why = f"the token lacks {needed}, so Consul hides the instances"
            raise ConsulDenied(api.address, f"reading the instances of {service!r}", why)
        if service not in names:
            raise UnknownService(service, names)
        return snapshot

    def age(self) -> float | None:
        """Return the seconds since Consul last confirmed the snapshot; None if it never did."""
        confirmed_at = self.store.confirmed_at
        return None if confirmed_at is None else max(0.0, clock() - confirmed_at)
