"""Simulated world: runs flows and servers in virtual time, with a queue of events.

It executes the same steps as the drivers. All random values come from one seed, so each run is the
same.
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
    RedisCommands,
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
"""Seconds until a connection is refused."""

Done = Callable[[Outcome], None]


class World:
    """Virtual time, a random source, servers, and scheduled actions."""

    def __init__(self, seed: int) -> None:
        self.clock = ManualClock(1_000.0)
        self.random = random.Random(seed)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.servers: dict[str, Server] = {}

    @property
    def now(self) -> float:
        """Seconds since the start of the simulation."""
        return self.clock.now - 1_000.0

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Schedule an action after some seconds."""
        heapq.heappush(self._queue, (self.clock.now + seconds, next(self._order), action))

    def run(self, until: float) -> None:
        """Execute scheduled actions up to ``until`` seconds after the start."""
        while self._queue and self._queue[0][0] <= 1_000.0 + until:
            due, _, action = heapq.heappop(self._queue)
            self.clock.now = max(self.clock.now, due)
            action()
        self.clock.now = 1_000.0 + until

    def start(self, flow: Flow[Any], finish: Callable[[Exception | None], None]) -> None:
        """Start a flow beside all others; ``finish`` is called with its error, or None."""
        self._advance(flow, None, finish)

    def _advance(
        self, flow: Flow[Any], outcome: object, finish: Callable[[Exception | None], None]
    ) -> None:
        try:
            step = flow.send(outcome)
        except StopIteration:
            finish(None)
            return
        except Exception as error:  # noqa: BLE001 - passed on, whatever it is
            finish(error)
            return
        assert not isinstance(step, Hedge | RedisCommands)
        if isinstance(step, Send):
            self._send(step, lambda outcome: self._advance(flow, outcome, finish))
        elif isinstance(step, CloseConnections):
            self._advance(flow, None, finish)
        elif isinstance(step, Sleep):
            self.after(step.seconds, lambda: self._advance(flow, None, finish))
        else:
            self._wait(step, lambda: self._advance(flow, None, finish))

    def _send(self, step: Send, done: Done) -> None:
        answered = False

        def once(outcome: Outcome) -> None:
            nonlocal answered
            if not answered:
                answered = True
                done(outcome)

        self.servers[step.origin].receive(once)
        self.after(step.timeout, lambda: once(SILENT))

    def _wait(self, step: WaitForChange, done: Callable[[], None]) -> None:
        notified = False
        listening = step.observable.listening(lambda: self.after(0.0, once))
        listening.__enter__()

        def once() -> None:
            nonlocal notified
            if not notified:
                notified = True
                listening.__exit__(None, None, None)
                done()

        self.after(step.timeout, once)


@dataclass(eq=False)
class Server:
    """A simulated server.

    It processes ``slots`` requests at a time, each for ``service_time()`` seconds; further requests
    wait. ``outcome`` is its answer; None for none. While it is not ``up`` it refuses.
    """

    world: World
    service_time: Callable[[], float]
    slots: int = 8
    outcome: Outcome | None = OK
    up: bool = True
    received: int = 0
    _busy: int = 0
    _waiting: deque[Done] = field(default_factory=deque)
    _generation: int = 0

    def receive(self, done: Done) -> None:
        """Receive a request."""
        self.received += 1
        if not self.up:
            self.world.after(REFUSAL, lambda: done(REFUSED))
        elif self.outcome is not None:
            self._waiting.append(done)
            self._process()

    def kill(self) -> None:
        """Kill the server and cut all its requests."""
        self.up = False
        self._generation += 1
        self._busy = 0
        waiting, self._waiting = self._waiting, deque()
        for done in waiting:
            done(CUT)

    def start(self) -> None:
        """Start the server again."""
        self.up = True

    def _process(self) -> None:
        while self._waiting and self._busy < self.slots:
            self._busy += 1
            done = self._waiting.popleft()
            generation, outcome = self._generation, self.outcome
            assert outcome is not None

            def finish(
                done: Done = done, generation: int = generation, outcome: Outcome = outcome
            ) -> None:
                if generation != self._generation:  # killed meanwhile
                    done(CUT)
                    return
                self._busy -= 1
                done(outcome)
                self._process()

            self.world.after(self.service_time(), finish)
