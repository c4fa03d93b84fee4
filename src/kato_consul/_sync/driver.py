"""Driver: carries out the steps of flows on the calling thread."""

import encodings.idna  # noqa: F401  # else a thread's first connection does: see `_libraries`
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from kato_consul._flow import (
    Failure,
    Flow,
    Hedge,
    Hedged,
    Outcome,
    Reply,
    Send,
    Sleep,
    Step,
    WaitForChange,
)
from kato_consul._http.endpoint import tls_context
from kato_consul._libraries import load_libraries
from kato_consul._logging import logger
from kato_consul._sync.engines import engine_for
from kato_consul._sync.fork_hooks import reset_in_child
from kato_consul.errors import ClientClosed
from kato_consul.settings import Settings

T = TypeVar("T")

SendRequest = Callable[[Send], Outcome]

log = logger("driver")


class Driver:
    """Runs flows, on an engine that owns the connections. Threads may share it.

    In a forked child it starts anew, with new connections and no background flow.
    """

    def __init__(
        self, settings: Settings, *, on_closed_origin: Callable[[str], None] | None = None
    ) -> None:
        """``on_closed_origin`` is called with each origin whose connections are closed."""
        self._on_closed_origin = on_closed_origin
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._wakers: set[threading.Event] = set()
        load_libraries()
        self._engine = engine_for(settings, tls_context(settings))
        reset_in_child(self, Driver._reset_in_child)

    def run(self, flow: Flow[T], send: SendRequest | None = None) -> T:
        """Run a flow to its end. If interrupted, it is closed and sends nothing more.

        ``send``, if given, sends the requests instead of the engine.
        """
        self._check_usable()
        try:
            step = next(flow)
            while True:
                step = flow.send(self._carry_out(step, send or self._send))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    def start(self, flow: Flow[Any], name: str) -> threading.Thread:
        """Run a flow in the background, at most until the driver is closed."""
        self._check_usable()

        def until_closed() -> None:
            try:
                self.run(flow)
            except ClientClosed:
                pass  # raised when the driver is closed
            except Exception:
                log.exception("background.crashed", name=name)  # no caller receives it

        return self._spawn(until_closed, name)

    def _spawn(self, target: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()
        return thread

    def close(self) -> None:
        """End background flows and close every connection. Calls in flight fail as cut."""
        self._closing.set()
        for waker in tuple(self._wakers):
            waker.set()
        self._engine.interrupt()
        for thread in self._threads:
            thread.join()
        self._engine.close()

    def _carry_out(self, step: Step, send: SendRequest) -> Outcome | Hedged | None:
        if isinstance(step, Send):
            self._check_usable()
            return send(step)
        if isinstance(step, Hedge):
            return self._hedge(step)
        if isinstance(step, Sleep):
            self._closing.wait(step.seconds)
        elif isinstance(step, WaitForChange):
            self._wait_for_change(step)
        else:
            self._engine.close_origin(step.origin)
            if self._on_closed_origin is not None:
                self._on_closed_origin(step.origin)
        self._check_usable()
        return None

    def _send(self, step: Send) -> Outcome:
        self._check_usable()  # a hedged request may be sent later than its step
        outcome = self._engine.send(step)
        if isinstance(outcome, Failure):
            self._check_usable()  # if `close` cut it, the instance has not failed
        return outcome

    def _hedge(self, step: Hedge) -> Hedged:
        results: queue.SimpleQueue[tuple[int, Outcome | ClientClosed]] = queue.SimpleQueue()

        def send_one(index: int, send: Send) -> None:
            try:
                results.put((index, self._send(send)))
            except ClientClosed as error:
                results.put((index, error))

        outcomes: list[Outcome | None] = [None, None]
        self._spawn(lambda: send_one(0, step.first), "kato-consul hedge")
        pending, both_sent = 1, False
        while pending:
            try:
                index, outcome = results.get(timeout=None if both_sent else step.after)
            except queue.Empty:
                # The slower request ends later, with its own response or timeout.
                self._spawn(lambda: send_one(1, step.second), "kato-consul hedge")
                pending, both_sent = pending + 1, True
                continue
            if isinstance(outcome, ClientClosed):
                raise outcome
            outcomes[index] = outcome
            pending -= 1
            if isinstance(outcome, Reply) or not both_sent:
                break
        return Hedged(outcomes[0], outcomes[1], both_sent=both_sent)

    def _wait_for_change(self, step: WaitForChange) -> None:
        changed = threading.Event()
        self._wakers.add(changed)
        try:
            with step.observable.listening(changed.set):
                if step.observable.current is step.seen and not self._closing.is_set():
                    changed.wait(step.timeout)
        finally:
            self._wakers.discard(changed)

    def _reset_in_child(self) -> None:
        """Drop the connections and threads, which belong to the parent."""
        self._engine.reset_after_fork()
        self._threads = []
        self._wakers = set()
        if self._closing.is_set():
            self._closing = threading.Event()
            self._closing.set()
        else:
            self._closing = threading.Event()

    def _check_usable(self) -> None:
        if self._closing.is_set():
            raise ClientClosed("this client is closed; create a new one")
