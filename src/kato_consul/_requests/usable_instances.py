"""Usable instances: waits until a service has one, or states why it has none."""

import copy

from kato_consul._flow import Clock, Flow, WaitForChange
from kato_consul._observable import SnapshotStore
from kato_consul.errors import NoInstances
from kato_consul.models import Snapshot


def wait_for_usable(store: SnapshotStore, clock: Clock, deadline: float) -> Flow[Snapshot]:
    """Flow: wait for a snapshot with a usable instance.

    Raises:
        NoInstances, ConsulError: There was none before the deadline.
    """
    while True:
        snapshot = store.current
        if snapshot is not None and snapshot.usable:
            return snapshot
        remaining = deadline - clock()
        if remaining <= 0:
            if store.last_error is not None:
                raise copy.copy(store.last_error)  # many callers may raise it
            reason = _why_none_usable(store, clock())
            raise NoInstances(store.service, reason, query_description=store.query_description)
        yield WaitForChange(store, snapshot, remaining)


def _why_none_usable(store: SnapshotStore, now: float) -> str:
    snapshot = store.current
    if snapshot is None:
        return "Consul has not answered yet"
    duration = f", for {now - store.empty_since:.0f} s" if store.empty_since is not None else ""
    if snapshot.filtered:
        return (
            f"Consul hides instances that the token may not read{duration}. Use a token with "
            f"service:read and node:read (CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE)"
        )
    if not snapshot.instances:
        return (
            f"Consul lists none{duration}. Register one with 'kato-consul register'; or, with "
            f"ACLs, use a token that may read it: 'kato-consul doctor' shows which is the case"
        )
    states = "; ".join(
        f"{instance.id} is {instance.health}: {instance.address_error or instance.output}"
        for instance in snapshot.instances
    )
    return f"none is usable{duration} ({states})"
