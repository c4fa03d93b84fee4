"""How discovery is put together, for both shells: settings in, flows out."""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from kato_consul._consul.agents import Agents, consul_apis
from kato_consul._consul.call import CONSUL_TIMEOUT, execute
from kato_consul._consul.health_query import HealthQuery, health_queries
from kato_consul._discovery.connection_cleanup import closing_removed
from kato_consul._discovery.datacenters import Datacenters
from kato_consul._discovery.snapshot_codec import static_snapshot
from kato_consul._discovery.snapshot_file import SnapshotFile
from kato_consul._discovery.watch import FIRST_ANSWER_WITHIN, watch
from kato_consul._flow import Flow, WaitForChange
from kato_consul._observable import SnapshotStore
from kato_consul._runtime_defaults import clock, uniform
from kato_consul.errors import ConsulUnreachable, UnknownService
from kato_consul.models import Snapshot, Source
from kato_consul.settings import Settings

REFRESH = 300.0
"""Seconds after which the copy on disk is written again though nothing changed: it tells when
Consul last confirmed it."""


class DiscoveryService:
    """Discovery of one service: its board, and the flows around it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.agents = Agents(consul_apis(settings))
        self._queries = health_queries(settings)
        self._copies = SnapshotFile(settings)
        places = " or ".join(one.datacenter for one in self._queries if one.datacenter)
        asked = replace(self._queries[0], datacenter=places or None).description
        remembered = self._copies.read()
        listed = (
            static_snapshot(settings.service, settings.kato_urls) if settings.kato_urls else None
        )
        self.store = SnapshotStore(
            settings.service,
            fallback=remembered.snapshot if remembered else listed,
            fallback_confirmed_at=clock() - max(0.0, time.time() - remembered.confirmed)
            if remembered
            else None,
            asked=asked,
        )
        self._has_fallback = bool(remembered or listed)
        if listed is not None and not settings.uses_consul:
            self.store.publish(listed)

    def watches(self) -> Iterator[Flow[None]]:
        """The flows without end that keep the board."""
        if not self.settings.uses_consul:
            return
        if len(self._queries) == 1:
            flows = iter([self._watch(self._queries[0], self.store)])
        else:
            flows = Datacenters(self.store, self._queries, self._watch).flows()
        for flow in flows:
            yield closing_removed(flow, self.store)

    def _watch(
        self, query: HealthQuery, store: SnapshotStore, go_on: Callable[[], bool] = lambda: True
    ) -> Flow[None]:
        return watch(
            self.agents,
            query,
            store,
            clock=clock,
            random=uniform,
            every=self.settings.query_interval,
            first_within=FIRST_ANSWER_WITHIN if self._has_fallback else CONSUL_TIMEOUT,
            go_on=go_on,
        )

    @property
    def saves_snapshots(self) -> bool:
        """Is a copy of the last good snapshot to be kept on disk?"""
        return self._copies.path is not None

    def snapshot_after(
        self, seen: Snapshot | None, within: float = REFRESH
    ) -> Flow[Snapshot | None]:
        """Flow: what there is after a change since ``seen``, or after ``within`` seconds."""
        yield WaitForChange(self.store, seen, within)
        return self.store.current

    def save_snapshot(self) -> None:
        """Write the copy, if Consul's last word is a good one. This blocks."""
        snapshot, age = self.store.current, self.age()
        if snapshot is not None and snapshot.source is Source.CONSUL and snapshot.usable:
            self._copies.write(snapshot, time.time() - (age or 0.0))

    def first(self, timeout: float) -> Flow[Snapshot]:
        """Flow: the current snapshot, waited for while Consul has not answered yet.

        Raises:
            ConsulError: it did not answer within ``timeout`` seconds.
        """
        until = clock() + timeout
        while self.store.current is None:
            left = until - clock()
            if left <= 0:
                trouble = self.store.last_error or ConsulUnreachable(
                    self.agents.current.address, f"no answer yet after {timeout:g} s", sent=True
                )
                raise copy.copy(trouble)  # many callers may raise it
            yield WaitForChange(self.store, None, left)
        return self.store.current

    def next_change(self, seen: Snapshot | None) -> Flow[Snapshot]:
        """Flow: the next snapshot that differs from ``seen``."""
        while self.store.current is None or self.store.current is seen:
            yield WaitForChange(self.store, seen, 3600.0)
        return self.store.current

    def require_registered(self, snapshot: Snapshot) -> Flow[Snapshot]:
        """Flow: the snapshot again, if its service is one that Consul knows.

        Raises:
            UnknownService: it is not; with the names of those that are.
        """
        if not snapshot.instances:
            names = yield from execute(self.agents.current.service_names())
            if snapshot.service not in names:
                raise UnknownService(snapshot.service, names)
        return snapshot

    def age(self) -> float | None:
        """Seconds since Consul last confirmed the snapshot; None when it never did."""
        confirmed = self.store.confirmed_at
        return None if confirmed is None else max(0.0, clock() - confirmed)
