"""The board: one writer, many readers, and who is woken when."""

from contextlib import ExitStack

import pytest

from kato_consul._observable import Board
from kato_consul.errors import ConsulUnreachable
from kato_consul.models import Health, Snapshot, Source
from tests.building import instance, snapshot

AWAY = ConsulUnreachable("http://consul.test:8500", "refused")


class Bell:
    """A listener that counts."""

    rings = 0

    def __call__(self) -> None:
        self.rings += 1


def test_empty_at_first() -> None:
    """Before the first answer there is neither a snapshot nor trouble."""
    board = Board("kato")
    assert (board.service, board.current, board.trouble) == ("kato", None, None)


def test_change_wakes_all() -> None:
    """Each change is shown to readers and rings every bell once."""
    board, one, other = Board("kato"), Bell(), Bell()
    first, second = snapshot(instance()), snapshot(instance(health=Health.CRITICAL))
    with board.listening(one), board.listening(other):
        board.publish(first)
        assert board.current is first
        board.publish(second)
        assert board.current is second
    assert (one.rings, other.rings) == (2, 2)


def test_same_again_wakes_nobody() -> None:
    """An answer that changes nothing a client acts on rings no bell."""
    board, bell = Board("kato"), Bell()
    board.publish(snapshot(instance(), index=1))
    with board.listening(bell):
        board.publish(snapshot(instance(output="checked again"), index=2))
    assert bell.rings == 0


def test_trouble_keeps_the_last_good_one() -> None:
    """While Consul is away the last good snapshot stays, and nobody is woken for nothing."""
    board, bell = Board("kato"), Bell()
    board.publish(snapshot(instance()))
    with board.listening(bell):
        board.report(AWAY)
    assert (board.current, board.trouble) == (snapshot(instance()), AWAY)
    assert bell.rings == 0


def test_trouble_before_the_first_answer() -> None:
    """Who waits for the first snapshot is woken by trouble: it may be all there will be."""
    board, bell = Board("kato"), Bell()
    with board.listening(bell):
        board.report(AWAY)
    assert (board.current, board.trouble, bell.rings) == (None, AWAY, 1)


def test_answer_ends_trouble() -> None:
    """An answer ends the trouble, also one that changes nothing."""
    board = Board("kato")
    board.publish(snapshot(instance()))
    board.report(AWAY)
    board.publish(snapshot(instance()))
    assert board.trouble is None


def test_listening_ends() -> None:
    """After the block, also one that failed, the bell stays silent."""
    board, bell = Board("kato"), Bell()
    with pytest.raises(KeyError), board.listening(bell):
        raise KeyError
    board.publish(snapshot(instance()))
    assert bell.rings == 0


def test_listener_may_leave_while_woken() -> None:
    """A bell that makes another one leave does not disturb the round."""
    board, bell = Board("kato"), Bell()
    leaving = ExitStack()
    with board.listening(leaving.close):
        leaving.enter_context(board.listening(bell))
        board.publish(snapshot(instance()))
        board.publish(snapshot())
    assert bell.rings == 1


# --- what there is to go by until Consul answers --------------------------------------------

LIST = Snapshot("kato", (instance("given"),), source=Source.STATIC)
COPY = Snapshot("kato", (instance(),), source=Source.DISK)


@pytest.mark.parametrize(("fallback", "confirmed"), [(LIST, None), (COPY, -500.0)])
def test_fallback(fallback: Snapshot, confirmed: float | None) -> None:
    """At the first trouble, and not before, the fallback is shown, with when Consul said so."""
    board, bell = Board("kato", fallback=fallback, fallback_confirmed_at=confirmed), Bell()
    assert not board.current
    with board.listening(bell):
        board.report(AWAY)
        board.report(AWAY)
    assert board.current is fallback
    assert (board.trouble, bell.rings) == (AWAY, 1)
    assert (board.confirmed_at, board.empty_since) == (confirmed, None)


def test_answer_ends_the_fallback() -> None:
    """Consul's answer takes its place, also one with the same content: its source is another."""
    board = Board("kato", fallback=COPY, fallback_confirmed_at=-500.0)
    board.report(AWAY)
    board.publish(snapshot(instance()), 10.0)
    assert board.current is not None
    assert (board.current.source, board.confirmed_at) == (Source.CONSUL, 10.0)
    board.report(AWAY)
    assert board.current.source is Source.CONSUL


@pytest.mark.parametrize("first", [AWAY, None])
def test_nobody_does_not_end_a_list(first: ConsulUnreachable | None) -> None:
    """That Consul has nobody is no reason to give up a list that was given; once it had somebody,
    it is believed."""
    board = Board("kato", fallback=LIST)
    if first is not None:
        board.report(first)
    board.publish(snapshot(), 10.0)
    assert (board.current, board.trouble, board.empty_since) == (LIST, None, None)
    board.publish(snapshot(instance()), 11.0)
    board.publish(snapshot(), 12.0)
    assert (board.current, board.empty_since) == (snapshot(), 12.0)


def test_nobody_ends_a_copy() -> None:
    """A copy is only what Consul said before."""
    board = Board("kato", fallback=COPY, fallback_confirmed_at=-500.0)
    board.report(AWAY)
    board.publish(snapshot(), 10.0)
    assert board.current == snapshot()


# --- since when -----------------------------------------------------------------------------


@pytest.mark.parametrize("nobody", [snapshot(), snapshot(instance(health=Health.CRITICAL))])
def test_empty_since(nobody: Snapshot) -> None:
    """It is known since when nobody can be used, through whatever Consul says of others."""
    board = Board("kato")
    board.publish(snapshot(instance()), 10.0)
    assert board.empty_since is None
    board.publish(nobody, 11.0)
    board.publish(snapshot(instance("other", Health.MAINTENANCE)), 12.0)
    board.report(AWAY)
    assert board.empty_since == 11.0
    board.publish(snapshot(instance()), 13.0)
    assert board.empty_since is None


def test_confirmed() -> None:
    """Each answer confirms what is shown; trouble does not."""
    board = Board("kato")
    assert board.confirmed_at is None
    board.publish(snapshot(instance()), 10.0)
    board.publish(snapshot(instance()), 70.0)
    board.report(AWAY)
    assert board.confirmed_at == 70.0
