"""A session of a client without a directory, whose calls are made again."""

from functools import partial
from typing import Any

from kato_consul._kato import repeatable, writes
from kato_consul._kato.execute import execute_write
from kato_consul._kato.ownership import CallFlow
from kato_consul._kato.repeated_calls import position_of
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Observation
from kato_consul.models import Position
from tests.kato.model_kato import ModelKato, playing

LOG = "observations"


def at(offset: int, log: str = LOG, partition: int = 0) -> Position:
    """Return a position in the log."""
    return Position(log, partition, offset)


def events(*symbols: str) -> list[Observation]:
    """Return one observation for each symbol."""
    return [{"strings": [symbol]} for symbol in symbols]


class RepeatingClient:
    """One session. Each call takes a key and a position."""

    def __init__(self, **config: Any) -> None:
        self.kato = ModelKato()
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node", owns_node=True)
        self.state.journal.config = config

    def observe(self, symbol: str, key: str | None = None, position: Position | None = None) -> Any:
        """Observe one event."""
        return self.play(repeatable.observe({"strings": [symbol]}, key, position))

    def sequence(
        self,
        *symbols: str,
        key: str | None = None,
        position: Position | None = None,
        **options: Any,
    ) -> Any:
        """Observe one event for each symbol, in chunks of two."""
        return self.play(sequence_flow(*symbols, key=key, position=position, **options))

    def learn(self, key: str | None = None, position: Position | None = None) -> Any:
        """Learn the memory."""
        return self.play(repeatable.learn(key, position))

    def clear_stm(self) -> None:
        """Clear the memory."""
        self.play(partial(execute_write, write=writes.clear_stm()))

    def position(self, log: str | None = None) -> Position | None:
        """Ask where to go on."""

        def flow(api: Any, state: Any, deadline: float) -> Any:
            return position_of(api, state, deadline, log=log)

        position: Position | None = self.play(flow)
        return position

    def play(self, flow: CallFlow[Any], within: float = 60.0) -> Any:
        """Run a call to its end."""
        deadline = self.kato.clock.now + within
        return self.player.play(flow(self.api, self.state, deadline), most=5_000)

    @property
    def stm(self) -> list[str]:
        """The symbols in KATO's memory."""
        session = self.kato.sessions.get(self.state.id or "")
        return [] if session is None else [symbol for event in session.stm for symbol in event]

    @property
    def learned(self) -> dict[str, int]:
        """How often KATO has learned each pattern, by its symbols."""
        return {
            "".join(symbol for event in pattern for symbol in event): count
            for pattern, count in self.kato.patterns.items()
        }

    @property
    def sent(self) -> int:
        """How many requests were sent."""
        return len(self.player.sent)


def sequence_flow(
    *symbols: str,
    key: str | None,
    position: Position | None,
    learn_after_each: bool = False,
    learn_at_end: bool = False,
    clear_stm_between: bool = False,
    chunk: int = 2,
) -> CallFlow[Any]:
    """Return the flow of a sequence."""
    return repeatable.observe_sequence(
        events(*symbols),
        key,
        position,
        chunk=chunk,
        learn_after_each=learn_after_each,
        learn_at_end=learn_at_end,
        clear_stm_between=clear_stm_between,
        progress=None,
    )
