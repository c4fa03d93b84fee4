"""Two clients that write to one KATO session, which is not supported: both must get an error."""

import threading
from collections.abc import Iterator

import pytest

from kato_consul import KatoClient, Session, SessionConflict
from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet
from kato_consul.testing.history import read_session


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """An agent and three registered instances."""
    with Fleet() as running, Registrar(running.definitions, running.settings):
        yield running


@pytest.fixture
def clients(fleet: Fleet) -> Iterator[tuple[KatoClient, KatoClient]]:
    """Two independent clients."""
    with KatoClient(fleet.settings) as one, KatoClient(fleet.settings) as other:
        yield one, other


def sharing(clients: tuple[KatoClient, KatoClient], key: str) -> tuple[Session, Session]:
    """Return the same KATO session for both clients.

    There is no public way to do this: each client opens its own sessions. It happens when a process
    forks with an open session, which copies the session's id and its journal.
    """
    one, other = (client.session(key) for client in clients)
    one.observe([f"{key}: from before the fork"])
    other._state.journal = one._state.journal
    return one, other


class Writer:
    """Observes its own symbols. ``own`` are those acknowledged since the last conflict, and
    ``conflicts`` are all conflicts."""

    def __init__(self, session: Session, name: str) -> None:
        self.session = session
        self.name = name
        self.own: list[str] = []
        self.conflicts: list[SessionConflict] = []

    def observe(self, number: int) -> None:
        """Send one observation; record a conflict."""
        symbol = f"{self.name} {number:03}"
        try:
            self.session.observe([symbol])
        except SessionConflict as conflict:
            self.record(conflict)
        else:
            self.own.append(symbol)

    def read(self) -> None:
        """Read the memory, which compares it with the journal."""
        try:
            self.session.stm()
        except SessionConflict as conflict:
            self.record(conflict)

    def record(self, conflict: SessionConflict) -> None:
        """Record a conflict: earlier acknowledgements are no longer guaranteed."""
        self.conflicts.append(conflict)
        self.own = []


def test_alternating_writes_are_conflicts(
    fleet: Fleet, clients: tuple[KatoClient, KatoClient]
) -> None:
    """A write after the other client's is a conflict with both states; nothing is undone."""
    one, other = sharing(clients, "turns")
    one.observe(["from one"])
    with pytest.raises(SessionConflict) as caught:
        other.observe(["from the other"])
    conflict = caught.value
    assert (conflict.expected, conflict.found) == (1, 3)
    assert conflict.found_stm[1:] == [["from one"], ["from the other"]]
    assert conflict.sent
    assert conflict.safe_to_resend is False
    other.observe(["goes on from there"])  # the state in KATO was adopted
    with pytest.raises(SessionConflict):
        one.stm()
    final = read_session(next(iter(fleet.instances.values())).url, one.id)
    assert final is not None
    assert [symbol for (symbol,) in final.stm][1:] == [
        "from one",
        "from the other",
        "goes on from there",
    ]


@pytest.mark.parametrize("attempt", range(3))
def test_concurrent_writes_are_conflicts(
    fleet: Fleet, clients: tuple[KatoClient, KatoClient], attempt: int
) -> None:
    """Both write at the same time for a while; KATO acknowledges all and loses some. All that was
    acknowledged to a client since its last conflict is in KATO at the end."""
    one, other = (
        Writer(session, name)
        for session, name in zip(
            sharing(clients, f"at once {attempt}"), ("one", "other"), strict=True
        )
    )

    def write(writer: Writer) -> None:
        for number in range(30):
            writer.observe(number)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.read()
    other.read()
    final = read_session(next(iter(fleet.instances.values())).url, one.session.id)
    assert final is not None
    stored = [symbol for (symbol,) in final.stm]
    for writer in (one, other):
        assert writer.conflicts
        assert [symbol for symbol in stored if symbol in writer.own] == writer.own
