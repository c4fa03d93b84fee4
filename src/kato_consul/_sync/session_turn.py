"""Turn of a session for threads: its calls run one at a time, in the order in which they were made.

`kato_consul._async.session_turn` has the same for tasks.

Ctrl-C raises KeyboardInterrupt between any two instructions, also in a ``finally`` that gives the
turn back. So whether a call still has its place is read from the interpreter: a call runs inside a
generator, which runs until its frame has been left, in whatever way. A place whose generator no
longer runs is removed by the next call that meets it.
"""

import contextlib
import inspect
import queue
from collections.abc import Callable, Generator
from threading import get_ident
from typing import Any, TypeVar

from kato_consul._flow import Flow
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import Owner
from kato_consul._kato.session_factory import SessionFactory
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import RequestNotSent

T = TypeVar("T")

LOOK_AGAIN_AFTER = 0.2
"""Seconds after which a waiting call looks by itself whether its turn has come: the call before it
may have been interrupted just before it would have woken this one."""


class SessionTurn:
    """Runs the calls of one session. The wait for the turn is part of a call's deadline."""

    __slots__ = ("_line", "_state", "factory")

    def __init__(self, factory: SessionFactory, state: SessionState) -> None:
        self.factory = factory
        self._state = state
        self._line: list[_Call] = []
        """The call whose turn it is, and those that wait. Each operation on a list is atomic."""

    def run(
        self, flow: Callable[[KatoApi, SessionState, float], Flow[T]], deadline: float | None = None
    ) -> T:
        """Run a flow when it is this call's turn, and return its result.

        ``deadline`` is that of the settings unless given: a caller may have begun before.

        Raises:
            ClientClosed: the client is closed, or the session belongs to the parent process.
            RequestNotSent: the turn did not come before the deadline.
            SessionBusy: the call is made from within another call on the session.
        """
        factory, line = self.factory, self._line
        factory.require_own_process()
        factory.check_usable()
        if deadline is None:
            deadline = factory.deadline()
        call = _Call(get_ident())
        if self._state.reporting and line and line[0].thread == call.thread:
            # From a progress callback, between two parts of the call that has the turn.
            nested: T = factory.run(self._flow_of(flow, deadline, factory.owner))
            return nested
        call.running = self._run_in_turn(call, flow, deadline, factory.owner)
        next(call.running, None)
        result: T = call.result
        return result

    def run_if_idle(
        self, flow: Callable[[KatoApi, SessionState, float], Flow[None]], deadline: float
    ) -> bool:
        """Run a flow of the owner's, unless there is a call on the session. Return whether it ran.
        (A call that begins at this moment is waited for, until the deadline.)"""
        if self._line:
            return False
        call = _Call(get_ident())
        call.running = self._run_in_turn(call, flow, deadline, None)
        try:
            next(call.running, None)
        except RequestNotSent:  # its turn did not come
            return False
        return True

    def _run_in_turn(
        self,
        call: "_Call",
        flow: Callable[[KatoApi, SessionState, float], Flow[Any]],
        deadline: float,
        owner: Owner | None,
    ) -> Generator[None, None, None]:
        factory, line = self.factory, self._line
        line.append(call)
        try:
            if line[0] is not call:
                self._wait(call, deadline)
            call.result = factory.run(self._flow_of(flow, deadline, owner))
        finally:
            self._leave(call)
        return
        yield  # it makes this a generator

    def _flow_of(
        self,
        flow: Callable[[KatoApi, SessionState, float], Flow[Any]],
        deadline: float,
        owner: Owner | None,
    ) -> Flow[Any]:
        """Return the flow of a call; with an owner, it owns the session first."""
        api, state = self.factory.api, self._state
        if owner is None:
            return flow(api, state, deadline)
        return owner.run(api, flow, state, deadline)

    def _wait(self, call: "_Call", deadline: float) -> None:
        line = self._line
        for other in tuple(line):
            if other is not call and other.thread == call.thread and other.still_runs:
                raise self.factory.busy(self._state)
        waker: queue.SimpleQueue[None] = queue.SimpleQueue()
        call.waker = waker
        while (first := line[0]) is not call:
            if not first.still_runs:  # interrupted before it left the line
                with contextlib.suppress(ValueError):  # another thread has removed it
                    line.remove(first)
                continue
            remaining = self.factory.remaining(deadline)
            if remaining <= 0:
                raise self.factory.turn_did_not_come(self._state)
            with contextlib.suppress(queue.Empty):
                waker.get(timeout=min(remaining, LOOK_AGAIN_AFTER))

    def _leave(self, call: "_Call") -> None:
        line = self._line
        line.remove(call)
        if line:
            with contextlib.suppress(IndexError):  # the others have left as well
                if (waker := line[0].waker) is not None:
                    waker.put(None)


class _Call:
    """One call on the session: its place in the line."""

    __slots__ = ("result", "running", "thread", "waker")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.running: Generator[None, None, None]
        self.result: Any
        self.waker: queue.SimpleQueue[None] | None = None

    @property
    def still_runs(self) -> bool:
        """True unless the call has ended, be it by an interrupt before it left the line."""
        return inspect.getgeneratorstate(self.running) == inspect.GEN_RUNNING
