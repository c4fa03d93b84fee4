"""Who leaves the board is dropped, and nobody else."""

from kato_consul._discovery.connection_cleanup import closing_removed
from kato_consul._flow import CloseConnections, Flow, Sleep, Step
from kato_consul._observable import SnapshotStore
from kato_consul.models import Health, Instance, Snapshot
from tests.building import instance, snapshot

SHOWN: list[tuple[str, list[Instance], list[str]]] = [
    ("the first are nobody's successors", [instance("a"), instance("b")], []),
    ("one fails its checks", [instance("a"), instance("b", Health.CRITICAL)], []),
    ("one leaves, one comes", [instance("a"), instance("c")], ["http://b.test:8000"]),
    ("one moves", [instance("a", address="z.test"), instance("c")], ["http://a.test:8000"]),
    (
        "one has a new id on the same address",
        [instance("d", address="z.test")],
        ["http://c.test:8000"],
    ),
    ("the last leaves", [], ["http://z.test:8000"]),
]
"""What happens, who is there then, and who is dropped."""


def test_who_left() -> None:
    """Each origin that no instance has any more is dropped once, after the board shows it."""
    store = SnapshotStore("kato")
    shown: list[Snapshot] = [snapshot(*instances) for _, instances, _ in SHOWN]

    def watching() -> Flow[None]:
        for one in shown:
            yield Sleep(1.0)
            store.publish(one)
        yield Sleep(1.0)

    flow = closing_removed(watching(), store)
    step: Step = next(flow)
    for what, _, left in SHOWN:
        assert step == Sleep(1.0)
        dropped = []
        while isinstance(step := flow.send(None), CloseConnections):
            dropped.append(step.origin)
        assert dropped == left, what


def test_the_watch_ends_with_it() -> None:
    """Closed, it closes the watch: a driver that ends closes its flows."""
    ended = []

    def watching() -> Flow[None]:
        try:
            while True:
                yield Sleep(1.0)
        finally:
            ended.append(True)

    flow = closing_removed(watching(), SnapshotStore("kato"))
    next(flow)
    flow.close()
    assert ended == [True]
