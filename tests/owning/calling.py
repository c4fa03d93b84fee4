"""Calls on one session of two owners, in the order that a test gives."""

from collections.abc import Callable
from functools import partial
from typing import Any

from kato_consul._flow import Send
from kato_consul._kato import reads, repeatable
from kato_consul._kato.execute import execute_write
from kato_consul._kato.write import Write
from kato_consul.errors import KatoConsulError
from tests.kato.model_kato import ModelKato
from tests.owning.model_directory import ModelStore
from tests.owning.two_owners import CallFlow, OneOwner


class Calls:
    """The owners A and B of one session, and the outcomes of their calls."""

    def __init__(self) -> None:
        self.kato = ModelKato()
        self.store = ModelStore(self.kato.clock)
        self.a, self.b = (OneOwner(name, self.kato, self.store) for name in "AB")
        self._outcomes: dict[str, tuple[Any, BaseException | None]] = {}

    def begin(self, owner: OneOwner, flow: CallFlow) -> None:
        """Begin a call."""

        def done(result: Any, error: BaseException | None) -> None:
            self._outcomes[owner.name] = result, error

        self._outcomes.pop(owner.name, None)
        owner.call(flow, done)

    def end(self, owner: OneOwner) -> Any:
        """Let a call end, while the other owner hands over what is wanted; return its result."""
        owner.finish([self.b if owner is self.a else self.a])
        return self._result(owner)

    def _result(self, owner: OneOwner) -> Any:
        result, error = self._outcomes[owner.name]
        if error is not None:
            raise error
        return result

    def error_of(self, owner: OneOwner) -> KatoConsulError:
        """Return the error with which a call has ended."""
        _, error = self._outcomes[owner.name]
        assert isinstance(error, KatoConsulError), error
        return error

    def call(self, owner: OneOwner, flow: CallFlow) -> Any:
        """Make a call, and return its result."""
        self.begin(owner, flow)
        return self.end(owner)

    def alone(self, owner: OneOwner, flow: CallFlow) -> Any:
        """Make a call while the other owner is stopped, and return its result."""
        self.begin(owner, flow)
        owner.finish([])
        return self._result(owner)

    def step_until(self, owner: OneOwner, is_there: Callable[[Send], bool]) -> None:
        """Continue a call until it is about to send a request."""
        for _ in range(200):
            step = owner.running.step if owner.running is not None else None
            if isinstance(step, Send) and is_there(step):
                return
            owner.step()
        raise AssertionError(f"it sends no such request: {owner.running}")

    def lose(self, owner: OneOwner) -> None:
        """End an owner's lease, as when its process is stopped."""
        self.store.expire(owner.name)

    def symbols(self, owner: OneOwner) -> list[str]:
        """Return the memory, as an owner reads it, of events with one symbol each."""
        return [symbol for (symbol,) in self.call(owner, reads.stm)]


def observe(symbol: str, key: str | None = None) -> CallFlow:
    """Return a call that observes a symbol."""
    return repeatable.observe({"strings": [symbol]}, key, None)


def write(one: Write[Any]) -> CallFlow:
    """Return a call that makes a write."""
    return partial(execute_write, write=one)
