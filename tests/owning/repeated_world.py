"""The log, its readers and the keyed calls of the property test of repeated calls."""

from dataclasses import dataclass
from typing import Any

from kato_consul._flow import Reply
from kato_consul._kato.types import Observation
from kato_consul.testing.kato.memory import StoredSession
from tests.building import reply
from tests.kato.model_kato import ModelKato

LOG = "observations"

REFUSED = "refused"
"""How a symbol begins that KATO refuses."""


class RefusingKato(ModelKato):
    """A KATO that refuses some observations."""

    def _process(self, session: StoredSession, verb: str, body: dict[str, Any]) -> Reply:
        if any(symbol.startswith(REFUSED) for symbol in body.get("strings", ())):
            return reply(422, {"detail": "refused"})
        return super()._process(session, verb, body)


@dataclass(frozen=True)
class Message:
    """A message of the log: ``kind`` is "observe", "sequence", "lesson" (a sequence that is learned
    at its end), "refused" or "learn"."""

    offset: int
    kind: str
    symbols: tuple[str, ...] = ()

    @property
    def observations(self) -> list[Observation]:
        """Its observations."""
        return [{"strings": [symbol]} for symbol in self.symbols]


def log_of(kinds: list[str]) -> list[Message]:
    """Return a log with messages of these kinds; others of its offsets are of other sessions."""
    sizes = {"sequence": 5, "lesson": 3, "learn": 0}
    return [
        Message(
            3 * number,
            kind,
            tuple(
                f"{REFUSED if kind == 'refused' else 'm'}{number:03}-{one}"
                for one in range(sizes.get(kind, 1))
            ),
        )
        for number, kind in enumerate(kinds)
    ]


@dataclass
class Reader:
    """A process that reads the log: the index of its ``next`` message, None if it has to ask where
    to go on. ``tries`` of that message have ended without an outcome."""

    next: int | None = None
    tries: int = 0


@dataclass
class KeyedCall:
    """A call with a key that observes ``symbol``; if that is "", it ``clears`` the memory or learns
    it. ``answer`` is its first answer."""

    key: str
    symbol: str = ""
    clears: bool = False
    answer: dict[str, Any] | None = None
