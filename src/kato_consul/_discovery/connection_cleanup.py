"""Connection cleanup: closes the connections to instances that were deregistered."""

from kato_consul._flow import CloseConnections, Flow
from kato_consul._observable import SnapshotStore


def closing_removed(watch: Flow[None], store: SnapshotStore) -> Flow[None]:
    """Flow: run ``watch``, which updates ``store``, and yield a `CloseConnections` for each origin
    that is no longer in the store's snapshot.

    An instance that only fails its checks is still in it: it may pass again in a second.
    """
    try:
        step = next(watch)
        while True:
            outcome = yield step
            before = store.current
            step = watch.send(outcome)
            after = store.current
            if before is not None and after is not None and after is not before:
                remaining = {instance.origin for instance in after.instances}
                for origin in dict.fromkeys(instance.origin for instance in before.instances):
                    if origin not in remaining:
                        yield CloseConnections(origin)
    finally:
        watch.close()
