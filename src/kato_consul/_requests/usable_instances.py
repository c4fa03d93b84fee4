"""Usable instances: waits until a service has one, or states why it has none."""

import copy
import shlex

from kato_consul._flow import Clock, Flow, WaitForChange
from kato_consul._logging import logger
from kato_consul._observable import SnapshotStore
from kato_consul.errors import NoInstances
from kato_consul.models import USABLE_HEALTH, Snapshot

log = logger("requests")


def wait_for_usable(
    store: SnapshotStore, clock: Clock, deadline: float, at_most: float | None = None
) -> Flow[Snapshot]:
    """Flow: wait for a snapshot with a usable instance.

    ``at_most`` is how long to wait, in seconds, once there is a snapshot and none of its instances
    is usable; None: until ``deadline``. The wait for the first snapshot ends at the deadline only.

    Raises:
        NoInstances, ConsulError: There was none in time.
    """
    none_usable_since: float | None = None
    logged = False
    while True:
        snapshot = store.current
        if snapshot is not None and snapshot.usable:
            return snapshot
        now = clock()
        until = deadline
        if snapshot is not None and at_most is not None:
            none_usable_since = now if none_usable_since is None else none_usable_since
            until = min(deadline, none_usable_since + at_most)
        if until <= now:
            if store.last_error is not None:
                raise copy.copy(store.last_error)  # many callers may raise it
            reason = _why_none_usable(store, now)
            raise NoInstances(store.service, reason, query_description=store.query_description)
        if not logged and (snapshot is not None or store.last_error is not None):
            logged = True
            why = str(store.last_error) if store.last_error else _why_none_usable(store, now)
            log.info("instances.waiting", service=store.service, seconds=until - now, why=why)
        yield WaitForChange(store, snapshot, until - now)


def _why_none_usable(store: SnapshotStore, now: float) -> str:
    snapshot = store.current
    doctor = f"'kato-consul doctor --service {shlex.quote(store.service)}'"
    if snapshot is None and not store.lists_none:
        return f"Consul has not answered yet: its agent is starting, or hangs. See {doctor}"
    duration = f", for {now - store.empty_since:.0f} s" if store.empty_since is not None else ""
    if snapshot is not None and snapshot.filtered:
        return (
            f"Consul hides instances that the token may not read{duration}. Use a token with "
            f"service:read and node:read (CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE)"
        )
    if snapshot is None or not snapshot.instances:
        return (
            f"Consul lists none{duration}. Register one with 'kato-consul register'. Or Consul has "
            f"ACLs, and there is no token, or one that may not read it: set one with service:read "
            f"and node:read in CONSUL_HTTP_TOKEN. {doctor} shows which is the case"
        )
    states = "; ".join(
        f"{instance.id} is {instance.health}: {instance.address_error or instance.output}"
        for instance in snapshot.instances
    )
    if any(instance.health in USABLE_HEALTH for instance in snapshot.instances):
        return f"none is usable{duration} ({states})"  # their addresses are invalid
    return f"Consul lists none as passing{duration} ({states})"
