"""Shared nodes: when a warning is logged."""

from typing import Any

import pytest

from kato_consul._kato.shared_nodes import SharedNodes

ON = {"process_predictions": True}
OFF: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("sessions", "warnings"),
    [
        ([("ann", "shop", ON)], 0),
        ([("ann", "shop", OFF), ("bob", "shop", OFF)], 0),
        ([("ann", "shop", ON), ("bob", "other", OFF)], 0),
        ([("ann", "shop", ON), ("ann", "shop", ON)], 0),  # two threads make it at once
        ([("ann", "shop", ON), ("bob", "shop", OFF)], 1),
        ([("ann", "shop", OFF), ("bob", "shop", ON)], 1),
        ([("ann", "shop", ON), ("bob", "shop", ON), ("cleo", "shop", ON)], 1),
        ([("shop", None, ON), ("bob", "shop", OFF)], 1),
        ([("bob", "shop", OFF), ("shop", None, ON)], 1),
        ([("ann", None, ON), ("bob", None, ON)], 0),
    ],
)
def test_sessions_of_a_node_with_predictions_are_logged_once(
    sessions: list[tuple[str, str | None, dict[str, Any]]],
    warnings: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A node with several sessions, one of which processes predictions, is logged."""
    own: set[str] = set()
    nodes = SharedNodes(own.__contains__)
    for key, node_id, config in sessions:
        nodes.add(key, node_id, config)
        if node_id is None:
            own.add(key)
    assert len(caplog.records) == warnings
    for record in caplog.records:
        assert record.__dict__["event"] == "session.unsafe_predictions"
        assert record.__dict__["fields"]["node"] == "shop"


def test_predictions_that_are_turned_on_later_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """`set_config` turns them on."""
    nodes = SharedNodes()
    nodes.add("ann", "shop", OFF)
    nodes.starts_predicting("ann", "shop")
    assert not caplog.records
    nodes.add("bob", "shop", OFF)
    assert len(caplog.records) == 1


def test_session_that_was_not_opened_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    """KATO refused it."""
    nodes = SharedNodes()
    nodes.add("ann", "shop", ON)
    nodes.remove("ann", "shop")
    nodes.add("bob", "shop", OFF)
    assert not caplog.records
