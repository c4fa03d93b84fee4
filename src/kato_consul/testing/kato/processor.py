"""Processor: observes, learns and predicts with a session that was read from the store.

It neither locks nor saves sessions. The routes do that, with the same faults as the real KATO.
"""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from kato_consul.testing.kato import config, memory, prediction
from kato_consul.testing.kato.faulty_store import FaultyStore
from kato_consul.testing.kato.knowledge import kb_name
from kato_consul.testing.kato.memory import Event, ObservationInput, StoredSession

PREFIX = "PTRN|"
MAX_PROCESSORS = 100
EVICTION_AFTER = 3600  # seconds


class Processor:
    """The knowledge bases of the nodes that this process has served (KATO's "processors")."""

    def __init__(self, store: FaultyStore, service_name: str) -> None:
        self._store = store
        self._service_name = service_name
        self._futures: dict[str, list[dict[str, Any]]] = {}  # of the last prediction, per node
        self._nodes: dict[str, tuple[float, float]] = {}  # first and last use, since 1970
        self._uses: Counter[str] = Counter()

    def kb(self, node_id: str) -> str:
        """Return the name of a node's knowledge base, and record its use."""
        now = time.time()
        first, _ = self._nodes.pop(node_id, (now, now))
        self._nodes[node_id] = (first, now)
        self._uses[node_id] += 1
        if len(self._nodes) > MAX_PROCESSORS:
            longest_idle = next(iter(self._nodes))
            del self._nodes[longest_idle], self._uses[longest_idle]
        return kb_name(node_id, self._service_name)

    async def observe(self, session: StoredSession, observation: ObservationInput) -> str | None:
        """Add an observation to the session; return the automatically learned pattern's name."""
        settings = config.effective(session.config)
        memory.observe(session, observation)
        if not observation.symbolic:
            session.predictions = []
            return None
        with_predictions = settings["process_predictions"]
        session.predictions = await self.predict(session) if with_predictions else []
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
        return await self._learn(session, memory.learn(session), with_emotives=True)

    async def predict(self, session: StoredSession) -> list[dict[str, Any]]:
        """Return the predictions from the session's short-term memory, best first."""
        settings = config.effective(session.config)
        kb = self.kb(session.node_id)
        stm_symbols = memory.symbols(session.stm)
        if not stm_symbols:
            return []
        knowledge = await self._store.knowledge()
        predictions = prediction.predict(
            knowledge.patterns(kb),
            session.stm,
            threshold=settings["recall_threshold"],
            most=settings["max_predictions"],
            ranking=settings["rank_sort_algo"],
        )
        if len(stm_symbols) > 1:  # a single symbol keeps the futures of the previous prediction
            self._futures[kb] = prediction.futures(predictions)
        return predictions

    def futures(self, session: StoredSession) -> list[dict[str, Any]]:
        """Return the futures of the node's last prediction, in any session."""
        return self._futures.get(self.kb(session.node_id), [])

    def processors(self) -> dict[str, Any]:
        """Return the statistics in the response of /status."""
        now = time.time()
        return {
            "total_processors": len(self._nodes),
            "max_processors": MAX_PROCESSORS,
            "eviction_ttl_seconds": EVICTION_AFTER,
            "processors": [
                {
                    "processor_id": kb_name(node_id, self._service_name),
                    "node_id": node_id,
                    "created_at": datetime.fromtimestamp(first, UTC).isoformat(),
                    "last_accessed": datetime.fromtimestamp(last, UTC).isoformat(),
                    "access_count": self._uses[node_id],
                    "idle_seconds": now - last,
                }
                for node_id, (first, last) in self._nodes.items()
            ],
        }

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
