"""Session options: a key is used with the options of its first use."""

import uuid
from typing import Any

import pytest

from kato_consul._kato.session_factory import SessionFactory
from kato_consul._kato.session_options import NO_OPTIONS, SessionOptions, checked_key
from kato_consul._observable import SnapshotStore
from kato_consul.errors import ConfigurationError
from kato_consul.settings import Settings

NOTHING: dict[str, Any] = dict.fromkeys(SessionOptions.__struct_fields__)


def ask(first: dict[str, Any], then: dict[str, Any], **settings: Any) -> None:
    """Use the key "me" with some options, and then with others."""
    factory = SessionFactory(
        Settings(**settings), SnapshotStore("kato"), lambda flow: None, lambda: None
    )
    state = factory.new_state("me", factory.options(**{**NOTHING, **first}))
    factory.require_same(state, factory.options(**{**NOTHING, **then}))


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({}, {}),
        ({"node_id": "shop"}, {}),
        ({"node_id": "shop"}, {"node_id": "shop"}),
        ({}, {"node_id": "me"}),
        ({"config": {"max_predictions": 5}}, {"config": {"max_predictions": 5}}),
        ({"metadata": {"tags": ("x",)}}, {"metadata": {"tags": ["x"]}}),
        ({}, {"config": {}, "metadata": {}}),
        ({"ttl": 60}, {"ttl": 60}),
        ({}, {"on_conflict": "repair"}),
        ({"on_conflict": "adopt"}, {}),
        ({"attach": "session-1"}, {"attach": "session-1"}),
    ],
)
def test_same_options_or_none_are_accepted(first: dict[str, Any], then: dict[str, Any]) -> None:
    """Also those that are the default of what was not given."""
    ask(first, then)


@pytest.mark.parametrize(
    ("first", "then", "named"),
    [
        ({"node_id": "shop"}, {"node_id": "other"}, ["node_id='shop'", "node_id='other'"]),
        ({}, {"node_id": "other"}, ["node_id='me'", "node_id='other'"]),
        ({"config": {"a": 1}}, {"config": {"a": 2}}, ["config={'a': 1}", "config={'a': 2}"]),
        ({"config": {"a": 1}}, {"config": {}}, ["config={'a': 1}", "config={}"]),
        ({}, {"metadata": {"a": 1}}, ["metadata={}", "metadata={'a': 1}"]),
        ({}, {"ttl": 60}, ["ttl=None", "ttl=60"]),
        ({"on_conflict": "adopt"}, {"on_conflict": "repair"}, ["'adopt'", "'repair'"]),
        ({}, {"attach": "session-1"}, ["attach=''", "attach='session-1'"]),
    ],
)
def test_other_options_are_refused_with_both_values(
    first: dict[str, Any], then: dict[str, Any], named: list[str]
) -> None:
    """They would have no effect."""
    with pytest.raises(ConfigurationError, match="session 'me'") as caught:
        ask(first, then)
    assert all(part in str(caught.value) for part in named)


def test_time_to_live_of_the_settings_is_the_default() -> None:
    """It is what a session that was given none has."""
    ask({}, {"ttl": 60}, session_ttl=60)
    with pytest.raises(ConfigurationError, match="ttl=60"):
        ask({}, {"ttl": 61}, session_ttl=60)


@pytest.mark.parametrize("name", ["node_id", "attach"])
@pytest.mark.parametrize("value", [uuid.UUID(int=1), b"a", 1, "\ud800"], ids=repr)
def test_name_that_is_no_text_is_refused(name: str, value: Any) -> None:
    """It would be sent as text of another form than the caller has."""
    with pytest.raises(ConfigurationError, match=name):
        ask({name: value}, {})


@pytest.mark.parametrize("key", [uuid.UUID(int=1), b"a", 1, "\ud800", "", None], ids=repr)
def test_key_that_is_no_text_is_refused(key: Any) -> None:
    """A UUID and its text would be two keys of one user."""
    with pytest.raises(ConfigurationError, match="key"):
        checked_key(key)


@pytest.mark.parametrize("ttl", [0, -1, 1.5, True, "60", float("inf")], ids=repr)
def test_time_to_live_is_whole_seconds(ttl: Any) -> None:
    """KATO would refuse it at the first call, with a text of its own."""
    with pytest.raises(ConfigurationError, match="ttl"):
        ask({"ttl": ttl}, {})


def test_unknown_on_conflict_is_refused() -> None:
    """It would be taken for one of the others."""
    with pytest.raises(ConfigurationError, match="repair, adopt, raise, not 'merge'"):
        ask({"on_conflict": "merge"}, {})


def test_session_without_options_shares_them() -> None:
    """There may be 100,000 of them."""
    factory = SessionFactory(Settings(), SnapshotStore("kato"), lambda flow: None, lambda: None)
    assert factory.options(**NOTHING) is NO_OPTIONS
