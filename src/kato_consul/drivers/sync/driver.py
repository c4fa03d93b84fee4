"""Carries out the steps of flows on the calling thread."""

import threading
from typing import Any, TypeVar

from kato_consul.drivers import wire
from kato_consul.drivers.sync.engine import engine_for
from kato_consul.drivers.sync.forking import in_child
from kato_consul.errors import ClientClosed, ConfigurationError
from kato_consul.flow import AwaitChange, Flow, Outcome, Send, Sleep, Step
from kato_consul.log import logger
from kato_consul.settings import Settings

T = TypeVar("T")

log = logger("driver")


class Driver:
    """Runs flows, over an engine that owns the connections. Threads may share it.

    In a forked child it is as new: other connections, and no background flow.
    """

    def __init__(self, settings: Settings) -> None:
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._wakers: set[threading.Event] = set()
        try:
            self._engine = engine_for(settings, wire.tls_context(settings))
        except OSError as error:
            raise ConfigurationError(f"the TLS files for Consul cannot be used: {error}") from error
        in_child(self, Driver._begin_anew)

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end. Interrupted in between, it is closed and sends nothing more."""
        self._check_usable()
        try:
            step = next(flow)
            while True:
                step = flow.send(self._carry_out(step))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    def start(self, flow: Flow[Any], name: str) -> threading.Thread:
        """Run a flow in the background until the driver is closed."""
        self._check_usable()

        def until_closed() -> None:
            try:
                self.run(flow)
            except ClientClosed:
                pass  # that is how it ends
            except Exception:
                log.exception("background.crashed", name=name)  # nobody joins it: it must be heard

        thread = threading.Thread(target=until_closed, name=name, daemon=True)
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

    def _carry_out(self, step: Step) -> Outcome | None:
        if isinstance(step, Send):
            self._check_usable()
            return self._engine.send(step)
        if isinstance(step, Sleep):
            self._closing.wait(step.seconds)
        elif isinstance(step, AwaitChange):
            self._await_change(step)
        else:
            self._engine.drop(step.origin)
        self._check_usable()
        return None

    def _await_change(self, step: AwaitChange) -> None:
        changed = threading.Event()
        self._wakers.add(changed)
        try:
            with step.board.listening(changed.set):
                if step.board.current is step.seen and not self._closing.is_set():
                    changed.wait(step.timeout)
        finally:
            self._wakers.discard(changed)

    def _begin_anew(self) -> None:
        """In a forked child: the parent's connections and threads are the parent's."""
        self._engine.forget()
        self._threads = []
        self._wakers = set()
        if self._closing.is_set():
            self._closing = threading.Event()
            self._closing.set()
        else:
            self._closing = threading.Event()

    def _check_usable(self) -> None:
        if self._closing.is_set():
            raise ClientClosed("this client is closed; make a new one")
