"""The engine under httpx: its own transport, httpcore.

httpcore's ``trace`` extension tells whether a byte left: see `kato_consul._http.httpx_adapter`.
"""

import contextlib
import socket
import ssl
import threading
import time
import weakref
from typing import Any

import httpcore  # noqa: F401  # else httpx does, later: a child forked meanwhile would wait forever
import httpx

from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._http import httpx_adapter as httpx_wire
from kato_consul._http.endpoint import STATUSES_THAT_CLOSE
from kato_consul.settings import Settings

CONNECTED = (
    "connection.connect_tcp.complete",
    "connection.connect_unix_socket.complete",
    "connection.start_tls.complete",  # which takes the place of the first
)


class HttpxEngine:
    """An `Engine`."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._tls = tls
        self._closed = False
        self._pools: dict[str, _Pool] = {}
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def send(self, step: Send) -> Outcome:
        """Carry out one step. Interrupted, it drops the connection."""
        with self._lock:
            pool = self._pools.get(step.origin)
            if pool is None:
                pool = self._pools[step.origin] = _Pool(step.origin, self._settings, self._tls)
            pool.users += 1
        try:
            return self._exchange(pool.transport, step)
        finally:
            with self._lock:
                pool.users -= 1
                last = pool.retired and not pool.users
            if last:
                pool.transport.close()

    def close_origin(self, origin: str) -> None:
        """Keep no connection to ``origin`` any more; those in use end with their answers."""
        with self._lock:
            pool = self._pools.pop(origin, None)
            if pool is None:
                return
            pool.retired = True
            unused = not pool.users
        if unused:
            pool.transport.close()

    def interrupt(self) -> None:
        """End for good: requests in flight fail as cut, and new ones are not sent."""
        self._closed = True
        # Closing a socket does not wake a thread that reads from it; shutting it down does. The
        # base class's method, since a TLS socket's own would say goodbye first.
        for one in tuple(self._sockets):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close every connection that is kept."""
        self.interrupt()
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.transport.close()

    def reset_after_fork(self) -> None:
        """In a forked child: let go of the parent's connections without a word to the server."""
        for one in tuple(self._sockets):
            one.close()
        self._lock = threading.Lock()  # a thread that is not here may have held it
        self._sockets = weakref.WeakSet()
        self._pools = {}

    def _exchange(self, transport: httpx.HTTPTransport, step: Send) -> Outcome:
        seen = httpx_wire.SendTrace()

        def trace(event: str, info: Any) -> None:
            seen.seen(event)
            if event in CONNECTED:
                self._sockets.add(info["return_value"].get_extra_info("socket"))
                if self._closed:  # it came just too late to be shut down with the others
                    info["return_value"].close()
                    raise httpx.ConnectError("this client is closed")

        try:
            request = httpx_wire.http_request(step, self._settings, trace)
        except (ValueError, httpx.InvalidURL) as error:
            return Failure(Cause.PROTOCOL, bytes_sent=False, detail=str(error), error=error)
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
                        return Failure(Cause.TIMEOUT, bytes_sent=True, detail="the answer trickled")
                if response.status_code in STATUSES_THAT_CLOSE:
                    response.extensions["network_stream"].close()
            finally:
                response.close()
        except (httpx.HTTPError, OSError) as error:
            return httpx_wire.failure(error, sent=seen.sent)
        return httpx_wire.reply(response, b"".join(chunks))


class _Pool:
    """The transport of one origin; ``users`` are the requests it has in hand."""

    def __init__(self, origin: str, settings: Settings, tls: ssl.SSLContext | None) -> None:
        own = tls if origin in settings.consul_origins else None
        options = httpx_wire.connection_options(origin, settings, own)
        self.transport = httpx.HTTPTransport(**options)
        self.users = 0
        self.retired = False
