"""Driver: carries out the steps of flows on the calling thread."""

import encodings.idna  # noqa: F401  # else a thread's first connection does: see `_libraries`
import queue
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from kato_consul._flow import (
    CLOSE_TIMEOUT,
    Failure,
    Flow,
    Hedge,
    Hedged,
    Outcome,
    RedisCommands,
    RedisOutcome,
    Reply,
    Send,
    Sleep,
    Step,
    WaitForChange,
    cut_by_closing,
    may_have_been_sent,
)
from kato_consul._http.endpoint import Endpoints
from kato_consul._libraries import load_libraries
from kato_consul._logging import logger
from kato_consul._sync.engines import engine_for
from kato_consul._sync.fork_hooks import reset_in_child
from kato_consul._sync.redis_client import RedisClient
from kato_consul._tracing import add_trace_id
from kato_consul.errors import ClientClosed, KatoConsulError, NoThread
from kato_consul.settings import Settings

T = TypeVar("T")

SendRequest = Callable[[Send], Outcome]

Waker = queue.SimpleQueue[None]
"""Wakes one thread that waits. Unlike those of an Event, its operations cannot be interrupted half
way, neither by Ctrl-C nor by the garbage collector."""

log = logger("driver")


class Driver:
    """Runs flows, on an engine that owns the connections. Threads may share it.

    In a forked child it starts anew, with new connections and no background flow.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        owner: object | None = None,
        endpoints: Endpoints | None = None,
        on_closed_origin: Callable[[str], None] | None = None,
    ) -> None:
        """``owner`` is what users hold: if it is garbage-collected, the driver is closed, and the
        warning names ``owner_name``, its class unless set. ``endpoints`` are those of ``settings``,
        if they exist already.
        ``on_closed_origin`` is called with each origin whose connections are closed."""
        self._on_closed_origin = on_closed_origin
        self._threads: set[threading.Thread] = set()
        self._wakers: set[Waker] = set()
        self._closed = False
        self._used = False
        self._dropped = False
        load_libraries()
        self._engine = engine_for(settings, endpoints or Endpoints(settings))
        self._redis = RedisClient()
        reset_in_child(self, Driver._reset_in_child)
        self.owner_name = type(owner).__name__
        if owner is not None:
            weakref.finalize(owner, self._owner_collected).atexit = False

    def run(self, flow: Flow[T], send: SendRequest | None = None) -> T:
        """Run a flow to its end. If interrupted, it is closed and sends nothing more.

        ``send``, if given, sends the requests instead of the engine. If the driver is closed
        meanwhile, `ClientClosed` is raised in the flow, which may replace it by another error.
        """
        self.check_usable()
        self._used = True
        outcome: Outcome | Hedged | RedisOutcome | None = None
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._carry_out(step, send or self._send)
                except ClientClosed as closed:
                    closed.sent = may_have_been_sent(outcome)
                    flow.throw(closed)
                    raise  # it yielded one more step
                step = flow.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except KatoConsulError as error:
            add_trace_id(error)
            raise
        finally:
            flow.close()

    def start(self, flow: Flow[Any], name: str) -> threading.Thread:
        """Run a flow in the background, at most until the driver is closed."""
        return self.start_work(lambda: self.run(flow, self._send_in_background), name)

    def start_work(self, work: Callable[[], None], name: str) -> threading.Thread:
        """Call ``work`` in the background. Its flows raise `ClientClosed` once the driver is
        closed."""
        self.check_usable()

        def until_closed() -> None:
            try:
                work()
            except ClientClosed:
                pass  # raised when the driver is closed
            except Exception:
                log.exception("background.crashed", name=name)  # no caller receives it

        return self._spawn(until_closed, name)

    def _spawn(self, target: Callable[[], None], name: str) -> threading.Thread:
        def run() -> None:
            try:
                target()
            finally:
                self._threads.discard(thread)
                self._close_if_dropped()

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            self._threads.discard(thread)
            raise NoThread(name, str(error)) from error
        return thread

    @property
    def closed(self) -> bool:
        """True once it is closed: it cannot be used any more."""
        return self._closed

    def close(self) -> None:
        """End background flows and close every connection. Calls in flight fail as cut."""
        self._stop()
        deadline = time.monotonic() + CLOSE_TIMEOUT
        for thread in tuple(self._threads):
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        names = [one.name for one in tuple(self._threads) if one.is_alive()]
        if names and time.monotonic() >= deadline:
            log.warning("close.incomplete", seconds=CLOSE_TIMEOUT, still_running=names)
        self._close_connections()

    def _close_connections(self) -> None:
        self._engine.close()
        self._redis.close()

    def _stop(self) -> None:
        """End all waits and all requests. It takes no lock, so it may run in a finalizer."""
        self._closed = True
        for waker in tuple(self._wakers):
            waker.put(None)
        self._engine.interrupt()
        self._redis.interrupt()

    def _owner_collected(self) -> None:
        """Close the driver: no call can use it any more. (This may run in any thread.)"""
        if self._closed or not self._used:
            return
        self._dropped = True
        self._stop()
        self._close_if_dropped()
        warnings.warn(f"unclosed {self.owner_name}: call 'close()'", ResourceWarning, stacklevel=2)

    def _close_if_dropped(self) -> None:
        """Close the connections when the last thread has ended that might use them."""
        if self._dropped and not self._threads:
            self._close_connections()

    def _carry_out(self, step: Step, send: SendRequest) -> Outcome | Hedged | RedisOutcome | None:
        if isinstance(step, Send):
            self.check_usable()
            return send(step)
        if isinstance(step, Hedge):
            return self._hedge(step)
        if isinstance(step, RedisCommands):
            return self._send_to_redis(step)
        if isinstance(step, Sleep):
            self._wait(step.seconds, queue.SimpleQueue())
        elif isinstance(step, WaitForChange):
            changed: Waker = queue.SimpleQueue()
            with step.observable.listening(lambda: changed.put(None)):
                if step.observable.current is step.seen:
                    self._wait(step.timeout, changed)
        else:
            self._engine.close_origin(step.origin)
            if self._on_closed_origin is not None:
                self._on_closed_origin(step.origin)
        self.check_usable()
        return None

    def _wait(self, seconds: float, waker: Waker) -> None:
        """Wait for ``waker``, at most ``seconds``, and not after the driver is closed."""
        self._wakers.add(waker)
        try:
            if not self._closed:
                with suppress(queue.Empty):
                    waker.get(timeout=max(0.0, seconds))
        finally:
            self._wakers.discard(waker)

    def _send(self, step: Send) -> Outcome:
        self.check_usable()  # a hedged request may be sent later than its step
        outcome = self._engine.send(step)
        return cut_by_closing(outcome) if self._closed else outcome

    def _send_in_background(self, step: Send) -> Outcome:
        outcome = self._engine.send(step)
        if isinstance(outcome, Failure):
            self.check_usable()  # cut by `close`: not an outage, which the flow would log
        return outcome

    def _send_to_redis(self, step: RedisCommands) -> RedisOutcome:
        self.check_usable()
        outcome = self._redis.send(step)
        if isinstance(outcome, Failure):
            self.check_usable()  # cut by `close`: not an outage, which the flow would retry
        return outcome

    def _hedge(self, step: Hedge) -> Hedged:
        results: queue.SimpleQueue[tuple[int, Outcome | ClientClosed]] = queue.SimpleQueue()

        def send_one(index: int, send: Send) -> None:
            try:
                results.put((index, self._send(send)))
            except ClientClosed as error:
                results.put((index, error))

        outcomes: list[Outcome | None] = [None, None]
        try:
            self._spawn(lambda: send_one(0, step.first), "kato-consul hedge")
        except NoThread:
            return Hedged(self._send(step.first), None, both_sent=False)
        after: float | None = step.after
        pending, both_sent = 1, False
        while pending:
            try:
                index, outcome = results.get(timeout=after)
            except queue.Empty:
                after = None
                with suppress(NoThread):  # then the first request is waited for
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

    def _reset_in_child(self) -> None:
        """Drop the connections and threads, which belong to the parent."""
        self._engine.reset_after_fork()
        self._redis.reset_after_fork()
        self._threads = set()
        self._wakers = set()
        self._used = False

    def check_usable(self) -> None:
        """Raise `ClientClosed` if the driver is closed."""
        if self._closed:
            raise ClientClosed("this client is closed; create a new one")
