"""What another owner restores of a session, whatever options it has of its own."""

from functools import partial

import pytest

from kato_consul._kato import reads, writes
from kato_consul._kato.execute import execute_write
from kato_consul._kato.journal import Journal
from kato_consul._kato.session_state import SessionState
from tests.kato.model_kato import ModelKato
from tests.owning.model_directory import ModelStore
from tests.owning.overtaking import observe
from tests.owning.two_owners import KEY, OneOwner


@pytest.mark.parametrize("in_order", [True, False])
def test_session_is_continued_as_it_was_opened_and_configured(in_order: bool) -> None:
    """Node, metadata, time to live, and the configuration with the last change. So it is if KATO
    has lost it, or it is taken over, and opened again."""
    kato = ModelKato()
    store = ModelStore(kato.clock)
    one, two = (OneOwner(name, kato, store) for name in ("one", "two"))
    one.state = SessionState(KEY, "its node", metadata={"made": "by one"}, ttl=120)
    one.state.journal = Journal({"max_predictions": 7})
    changing = partial(execute_write, write=writes.set_config({"recall_threshold": 0.25}))
    for flow in (observe("x"), changing):
        one.call(flow, lambda result, error: None)
        one.finish([])
    if not in_order:
        store.expire("one")
    read: list[object] = []
    two.call(reads.exists, lambda result, error: read.append(error or result))
    two.finish([one] if in_order else [])
    kato.lose_sessions()
    two.call(observe("y"), lambda result, error: read.append(error or result))
    two.finish([])
    session = kato.session_of(two.state)
    assert session.stm == [["x"], ["y"]]
    assert (session.node_id, session.ttl_seconds) == ("its node", 120)
    assert session.metadata["made"] == "by one"
    assert session.config["max_predictions"] == 7
    assert session.config["recall_threshold"] == 0.25
