"""A small world in virtual time: flows run side by side, servers take their time, nobody sleeps.

It carries out the same steps as the drivers do, by a queue of events. All chance comes from one
seed, so a run is the same each time.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kato_consul._flow import (
    Cause,
    CloseConnections,
    Failure,
    Flow,
    Hedge,
    Outcome,
    Reply,
    Send,
    Sleep,
    WaitForChange,
)
from kato_consul.testing.clock import ManualClock

OK = Reply(200, {}, b"{}")
FAILED = Reply(503, {}, b"no")
REFUSED = Failure(Cause.CONNECT, bytes_sent=False, detail="refused")
SILENT = Failure(Cause.TIMEOUT, bytes_sent=True, detail="silent")
CUT = Failure(Cause.CUT, bytes_sent=True, detail="killed")

REFUSAL = 0.0005
"""Seconds until a refused connection is known."""

Done = Callable[[Outcome], None]


class World:
    """Time, chance, and what is to happen."""

    def __init__(self, seed: int) -> None:
        self.clock = ManualClock(1_000.0)
        self.chance = random.Random(seed)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.servers: dict[str, Server] = {}

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.clock.now - 1_000.0

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Let something happen later."""
        heapq.heappush(self._queue, (self.clock.now + seconds, next(self._order), what))

    def run(self, until: float) -> None:
        """Let time pass, up to so many seconds after the beginning."""
        while self._queue and self._queue[0][0] <= 1_000.0 + until:
            then, _, what = heapq.heappop(self._queue)
            self.clock.now = max(self.clock.now, then)
            what()
        self.clock.now = 1_000.0 + until

    def start(self, flow: Flow[Any], ended: Callable[[Exception | None], None]) -> None:
        """Run a flow beside all others; ``ended`` is told how."""
        self._go_on(flow, None, ended)

    def _go_on(
        self, flow: Flow[Any], outcome: object, ended: Callable[[Exception | None], None]
    ) -> None:
        try:
            step = flow.send(outcome)
        except StopIteration:
            ended(None)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            ended(error)
            return
        assert not isinstance(step, Hedge)
        if isinstance(step, Send):
            self._send(step, lambda found: self._go_on(flow, found, ended))
        elif isinstance(step, CloseConnections):
            self._go_on(flow, None, ended)
        elif isinstance(step, Sleep):
            self.after(step.seconds, lambda: self._go_on(flow, None, ended))
        else:
            self._await(step, lambda: self._go_on(flow, None, ended))

    def _send(self, step: Send, done: Done) -> None:
        answered = False

        def once(outcome: Outcome) -> None:
            nonlocal answered
            if not answered:
                answered = True
                done(outcome)

        self.servers[step.origin].take(once)
        self.after(step.timeout, lambda: once(SILENT))

    def _await(self, step: WaitForChange, done: Callable[[], None]) -> None:
        told = False
        listening = step.observable.listening(lambda: self.after(0.0, once))
        listening.__enter__()

        def once() -> None:
            nonlocal told
            if not told:
                told = True
                listening.__exit__(None, None, None)
                done()

        self.after(step.timeout, once)


@dataclass(eq=False)
class Server:
    """One instance: ``slots`` requests at a time, the others wait; ``takes`` seconds for each.

    ``says`` is what it answers; None is silence. While it is not ``up`` it refuses.
    """

    world: World
    takes: Callable[[], float]
    slots: int = 8
    says: Outcome | None = OK
    up: bool = True
    asked: int = 0
    _busy: int = 0
    _waiting: deque[Done] = field(default_factory=deque)
    _life: int = 0

    def take(self, done: Done) -> None:
        """A request arrives."""
        self.asked += 1
        if not self.up:
            self.world.after(REFUSAL, lambda: done(REFUSED))
        elif self.says is not None:
            self._waiting.append(done)
            self._work()

    def kill(self) -> None:
        """It ends at once, with all that it has in hand."""
        self.up = False
        self._life += 1
        self._busy = 0
        waiting, self._waiting = self._waiting, deque()
        for done in waiting:
            done(CUT)

    def start(self) -> None:
        """It is there again."""
        self.up = True

    def _work(self) -> None:
        while self._waiting and self._busy < self.slots:
            self._busy += 1
            done, life, says = self._waiting.popleft(), self._life, self.says
            assert says is not None

            def finish(done: Done = done, life: int = life, says: Outcome = says) -> None:
                if life != self._life:  # killed meanwhile
                    done(CUT)
                    return
                self._busy -= 1
                done(says)
                self._work()

            self.world.after(self.takes(), finish)
