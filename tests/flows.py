"""Player: runs flows without a driver, on a manual clock, with a function for the outcomes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from kato_consul._flow import (
    CloseConnections,
    Flow,
    Hedge,
    Hedged,
    Outcome,
    Send,
    Sleep,
    Step,
    WaitForChange,
)
from kato_consul.testing.clock import ManualClock

T = TypeVar("T")


class TooLong(Exception):
    """A flow took more steps than allowed."""


@dataclass
class Player:
    """Runs flows on a manual clock.

    ``answer`` is called with each `Send`; ``change`` with each `WaitForChange`, before its time
    passes, so that it can publish something. ``steps`` has all steps that were yielded.
    """

    answer: Callable[[Send], Outcome]
    change: Callable[[WaitForChange], None] = lambda step: None
    hedge: Callable[[Hedge], Hedged] = lambda step: pytest.fail("no hedge was expected")
    clock: ManualClock = field(default_factory=ManualClock)
    steps: list[Step] = field(default_factory=list)

    def play(self, flow: Flow[T], most: int = 1_000) -> T:
        """Run the flow to its end. Raises `TooLong` after ``most`` steps."""
        try:
            step = next(flow)
            for _ in range(most):
                self.steps.append(step)
                outcome: Outcome | Hedged | None = None
                if isinstance(step, Send):
                    outcome = self.answer(step)
                elif isinstance(step, Hedge):
                    outcome = self.hedge(step)
                elif isinstance(step, CloseConnections):
                    pass
                elif isinstance(step, Sleep):
                    self.clock.advance(step.seconds)
                elif isinstance(step, WaitForChange):
                    before = step.observable.current
                    self.change(step)
                    if step.observable.current is before:
                        self.clock.advance(step.timeout)
                step = flow.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()
        raise TooLong(f"still going after {most} steps, the last being {step}")

    @property
    def sent(self) -> list[Send]:
        """The requests among the steps."""
        return [step for step in self.steps if isinstance(step, Send)]

    @property
    def slept(self) -> list[float]:
        """The pauses among the steps, in seconds."""
        return [step.seconds for step in self.steps if isinstance(step, Sleep)]

    @property
    def waited(self) -> list[float]:
        """The timeouts of waits for a change, in seconds."""
        return [step.timeout for step in self.steps if isinstance(step, WaitForChange)]
