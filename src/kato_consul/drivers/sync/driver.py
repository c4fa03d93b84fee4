"""Carries out the steps of flows on the calling thread."""

import contextlib
import socket
import threading
import time
import weakref
from typing import Any, TypeVar

import httpx

from kato_consul.drivers import wire
from kato_consul.errors import ClientClosed, ConfigurationError
from kato_consul.flow import AwaitChange, Cause, Failure, Flow, Outcome, Send, Sleep, Step
from kato_consul.log import logger
from kato_consul.settings import Settings

T = TypeVar("T")

log = logger("driver")


class Driver:
    """Runs flows; owns the connections, one pool for each origin. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._transports: dict[str, httpx.HTTPTransport] = {}
        self._making = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._wakers: set[threading.Event] = set()
        try:
            self._tls = wire.tls_context(settings)
        except OSError as error:
            raise ConfigurationError(f"the TLS files for Consul cannot be used: {error}") from error

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end. Interrupted in between, it is closed and sends nothing more."""
        self._check_usable()
        try:
            step = next(flow)
            while True:
                outcome = self._carry_out(step)
                step = flow.send(outcome)
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
        # Closing a socket does not wake a thread that reads from it; shutting it down does. The
        # base class's method, since a TLS socket's own would say goodbye first.
        for one in tuple(self._sockets):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        with self._making:
            transports, self._transports = self._transports, {}
        for transport in transports.values():
            transport.close()

    def _carry_out(self, step: Step) -> Outcome | None:
        if isinstance(step, Send):
            return self._send(step)
        if isinstance(step, Sleep):
            self._closing.wait(step.seconds)
        else:
            self._await_change(step)
        self._check_usable()
        return None

    def _send(self, step: Send) -> Outcome:
        self._check_usable()
        seen = wire.Wire()

        def trace(event: str, info: Any) -> None:
            seen.seen(event)
            if event in (
                "connection.connect_tcp.complete",
                "connection.connect_unix_socket.complete",
                "connection.start_tls.complete",  # which takes the place of the first
            ):
                self._sockets.add(info["return_value"].get_extra_info("socket"))
                if self._closing.is_set():  # it came just too late to be shut down with the others
                    info["return_value"].close()
                    raise httpx.ConnectError("this client is closed")

        request = wire.http_request(step, self._settings, trace)
        transport = self._transports.get(step.origin) or self._connect(step.origin)
        until = time.monotonic() + step.timeout
        try:
            response = transport.handle_request(request)
            assert isinstance(response.stream, httpx.SyncByteStream)
            try:
                chunks = []
                # Not iter_bytes: at its end the connection is another thread's already.
                for chunk in response.stream:
                    chunks.append(chunk)
                    # httpx bounds each read; an answer that trickles must not outlast the step.
                    if time.monotonic() > until:
                        return Failure(Cause.TIMEOUT, sent=True, detail="the answer trickled")
                if response.status_code in wire.CLOSES:
                    response.extensions["network_stream"].close()
            finally:
                response.close()
        except (httpx.HTTPError, OSError) as error:
            return wire.failure(error, sent=seen.sent)
        return wire.reply(response, b"".join(chunks))

    def _await_change(self, step: AwaitChange) -> None:
        changed = threading.Event()
        self._wakers.add(changed)
        try:
            with step.board.listening(changed.set):
                if step.board.current is step.seen and not self._closing.is_set():
                    changed.wait(step.timeout)
        finally:
            self._wakers.discard(changed)

    def _connect(self, origin: str) -> httpx.HTTPTransport:
        with self._making:
            self._check_usable()
            if origin not in self._transports:
                tls = self._tls if origin in self._settings.consul_origins else None
                options = wire.connection_options(origin, self._settings, tls)
                self._transports[origin] = httpx.HTTPTransport(**options)
            return self._transports[origin]

    def _check_usable(self) -> None:
        if self._closing.is_set():
            raise ClientClosed("this client is closed; make a new one")
