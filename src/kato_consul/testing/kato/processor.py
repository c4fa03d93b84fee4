"""Processor: observes, learns and predicts with a session that was read from the store.

It neither locks nor saves sessions. The routes do that, with the same faults as the real KATO.

The real KATO's worst faults are here: sessions of one node in one process share a lock that blocks
and a working memory. They do harm while an observation waits for its predictions. Without
`process_predictions` it does not wait, and they are harmless.
"""

import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kato_consul.testing.kato import config, memory, prediction
from kato_consul.testing.kato.faulty_store import FaultyStore
from kato_consul.testing.kato.knowledge import kb_name
from kato_consul.testing.kato.memory import Event, ObservationInput, StoredSession

PREFIX = "PTRN|"
MAX_PROCESSORS = 100
EVICTION_AFTER = 3600  # seconds


@dataclass(slots=True)
class Node:
    """What a process keeps of one node, for all its sessions (one of KATO's "processors").

    `first_used` and `last_used` are seconds since 1970. `futures` are those of the last prediction.
    `stm` is the working memory: the events of the session that was loaded last.
    """

    kb: str
    first_used: float
    last_used: float = 0.0
    uses: int = 0
    futures: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stm: list[Event] = field(default_factory=list)


class Processor:
    """The nodes that this process has served, and what it does for their sessions.

    `work` waits as long as KATO waits for its databases during a prediction.
    """

    def __init__(
        self, store: FaultyStore, service_name: str, work: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._service_name = service_name
        self._work = work
        self._nodes: dict[str, Node] = {}

    def kb(self, node_id: str) -> str:
        """Return the name of a node's knowledge base, and record its use."""
        return self._node(node_id).kb

    async def observe(self, session: StoredSession, observation: ObservationInput) -> str | None:
        """Add an observation to the session; return the automatically learned pattern's name."""
        settings = config.effective(session.config)
        node = self._node(session.node_id)
        # Another session of the node that comes here while this one waits blocks the event loop,
        # and so the wait never ends.
        with node.lock:
            memory.observe(session, observation)
            session.predictions = []
            if not observation.symbolic:
                return None
            if settings["process_predictions"]:
                session.predictions = await self.predict(session)
                if session.predictions and len(memory.symbols(session.stm)) > 1:
                    await self._work()
                # The session continues with what others of the node may have loaded meanwhile.
                session.stm = list(node.stm)
            events = memory.auto_learn(
                session,
                longest=settings["max_pattern_length"],
                rolling=settings["stm_mode"] == "ROLLING",
            )
        if events is None:
            return None
        return await self._learn(session, events, with_emotives=False) or None

    async def learn(self, session: StoredSession) -> str:
        """Learn the session's events and clear them; return "" if there was only one symbol."""
        events = memory.learn(session)
        self._node(session.node_id).stm = []
        return await self._learn(session, events, with_emotives=True)

    async def clear_all(self, session: StoredSession) -> None:
        """Delete all that the session's node has learned."""
        knowledge = await self._store.knowledge()  # not `writing`: deleting works in a full store
        node = self._node(session.node_id)
        knowledge.clear(node.kb)
        node.stm = []

    async def predict(self, session: StoredSession) -> list[dict[str, Any]]:
        """Return the predictions from the session's short-term memory, best first."""
        settings = config.effective(session.config)
        node = self._node(session.node_id)
        node.stm = list(session.stm)
        stm_symbols = memory.symbols(session.stm)
        if not stm_symbols:
            return []
        knowledge = await self._store.knowledge()
        predictions = prediction.predict(
            knowledge.patterns(node.kb),
            session.stm,
            threshold=settings["recall_threshold"],
            most=settings["max_predictions"],
            ranking=settings["rank_sort_algo"],
            fuzzy=config.fuzzy_threshold(settings),
        )
        if len(stm_symbols) > 1:  # a single symbol keeps the futures of the previous prediction
            node.futures = prediction.futures(predictions)
        return predictions

    def futures(self, session: StoredSession) -> list[dict[str, Any]]:
        """Return the futures of the node's last prediction, in any session."""
        return self._node(session.node_id).futures

    def processors(self) -> dict[str, Any]:
        """Return the statistics in the response of /status."""
        now = time.time()
        return {
            "total_processors": len(self._nodes),
            "max_processors": MAX_PROCESSORS,
            "eviction_ttl_seconds": EVICTION_AFTER,
            "processors": [
                {
                    "processor_id": node.kb,
                    "node_id": node_id,
                    "created_at": datetime.fromtimestamp(node.first_used, UTC).isoformat(),
                    "last_accessed": datetime.fromtimestamp(node.last_used, UTC).isoformat(),
                    "access_count": node.uses,
                    "idle_seconds": now - node.last_used,
                }
                for node_id, node in self._nodes.items()
            ],
        }

    def _node(self, node_id: str) -> Node:
        """Return a node, and record its use. The one unused for longest is dropped."""
        now = time.time()
        node = self._nodes.pop(node_id, None) or Node(kb_name(node_id, self._service_name), now)
        node.last_used = now
        node.uses += 1
        self._nodes[node_id] = node
        if len(self._nodes) > MAX_PROCESSORS:
            del self._nodes[next(iter(self._nodes))]
        return node

    async def _learn(
        self, session: StoredSession, events: Sequence[Event], *, with_emotives: bool
    ) -> str:
        # Automatically learned patterns have no emotives and no metadata.
        knowledge = await self._store.knowledge(writing=True)
        name = knowledge.learn(
            self.kb(session.node_id),
            events,
            session.emotives if with_emotives else (),
            session.notes if with_emotives else (),
            persistence=config.effective(session.config)["persistence"],
        )
        return f"{PREFIX}{name}" if name else ""
