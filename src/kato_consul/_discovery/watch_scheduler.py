"""Watch scheduler: runs the watches of many services on few workers, while they are needed.

A watch mostly waits: for its pause to end, for a change, or, on a connection, for Consul. Only the
last occupies a worker. A worker is itself a flow, which a shell runs in the background: it takes
the watch that has been due for longest, passes its requests on, and parks it at its next pause.

A watch is needed until some minutes after the last call to its service. Then it ends, and the next
call starts a new one.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kato_consul._consul.agent_load import MAX_BLOCKING
from kato_consul._flow import (
    LONG_WAIT,
    Clock,
    CloseConnections,
    Flow,
    Outcome,
    Sleep,
    Step,
    WaitForChange,
)
from kato_consul._logging import logger
from kato_consul._observable import Observable

log = logger("watch")

MAX_WORKERS = MAX_BLOCKING + 2
"""Workers, each with at most one connection to Consul: those that `agent_load` lets block, and two
for the reads of the others, so that one slow response does not delay all of them."""

IDLE_TIMEOUT = 300.0
"""Seconds after the last call to a service after which its watch ends."""


class WatchScheduler:
    """The watches of several services, and the workers that run them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watches: dict[object, _ServiceWatch] = {}
        self._workers: set[object] = set()
        self._lock = threading.RLock()
        self._changes: Observable[object] = Observable(object())

    def keep_watching(
        self,
        service: object,
        until: float,
        new_flows: Callable[[], Iterable[Flow[None]]],
        on_end: Callable[[], Iterable[str]],
    ) -> None:
        """Watch a service for at least `IDLE_TIMEOUT` seconds after ``until``.

        ``new_flows`` returns the flows of a new watch, if the service is not watched. ``on_end`` is
        called when the watch ends, and returns the origins whose connections are then closed.
        """
        until += IDLE_TIMEOUT
        with self._lock:
            watch = self._watches.get(service)
            if watch is None:
                watch = self._watches[service] = _ServiceWatch(until, new_flows, on_end)
                self._changes.set(object())
            watch.needed_until = max(watch.needed_until, until)

    @property
    def is_running(self) -> bool:
        """True if at least one worker runs."""
        return bool(self._workers)

    @property
    def missing_workers(self) -> int:
        """The number of workers to start: one for each watch, but at most `MAX_WORKERS`. Negative,
        if there are too many."""
        return min(MAX_WORKERS, len(self._watches)) - len(self._workers)

    def worker(self) -> Flow[None]:
        """Flow: run the watches that are due, while there are not more workers than watches."""
        this_worker = object()
        self._workers.add(this_worker)
        try:
            while True:
                seen = self._changes.current
                with self._lock:
                    unused_origins = self._end_idle()
                    turn, wait = self._next_turn()
                    if turn is None and not unused_origins and self.missing_workers < 0:
                        self._workers.discard(this_worker)  # under the lock: it counts no more
                        return
                for origin in unused_origins:
                    yield CloseConnections(origin)
                if turn is not None:
                    yield from self._run(turn)
                elif not unused_origins:
                    yield WaitForChange(self._changes, seen, wait)
        except BaseException:  # the client was closed
            self._abandon()
            raise
        finally:
            self._workers.discard(this_worker)

    def _end_idle(self) -> list[str]:
        """End the watches that are not needed any more. Return the origins of their instances."""
        now = self._clock()
        idle = [key for key, watch in self._watches.items() if not watch.is_needed(now)]
        origins: list[str] = []
        for key in idle:
            watch = self._watches.pop(key)
            watch.end()
            origins += watch.on_end()
        return origins

    def _next_turn(self) -> "tuple[_Turn | None, float]":
        """Take the turn that has been due for longest. Without one, return the seconds until the
        next is due."""
        now = self._clock()
        watches = [*self._watches.values()]
        parked = [turn for watch in watches for turn in watch.turns() if not turn.running]
        due = [turn for turn in parked if turn.is_due(now)]
        if due:
            turn = min(due, key=lambda one: one.due_at)
            turn.running = True
            return turn, 0.0
        next_due = [turn.due_at for turn in parked]
        next_due += [watch.needed_until for watch in watches if not watch.is_running]
        return None, max(0.001, min(next_due, default=now + LONG_WAIT) - now)

    def _run(self, turn: "_Turn") -> Flow[None]:
        """Flow: run a watch until its next pause."""
        outcome: Outcome | None = None
        try:
            while not turn.watch.ended:
                step = turn.next_step(outcome)
                if step is None:
                    turn.watch.failed = True
                    return
                if isinstance(step, Sleep | WaitForChange):
                    turn.park(step, self._clock())
                    self._changes.set(object())
                    return
                outcome = yield step
        finally:
            if turn.running:
                turn.flow.close()

    def _abandon(self) -> None:
        """End all watches: no worker runs any more."""
        with self._lock:
            watches = [*self._watches.values()]
            self._watches.clear()
            for watch in watches:
                watch.end()


@dataclass(eq=False)
class _ServiceWatch:
    """The watch of one service: one flow, or several for several datacenters."""

    needed_until: float
    new_flows: Callable[[], Iterable[Flow[None]]]
    on_end: Callable[[], Iterable[str]]
    ended: bool = False
    failed: bool = False
    _turns: "list[_Turn] | None" = field(default=None, init=False)

    def is_needed(self, now: float) -> bool:
        """Return whether it goes on. One that failed ends, and the next call starts a new one."""
        return self.needed_until >= now and not self.failed

    def turns(self) -> "list[_Turn]":
        """Return the state of each flow. They are created by the first worker that asks."""
        if self._turns is None:
            self._turns = [_Turn(self, flow) for flow in self.new_flows()]
        return self._turns

    @property
    def is_running(self) -> bool:
        """True if a worker runs one of its flows."""
        return any(turn.running for turn in self.turns())

    def end(self) -> None:
        """End it. A flow that a worker runs is closed after its request, without its outcome."""
        self.ended = True
        for turn in self.turns():
            if not turn.running:
                turn.flow.close()


@dataclass(eq=False)
class _Turn:
    """One flow of a watch. Parked, it is due at ``due_at``, or when its observable changes."""

    watch: _ServiceWatch
    flow: Flow[None]
    due_at: float = float("-inf")  # a call waits for a new watch
    running: bool = False
    _waits_for: WaitForChange | None = field(default=None, init=False)

    def is_due(self, now: float) -> bool:
        """Return whether its pause has ended."""
        waits_for = self._waits_for
        changed = waits_for is not None and waits_for.observable.current is not waits_for.seen
        return changed or self.due_at <= now

    def next_step(self, outcome: Outcome | None) -> Step | None:
        """Run the flow until its next step. Return None if it has ended."""
        try:
            return self.flow.send(outcome)
        except StopIteration:
            pass
        except Exception:  # no caller receives it
            log.exception("background.crashed", name="watch")
        return None

    def park(self, step: Sleep | WaitForChange, now: float) -> None:
        """Park it until a pause ends, or a change."""
        self._waits_for = step if isinstance(step, WaitForChange) else None
        seconds = step.timeout if isinstance(step, WaitForChange) else step.seconds
        self.due_at = now + seconds
        self.running = False
