"""Two clients on one KATO session break its one rule. Neither may go on as if nothing happened."""

import threading
from collections.abc import Iterator

import pytest

from kato_consul import KatoClient, Session, SessionConflict
from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet
from kato_consul.testing.history import read_session


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Three instances behind an agent, registered."""
    with Fleet() as made, Registrar(made.definitions, made.settings):
        yield made


@pytest.fixture
def clients(fleet: Fleet) -> Iterator[tuple[KatoClient, KatoClient]]:
    """Two clients that know nothing of each other."""
    with KatoClient(fleet.settings) as one, KatoClient(fleet.settings) as other:
        yield one, other


def sharing(clients: tuple[KatoClient, KatoClient], key: str) -> tuple[Session, Session]:
    """The same KATO session in the hands of both.

    There is no public way to this: each client opens sessions of its own. It takes a process that
    forks with an open session, which is a copy of the id and of what is known of the session.
    """
    one, other = (client.session(key) for client in clients)
    one.observe([f"{key}: both know this"])
    other._state.id = one._state.id
    other._state.journal = one._state.journal.copy()
    return one, other


class Writer:
    """Observes symbols of its own; ``own`` are those acknowledged since it was last told of a
    conflict, and ``conflicts`` how often that was."""

    def __init__(self, session: Session, name: str) -> None:
        self.session = session
        self.name = name
        self.own: list[str] = []
        self.conflicts: list[SessionConflict] = []

    def observe(self, number: int) -> None:
        """One observation, or a conflict."""
        symbol = f"{self.name} {number:03}"
        try:
            self.session.observe([symbol])
        except SessionConflict as conflict:
            self.told(conflict)
        else:
            self.own.append(symbol)

    def look(self) -> None:
        """Look at the memory, which compares it."""
        try:
            self.session.stm()
        except SessionConflict as conflict:
            self.told(conflict)

    def told(self, conflict: SessionConflict) -> None:
        """What was acknowledged before is no longer this client's to answer for."""
        self.conflicts.append(conflict)
        self.own = []


def test_in_turns(fleet: Fleet, clients: tuple[KatoClient, KatoClient]) -> None:
    """Whoever writes after the other is told, with both sides; nothing of the other's is undone."""
    one, other = sharing(clients, "turns")
    one.observe(["from one"])
    with pytest.raises(SessionConflict) as told:
        other.observe(["from the other"])
    conflict = told.value
    assert (conflict.expected, conflict.found) == (1, 3)
    assert conflict.found_stm[1:] == [["from one"], ["from the other"]]
    assert conflict.sent
    assert conflict.safe_to_resend is False
    other.observe(["goes on from there"])  # what was there was taken over
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
def test_at_once(fleet: Fleet, clients: tuple[KatoClient, KatoClient], attempt: int) -> None:
    """Both write at the same time for a while. KATO loses some and acknowledges all; whoever was
    not told of a conflict when it looks in the end has all that was acknowledged to it there."""
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
    one.look()
    other.look()
    final = read_session(next(iter(fleet.instances.values())).url, one.session.id)
    assert final is not None
    there = [symbol for (symbol,) in final.stm]
    for writer in (one, other):
        assert writer.conflicts
        assert [symbol for symbol in there if symbol in writer.own] == writer.own
