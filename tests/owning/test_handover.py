"""Hand-over: its background work, while a call in another thread changes what it reads."""

import pytest

from kato_consul._directory.directory import Held
from kato_consul._directory.entry import Entry
from kato_consul._flow import WaitForChange
from kato_consul._kato.ownership import Ownership
from kato_consul._kato.session_state import SessionState
from kato_consul._owning.handover import due, release
from kato_consul._owning.owned_sessions import OwnedSessions
from kato_consul.testing.clock import ManualClock
from tests.owning.calling import Calls, observe
from tests.owning.model_directory import ModelDirectory, ModelStore
from tests.owning.two_owners import KEY


class ReleasedWhileRead(Ownership):
    """A session that a call releases after ``held`` was read so many times."""

    def __init__(self, held: Held, reads: int) -> None:
        super().__init__(used_at=held.lease.now())
        self._released = held
        self._reads = reads

    @property
    def held(self) -> Held | None:
        """The session, the first times that it is read."""
        self._reads -= 1
        return self._released if self._reads >= 0 else None

    @held.setter
    def held(self, held: Held | None) -> None:
        """Nothing: this is in the hands of the other thread."""


@pytest.mark.parametrize("reads", range(4))
def test_a_session_that_is_released_meanwhile(reads: int) -> None:
    """The background work goes on: otherwise no session would be handed over any more."""
    directory = ModelDirectory(ModelStore(ManualClock()), "one")
    owned = OwnedSessions(directory, keeps_observations=True)
    held = Held(Entry(key=KEY), directory.lease, token=None)
    owned.states[KEY] = SessionState(KEY, KEY, ownership=ReleasedWhileRead(held, reads))
    directory.wanted.set(frozenset({KEY}))
    step = next(due(owned, busy=False), None)  # None: it has returned the session
    assert step is None or isinstance(step, WaitForChange)


def test_a_session_that_is_being_acquired() -> None:
    """The directory has it, and its call is not told yet: it is not taken from that call."""
    calls = Calls()
    owner = calls.a
    calls.begin(owner, observe("a"))
    while KEY not in calls.store.holders:
        owner.step()
    assert owner.state.ownership is not None
    assert owner.state.ownership.holding is None
    owner.directory.wanted.set(frozenset({KEY}))
    with pytest.raises(StopIteration) as returned:
        next(due(owner.owned, busy=False))
    assert returned.value.value == [owner.state]  # it is handed over if it has no call
    calls.end(owner)
    assert calls.store.holders[KEY] == owner.name


def test_a_session_whose_call_was_interrupted_before_it_knew() -> None:
    """Nothing is held, and the directory has it: it is given up, when there is no call."""
    calls = Calls()
    owner = calls.a
    calls.call(owner, observe("a"))
    assert owner.state.ownership is not None
    owner.state.ownership.held = None
    flow = release(owner.owned, owner.api, owner.state, calls.kato.clock.now + 10.0)
    assert list(flow)
    assert KEY not in calls.store.holders
    assert calls.symbols(calls.b) == ["a"]
