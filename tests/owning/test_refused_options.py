"""Options of sessions that are not open: those that KATO refuses stay with the process that gave
them, and those of a deleted session are not those of the next one."""

from functools import partial

import pytest

from kato_consul._kato import configuration, reads
from kato_consul._kato.journal import Journal
from kato_consul._kato.session_options import SessionOptions
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import ConfigurationError
from tests.owning.calling import Calls, observe
from tests.owning.two_owners import KEY

REFUSED = Journal({"max_pattern_length": -7})


def test_another_process_opens_it_with_its_own() -> None:
    """It does not wait for the process whose options KATO has refused."""
    calls = Calls()
    calls.a.state = SessionState(KEY, "node", journal=REFUSED)
    with pytest.raises(ConfigurationError):
        calls.call(calls.a, observe("a"))
    assert KEY not in calls.store.holders
    calls.alone(calls.b, observe("b"))
    assert calls.symbols(calls.b) == ["b"]


def test_the_refused_session_is_used_again() -> None:
    """The same process has opened it with other options: it still owns that one."""
    calls = Calls()
    old = calls.a.state = SessionState(KEY, "node", journal=REFUSED)
    with pytest.raises(ConfigurationError):
        calls.call(calls.a, observe("a"))
    new = calls.a.state = SessionState(KEY, "node")
    calls.call(calls.a, observe("a"))
    calls.a.state = old
    with pytest.raises(ConfigurationError):
        calls.call(calls.a, observe("z"))
    calls.a.state = new
    assert calls.a.owned.states == {KEY: new}
    calls.call(calls.b, observe("b"))
    calls.call(calls.a, observe("c"))
    assert calls.symbols(calls.b) == ["a", "b", "c"]


def test_after_a_deletion() -> None:
    """The next process to open it does so with its own options."""
    calls = Calls()
    calls.call(calls.a, partial(configuration.set_config, values={"max_pattern_length": 5}))
    calls.call(calls.a, reads.delete)
    options = SessionOptions(node_id="other")
    calls.b.state = SessionState(KEY, "other", options=options)
    calls.call(calls.b, observe("b"))
    session = calls.kato.session_of(calls.b.state)
    assert (session.node_id, calls.b.state.node_id) == ("other", "other")
    assert calls.call(calls.b, reads.config)["max_pattern_length"] == 0
