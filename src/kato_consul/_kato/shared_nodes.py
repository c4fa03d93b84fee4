"""Shared nodes: which sessions of one client have the same node, and a warning if that is unsafe.

If KATO computes predictions with each observation of a session, and another session has the same
node, the two can hang their instance or exchange memories (measured on KATO 3.10.1).
"""

from collections.abc import Callable, Mapping

from kato_consul._logging import logger

log = logger("session")


class SharedNodes:
    """The nodes of one client's sessions.

    ``named`` has the keys of the sessions that were given a node by its name. ``has_own`` returns
    whether the session of a key has the node of that key.
    """

    def __init__(self, has_own: Callable[[str], bool] = lambda key: False) -> None:
        self.named: dict[str, set[str]] = {}
        self._has_own = has_own
        self._predicting: set[str] = set()
        self._warned: set[str] = set()

    def add(self, key: str, node_id: str | None, config: Mapping[str, object]) -> None:
        """Record a new session. ``node_id`` is None if it was given none: its node is its key."""
        node = node_id or key
        if node_id is not None:
            self.named.setdefault(node_id, set()).add(key)
        if config.get("process_predictions") is True:
            self._predicting.add(node)
        self._warn_if_unsafe(key, node)

    def remove(self, key: str, node_id: str) -> None:
        """Record that a session was not opened, and is not used any more."""
        self.named.get(node_id, set()).discard(key)

    def starts_predicting(self, key: str, node_id: str) -> None:
        """Record that KATO computes predictions with each observation of a session."""
        self._predicting.add(node_id)
        self._warn_if_unsafe(key, node_id)

    def _warn_if_unsafe(self, key: str, node_id: str) -> None:
        """Log it, once for each node."""
        if node_id not in self._predicting or node_id in self._warned:
            return
        keys = {key, *self.named.get(node_id, ())}
        if self._has_own(node_id):
            keys.add(node_id)
        if len(keys) > 1:
            self._warned.add(node_id)
            log.warning("session.unsafe_predictions", key=key, node=node_id)
