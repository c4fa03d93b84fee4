"""The connections to an instance that left are closed, by whoever watches it leave."""

from kato_consul._flow import CloseConnections, Flow
from kato_consul._observable import SnapshotStore


def closing_removed(watching: Flow[None], store: SnapshotStore) -> Flow[None]:
    """Flow: ``watching``, which keeps ``board``; and a `Drop` for each origin that is not on it any
    more. An instance that only fails its checks stays: it may be back in a second."""
    try:
        step = next(watching)
        while True:
            outcome = yield step
            before = store.current
            step = watching.send(outcome)
            after = store.current
            if before is not None and after is not None and after is not before:
                stay = {one.origin for one in after.instances}
                for origin in dict.fromkeys(one.origin for one in before.instances):
                    if origin not in stay:
                        yield CloseConnections(origin)
    finally:
        watching.close()
