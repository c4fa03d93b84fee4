"""Two owners, of which the first is stopped at one step of a call, and overtaken by the second."""

from functools import partial
from typing import Any

from kato_consul._kato import reads, writes
from kato_consul._kato.execute import execute_write
from tests.kato.model_kato import Fault, ModelKato
from tests.owning.model_directory import ModelStore
from tests.owning.two_owners import CallFlow, OneOwner


class Overtaken:
    """Two owners. What the first one did last is in ``outcome``: its result, or its error."""

    def __init__(self) -> None:
        self.kato = ModelKato()
        self.store = ModelStore(self.kato.clock)
        # What was left stays in KATO, so that a late write lands in it.
        self.one, self.two = (
            OneOwner(name, self.kato, self.store, deletes=False) for name in ("one", "two")
        )
        self.outcome: Any = None

    def begin(self, flow: CallFlow) -> None:
        """Let the first owner begin a call."""
        self.one.call(flow, self._ended)

    def call(self, flow: CallFlow) -> Any:
        """Let the first owner make a call, and return its outcome."""
        self.begin(flow)
        return self.go_on()

    def overtake(self, symbol: str) -> None:
        """Stop the first owner; the second one takes over and observes."""
        self.store.expire("one")
        assert "time" in self.of_two(observe(symbol))

    def of_two(self, flow: CallFlow) -> Any:
        """Let the second owner make a call, and return its outcome. The first one does nothing
        unless it hands the session over."""
        outcomes: list[Any] = []
        self.two.call(
            flow, lambda result, error: outcomes.append(result if error is None else error)
        )
        self.two.finish([self.one] if self.one.running is None else [])
        return outcomes.pop()

    def go_on(self) -> Any:
        """Let the first owner go on to the end of its call, and return its outcome."""
        self.one.finish([self.two])
        return self.outcome

    def hang(self, flow: CallFlow, path: str) -> None:
        """Let the first owner begin a call whose request hangs in its instance, unread."""
        self.kato.faults = [Fault.HANG_UNREAD]
        self.begin(flow)
        self.one.stop_before("POST", path)
        self.one.step()

    def memory(self) -> list[list[str]]:
        """Return what the first owner reads."""
        result: list[list[str]] = self.call(reads.stm)
        return result

    def _ended(self, result: Any, error: BaseException | None) -> None:
        self.outcome = result if error is None else error


def observe(symbol: str) -> CallFlow:
    """Return the flow of a call that observes a symbol."""
    return partial(execute_write, write=writes.observe({"strings": [symbol]}))


def clear() -> CallFlow:
    """Return the flow of a call that clears the memory."""
    return partial(execute_write, write=writes.clear_stm())
