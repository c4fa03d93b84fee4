"""Connection cleanup: which origins are closed at a change."""

from kato_consul._discovery.connection_cleanup import closing_removed
from kato_consul._flow import CloseConnections, Flow, Sleep, Step
from kato_consul._observable import SnapshotStore
from kato_consul.models import Health, Instance, Snapshot
from tests.building import instance, snapshot

CHANGES: list[tuple[str, list[Instance], list[str]]] = [
    ("the first snapshot", [instance("a"), instance("b")], []),
    ("one fails its checks", [instance("a"), instance("b", Health.CRITICAL)], []),
    ("one is deregistered, one registered", [instance("a"), instance("c")], ["http://b.test:8000"]),
    (
        "one changes its address",
        [instance("a", address="z.test"), instance("c")],
        ["http://a.test:8000"],
    ),
    (
        "one has a new id on the same address",
        [instance("d", address="z.test")],
        ["http://c.test:8000"],
    ),
    ("the last is deregistered", [], ["http://z.test:8000"]),
]
"""The change, the instances after it, and the origins that are closed."""


def test_origin_without_an_instance_is_closed_once() -> None:
    """An origin that no instance has any more is closed once, after the snapshot is published."""
    store = SnapshotStore("kato")
    snapshots: list[Snapshot] = [snapshot(*instances) for _, instances, _ in CHANGES]

    def watch() -> Flow[None]:
        for one in snapshots:
            yield Sleep(1.0)
            store.publish(one)
        yield Sleep(1.0)

    flow = closing_removed(watch(), store)
    step: Step = next(flow)
    for change, _, removed in CHANGES:
        assert step == Sleep(1.0)
        closed = []
        while isinstance(step := flow.send(None), CloseConnections):
            closed.append(step.origin)
        assert closed == removed, change


def test_closing_the_flow_closes_the_watch() -> None:
    """A driver that stops closes its flows, and each must close the watch inside."""
    closed = []

    def watch() -> Flow[None]:
        try:
            while True:
                yield Sleep(1.0)
        finally:
            closed.append(True)

    flow = closing_removed(watch(), SnapshotStore("kato"))
    next(flow)
    flow.close()
    assert closed == [True]
