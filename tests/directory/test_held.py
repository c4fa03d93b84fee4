"""A session that is given back without having been continued."""

import pytest

from kato_consul._directory.directory import Held
from kato_consul._directory.entry import Entry
from kato_consul._directory.lease import Lease

RELEASED = Entry(key="user-1", owner="one", epoch=3, revision=7, released=True, id="kato-1")
LEFT = Entry(key="user-1", owner="one", epoch=3, revision=7, id="kato-1")


@pytest.mark.parametrize(
    ("previous", "writes", "released"),
    [(RELEASED, 0, True), (RELEASED, 1, False), (LEFT, 0, False), (LEFT, 1, False)],
)
def test_released_as_it_was_found(previous: Entry, writes: int, released: bool) -> None:
    """The next owner does what this one had to do. Once it has written the entry, it may have left
    something on its way."""
    acquired = previous.acquired_by("two", "host:2")
    for _ in range(writes):
        acquired = Held(acquired, Lease(), None).given_back(acquired)
    back = Held(acquired, Lease(), None).given_back(previous)
    assert back.released is released
    assert (back.epoch, back.revision, back.id) == (4, 9 + writes, "kato-1")


def test_first_acquisition_is_not_released() -> None:
    """There was no entry: no owner has handed anything over."""
    acquired = Entry(key="user-1").acquired_by("one", "host:1")
    assert not Held(acquired, Lease(), None).given_back(None).released
