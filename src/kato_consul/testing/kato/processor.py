"""What an instance does with a session that was read: observe, learn, predict.

No lock and no saving here; the routes take one and do the other, as well or badly as the real one.
"""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from kato_consul.testing.kato import config, memory, predicting
from kato_consul.testing.kato.faulty_store import FaultyStore
from kato_consul.testing.kato.knowledge import kb_name
from kato_consul.testing.kato.memory import Event, Observation, Session

PREFIX = "PTRN|"
MOST_PROCESSORS = 100
EVICTION = 3600  # seconds


class Processor:
    """The knowledge bases of the nodes that this process worked for ("processors")."""

    def __init__(self, store: FaultyStore, service_name: str) -> None:
        self._store = store
        self._service_name = service_name
        self._futures: dict[str, list[dict[str, Any]]] = {}  # of the last prediction, per node
        self._nodes: dict[str, tuple[float, float]] = {}  # first and last use, since 1970
        self._uses: Counter[str] = Counter()

    def kb(self, node_id: str) -> str:
        """Return the name of a node's knowledge base, and note its use."""
        now = time.time()
        first, _ = self._nodes.pop(node_id, (now, now))
        self._nodes[node_id] = (first, now)
        self._uses[node_id] += 1
        if len(self._nodes) > MOST_PROCESSORS:
            idlest = next(iter(self._nodes))
            del self._nodes[idlest], self._uses[idlest]
        return kb_name(node_id, self._service_name)

    async def observe(self, session: Session, seen: Observation) -> str | None:
        """Put an observation into the session; return what it made the session learn by itself."""
        settings = config.effective(session.config)
        memory.observe(session, seen)
        if not seen.symbolic:
            session.predictions = []
            return None
        wanted = settings["process_predictions"]
        session.predictions = await self.predict(session) if wanted else []
        lesson = memory.auto_learn(
            session,
            longest=settings["max_pattern_length"],
            rolling=settings["stm_mode"] == "ROLLING",
        )
        if lesson is None:
            return None
        return await self._learn(session, lesson, with_feelings=False) or None

    async def learn(self, session: Session) -> str:
        """Learn the session's events and empty its memory; "" when a lone symbol was in it."""
        return await self._learn(session, memory.learn(session), with_feelings=True)

    async def predict(self, session: Session) -> list[dict[str, Any]]:
        """Return what the session's memory predicts, best first."""
        settings = config.effective(session.config)
        kb = self.kb(session.node_id)
        stm_symbols = memory.symbols(session.stm)
        if not stm_symbols:
            return []
        knowledge = await self._store.knowledge()
        predictions = predicting.predict(
            knowledge.patterns(kb),
            session.stm,
            threshold=settings["recall_threshold"],
            most=settings["max_predictions"],
            ranking=settings["rank_sort_algo"],
        )
        if len(stm_symbols) > 1:  # a single symbol leaves the futures of the prediction before
            self._futures[kb] = predicting.futures(predictions)
        return predictions

    def futures(self, session: Session) -> list[dict[str, Any]]:
        """Return the futures of the node's last prediction, whoever asked for it."""
        return self._futures.get(self.kb(session.node_id), [])

    def processors(self) -> dict[str, Any]:
        """Return the statistics that /status shows."""
        now = time.time()
        return {
            "total_processors": len(self._nodes),
            "max_processors": MOST_PROCESSORS,
            "eviction_ttl_seconds": EVICTION,
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
        self, session: Session, events: Sequence[Event], *, with_feelings: bool
    ) -> str:
        # What is learned by itself is learned without emotives and metadata.
        knowledge = await self._store.knowledge(writing=True)
        name = knowledge.learn(
            self.kb(session.node_id),
            events,
            session.emotives if with_feelings else (),
            session.notes if with_feelings else (),
            persistence=config.effective(session.config)["persistence"],
        )
        return f"{PREFIX}{name}" if name else ""
