"""Breadth-first search of all states that a model can reach with a bounded number of faults.

States are visited in the order of the faults that they need, then of their steps: a state that is
reached again with more faults has nothing new to reach, and a counterexample has the fewest faults.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

Label = tuple[str, int, int]
"""What happened, in which process, and to which call. -1: none."""

Code = tuple[int, ...]
"""A state, packed."""

StateT = TypeVar("StateT", bound=NamedTuple)


class ViolationError(AssertionError):
    """The protocol broke a promise in a step."""


class Searched(Protocol[StateT]):
    """A model that can be searched. Its states are named tuples."""

    def start(self) -> StateT:
        """Return the first state."""
        ...

    def steps(self, state: StateT) -> Iterator[tuple[int, Label, StateT]]:
        """Yield what can happen next: the faults it costs, 0 or 1; its label; the state after."""
        ...

    def canonical(self, state: StateT) -> StateT:
        """Return the one of all states with the same future that is visited."""
        ...

    def broken_promise(self, state: StateT) -> str | None:
        """Return the promise that a state breaks, or None."""
        ...

    def is_finished(self, state: StateT) -> bool:
        """Return whether everything that was begun has ended."""
        ...

    def line(self, label: Label, state: StateT) -> str:
        """Return a line of a trace: a step, and the state after it."""
        ...


@dataclass
class Result:
    """What a search found: the number of states, and a promise that is broken, with its trace."""

    states: int = 0
    violation: str | None = None
    trace: list[str] = field(default_factory=list)


class _Parts:
    """States as tuples of small numbers: equal parts of states are stored once."""

    def __init__(self, state: NamedTuple) -> None:
        self._type: Any = type(state)
        self._numbers: list[dict[Any, int]] = [{} for _ in state]
        self._parts: list[list[Any]] = [[] for _ in state]

    def pack(self, state: NamedTuple) -> Code:
        code = []
        for part, numbers, parts in zip(state, self._numbers, self._parts, strict=True):
            number = numbers.get(part)
            if number is None:
                number = numbers[part] = len(parts)
                parts.append(part)
            code.append(number)
        return tuple(code)

    def unpack(self, code: Code) -> Any:
        return self._type(*(parts[number] for number, parts in zip(code, self._parts, strict=True)))


class Search:
    """A search with a limit of faults, and of states: one that reaches that has found nothing."""

    def __init__(
        self, model: Searched[Any], faults: int, *, most_states: int | None = None
    ) -> None:
        self._model = model
        self._faults = faults
        self._most_states = most_states
        self._parts = _Parts(model.start())
        self._index: dict[Code, int] = {}
        self._codes: list[Code] = []
        self._parents = array("l")
        self._labels: list[Label] = []
        self._free_from, self._free_to = array("l"), array("l")

    def run(self) -> Result:
        """Visit every state, and check the promises in each, and that each can make progress."""
        self._add(self._parts.pack(self._model.start()), -1, ("start", -1, -1))
        layer = [0]
        for faults in range(self._faults + 1):
            after: dict[Code, tuple[int, Label]] = {}
            for number in layer:  # it grows meanwhile
                try:
                    layer.extend(self._expand(number, None if faults == self._faults else after))
                except ViolationError as violation:
                    return self._found(str(violation), number)
                if self._most_states is not None and len(self._codes) > self._most_states:
                    return Result(len(self._codes))
            layer = [
                self._add(code, *origin)
                for code, origin in after.items()
                if code not in self._index
            ]
        return self._without_progress() or Result(len(self._codes))

    def _expand(self, number: int, after: dict[Code, tuple[int, Label]] | None) -> list[int]:
        """Return the new states that a state leads to; those that need a fault go to ``after``."""
        model, new = self._model, []
        state = self._parts.unpack(self._codes[number])
        broken = model.broken_promise(state)
        if broken is not None:
            raise ViolationError(broken)
        for cost, label, reached in model.steps(state):
            if cost and after is None:
                continue
            code = self._parts.pack(model.canonical(reached))
            known = self._index.get(code)
            if after is not None and cost:
                if known is None:
                    after.setdefault(code, (number, label))
                continue
            if known is None:
                known = self._add(code, number, label)
                new.append(known)
            self._free_from.append(number)
            self._free_to.append(known)
        return new

    def _add(self, code: Code, parent: int, label: Label) -> int:
        number = self._index[code] = len(self._codes)
        self._codes.append(code)
        self._parents.append(parent)
        self._labels.append(label)
        return number

    def _without_progress(self) -> Result | None:
        """Return a state from which no steps without a fault lead to an end."""
        into: dict[int, list[int]] = {}
        for source, target in zip(self._free_from, self._free_to, strict=True):
            into.setdefault(target, []).append(source)
        ends = [
            number
            for number, code in enumerate(self._codes)
            if self._model.is_finished(self._parts.unpack(code))
        ]
        reaches = bytearray(len(self._codes))
        for end in ends:
            reaches[end] = 1
        while ends:
            for source in into.get(ends.pop(), ()):
                if not reaches[source]:
                    reaches[source] = 1
                    ends.append(source)
        stuck = reaches.find(0)
        return None if stuck < 0 else self._found("no progress is possible", stuck)

    def _found(self, violation: str, number: int) -> Result:
        trace = []
        at = number
        while at > 0:
            trace.append(self._model.line(self._labels[at], self._parts.unpack(self._codes[at])))
            at = self._parents[at]
        return Result(len(self._codes), violation, trace[::-1])
