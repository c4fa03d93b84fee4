"""Configuration: what KATO takes and does not use, what is lost, and what is cancelled."""

from typing import Any

import pytest

from kato_consul._flow import Failure, Reply, Send
from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.configuration import set_config
from kato_consul._kato.execute import execute_write, settle
from kato_consul._kato.session_factory import SessionFactory
from kato_consul._kato.session_options import SessionOptions
from kato_consul._kato.session_state import SessionState
from kato_consul._observable import SnapshotStore
from kato_consul.errors import (
    ConfigurationError,
    KatoConsulError,
    OutcomeUnknown,
    StoreUnavailable,
)
from kato_consul.settings import Settings
from tests.building import cut, refused
from tests.kato.model_kato import Fault, ModelKato, playing


class Client:
    """A session in which "a" was observed."""

    def __init__(self) -> None:
        self.kato = ModelKato()
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node")
        self.observe("a")

    def observe(self, symbol: str) -> None:
        """Observe a symbol."""
        self.play(execute_write, write=writes.observe({"strings": [symbol]}))

    def set_config(self, **values: Any) -> None:
        """Set values of the configuration."""
        self.play(set_config, values=values)

    def play(self, flow: Any, **arguments: Any) -> Any:
        """Run a flow with a deadline of 30 s."""
        deadline = self.kato.clock.now + 30.0
        return self.player.play(flow(self.api, self.state, deadline, **arguments), most=5_000)

    @property
    def used(self) -> Any:
        """The session's own settings in KATO."""
        return self.kato.session_of(self.state).config


@pytest.mark.parametrize(
    "values", [{"stm_mode": "rolling"}, {"colour": "red"}, {"sort": True}], ids=str
)
def test_value_that_kato_does_not_use_is_refused(values: dict[str, Any]) -> None:
    """KATO answers 200. The session goes on, also after it was opened again."""
    client = Client()
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        client.set_config(**values)
    client.kato.lose_sessions()
    client.observe("b")
    client.set_config(max_predictions=5)
    assert client.used["max_predictions"] == 5


@pytest.mark.parametrize(
    "values",
    [
        {"length_min_ratio": 7},  # taken here, and refused when a session is created
        {"fuzzy_token_threshold": None},
        {"max_predictions": None},
        {"max_pattern_length": 4, "stm_mode": "ROLLING"},
        {"process_predictions": True},
    ],
    ids=str,
)
def test_value_that_kato_uses_is_there_after_a_loss(values: dict[str, Any]) -> None:
    """Whatever KATO does with it when a session is created."""
    client = Client()
    client.set_config(**values)
    before = client.play(reading.config)
    client.kato.lose_sessions()
    client.observe("b")
    assert client.play(reading.config) == before
    assert client.play(reading.stm) == [["a"], ["b"]]


def test_value_that_kato_stops_using_is_told_once() -> None:
    """A session that is opened again says what it cannot have, and goes on without it."""
    client = Client()
    client.set_config(length_min_ratio=7)
    client.kato.lose_sessions()
    answer = client.kato.answer

    def newer_kato(send: Send) -> Any:
        if send.method == "POST" and send.target.endswith("/config"):
            return Reply(400, {"content-type": "application/json"}, b'{"detail": "unknown"}')
        return answer(send)

    client.player.answer = newer_kato
    with pytest.raises(KatoConsulError, match="unknown"):
        client.observe("b")
    client.observe("c")
    assert client.play(reading.stm) == [["a"], ["c"]]


@pytest.mark.parametrize("fault", Fault)
def test_set_config_with_fault_is_applied(fault: Fault) -> None:
    """KATO and the journal agree, so the next observation that learns is no surprise."""
    client = Client()
    client.kato.hangs_for = 10_000.0
    client.kato.faults = [fault]
    client.set_config(max_pattern_length=3)
    assert client.used["max_pattern_length"] == 3
    for symbol in "bc":
        client.observe(symbol)
    client.kato.wake()
    assert client.play(reading.stm) == []
    assert dict(client.kato.patterns) == {(("a",), ("b",), ("c",)): 1}


@pytest.mark.parametrize("applied", [True, False])
def test_cancelled_set_config_is_settled(applied: bool) -> None:
    """`settle` returns what is so, and the calls follow it."""
    client = Client()
    flow = set_config(
        client.api, client.state, client.kato.clock.now + 30.0, values={"max_pattern_length": 3}
    )
    step = next(flow)
    assert isinstance(step, Send)
    if applied:
        client.kato.answer(step)
    flow.close()
    assert client.play(settle) is applied
    for symbol in "bc":
        client.observe(symbol)
    assert len(client.kato.patterns) == applied
    assert client.play(reading.stm) == ([] if applied else [["a"], ["b"], ["c"]])


def test_full_store_is_not_called_a_wrong_value() -> None:
    """KATO acknowledges what its store does not save."""
    client = Client()
    client.kato.store = "full"
    answer = client.kato.answer

    def slowly(send: Send) -> Any:
        client.kato.clock.advance(0.01)
        return answer(send)

    client.player.answer = slowly
    with pytest.raises(StoreUnavailable):
        client.set_config(max_predictions=7)


@pytest.mark.parametrize("outcome", [cut(), refused()], ids=["cut", "refused"])
def test_values_that_cannot_be_read_back_are_not_denied(outcome: Failure) -> None:
    """KATO has acknowledged them. The next call reads whether it uses them."""
    client = Client()
    answer = client.kato.answer

    def unreadable(send: Send) -> Any:
        client.kato.clock.advance(0.01)
        return outcome if send.method == "GET" else answer(send)

    client.player.answer = unreadable
    with pytest.raises(OutcomeUnknown):
        client.set_config(max_pattern_length=2)
    client.player.answer = answer
    assert client.play(settle) is True
    client.observe("b")
    assert client.play(reading.stm) == []


def test_session_that_is_lost_before_the_read_back_is_opened_with_the_values() -> None:
    """They are part of what a session has."""
    client = Client()
    answer = client.kato.answer

    def lost(send: Send) -> Any:
        outcome = answer(send)
        if send.method == "POST" and send.target.endswith("/config"):
            client.kato.lose_sessions()
            client.player.answer = answer
        return outcome

    client.player.answer = lost
    client.set_config(max_predictions=7)
    assert client.used["max_predictions"] == 7


@pytest.mark.parametrize("length", [True, 1_001, 2**70])
def test_length_that_no_memory_reaches_is_refused(length: Any) -> None:
    """KATO would take it, and never learn."""
    client = Client()
    sent = len(client.player.sent)
    with pytest.raises(ConfigurationError, match="max_pattern_length"):
        client.set_config(max_pattern_length=length)
    assert len(client.player.sent) == sent


NOTHING: dict[str, Any] = dict.fromkeys(SessionOptions.__struct_fields__)


@pytest.mark.parametrize(
    "value", [object(), "\ud800", {("a",): 1}], ids=["object", "surrogate", "tuple key"]
)
def test_value_that_is_not_json_is_refused(value: Any) -> None:
    """Before anything is sent: in `session` and in `set_config`."""
    factory = SessionFactory(Settings(), SnapshotStore("kato"), lambda flow: None, lambda: None)
    for name in ("config", "metadata"):
        with pytest.raises(ConfigurationError, match=name):
            factory.options(**{**NOTHING, name: {"x": value}})
    with pytest.raises(ConfigurationError):
        Client().set_config(x=value)


def test_the_callers_configuration_is_copied() -> None:
    """What a caller changes later does not reach a session that is opened again."""
    factory = SessionFactory(Settings(), SnapshotStore("kato"), lambda flow: None, lambda: None)
    config: dict[str, Any] = {"filter_pipeline": ["length"]}
    metadata: dict[str, Any] = {"tags": ["x"]}
    given = {**NOTHING, "config": config, "metadata": metadata}
    state = factory.new_state("me", factory.options(**given))
    config["filter_pipeline"].append("jaccard")
    metadata["tags"].append("y")
    assert state.journal.config == {"filter_pipeline": ["length"]}
    assert state.metadata == {"tags": ["x"]}
    assert state.teaches_alone
    factory.new_state("other", factory.options(**{**NOTHING, "node_id": "me"}))
    assert not state.teaches_alone
