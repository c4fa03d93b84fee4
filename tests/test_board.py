"""The board: one writer, many readers, and who is woken when."""

from contextlib import ExitStack

import pytest

from kato_consul.board import Board
from kato_consul.errors import ConsulUnreachable
from kato_consul.model import Health
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
