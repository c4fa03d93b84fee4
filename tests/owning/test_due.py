"""Which sessions are to be handed over, and when this is looked at again."""

from typing import Any

import pytest

from kato_consul._directory.directory import Held
from kato_consul._directory.entry import Entry
from kato_consul._directory.lease import Lease
from kato_consul._flow import WaitForChange
from kato_consul._kato.ownership import Ownership
from kato_consul._kato.session_state import SessionState
from kato_consul._observable import Observable
from kato_consul._owning.handover import due
from kato_consul._owning.owned_sessions import OwnedSessions


class WaitingDirectory:
    """A directory in which another process waits for a session that this one acquires again: it
    knows the session, and gives nothing up."""

    def __init__(self, key: str) -> None:
        self.wanted = Observable(frozenset({key}))

    def disown(self, key: str, deadline: float, is_known: Any) -> Any:
        """Flow: do nothing."""
        return
        yield


def test_a_session_that_is_acquired_again_is_looked_at_again() -> None:
    """Others have waited all the time, so nothing changes when it is held: the wait is short."""
    directory: Any = WaitingDirectory("user-1")
    owned = OwnedSessions(directory, keeps_observations=True)
    flow = due(owned, busy=False)
    step = next(flow)
    while not isinstance(step, WaitForChange):
        step = flow.send(None)
    assert step.timeout < 0.1
    lease = Lease(lambda: 0.0)
    held = Held(Entry(key="user-1"), lease, None)
    held.acquired_at = -1.0
    state = SessionState("user-1", "node", ownership=Ownership(held=held))
    owned.states["user-1"] = state
    with pytest.raises(StopIteration) as stopped:
        while True:
            flow.send(None)
    assert stopped.value.value == [state]
