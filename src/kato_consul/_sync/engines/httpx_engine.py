"""The httpx engine for threads: one httpx transport for each origin."""

import contextlib
import socket
import time
import weakref
from typing import Any

import httpx

from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._http import httpx_adapter
from kato_consul._http.endpoint import MAX_BODY, STATUSES_THAT_CLOSE, Endpoints
from kato_consul._http.httpx_adapter import OriginPool
from kato_consul._sync.engines.httpx_network import Deadline, new_transport
from kato_consul.settings import Settings

CONNECTED_EVENTS = (
    "connection.connect_tcp.complete",
    "connection.connect_unix_socket.complete",
    "connection.start_tls.complete",  # its socket replaces that of the TCP connection
)


class HttpxEngine:
    """The `Engine` of the setting ``engine="httpx"``.

    Threads share only dicts and sets, whose single operations are atomic.
    """

    def __init__(self, settings: Settings, endpoints: Endpoints) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._closed = False
        self._pools: dict[str, OriginPool[httpx.HTTPTransport]] = {}
        self._sockets: weakref.WeakValueDictionary[int, socket.socket] = (
            weakref.WeakValueDictionary()
        )

    def send(self, step: Send) -> Outcome:
        """Carry out one step. If interrupted, close the connection."""
        pool = self._pools.get(step.origin)
        if pool is None:
            try:
                endpoint = self._endpoints.of(step.origin)
            except ValueError as error:
                return Failure(Cause.CONNECT, bytes_sent=False, detail=str(error), error=error)
            options = httpx_adapter.endpoint_options(endpoint, self._settings.keepalive)
            new = OriginPool(new_transport(**options), endpoint)
            pool = self._pools.setdefault(step.origin, new)
        user = object()
        pool.users.add(user)
        try:
            return pool.endpoint.checked(self._exchange(pool, step))
        finally:
            pool.users.discard(user)
            if pool.retired and not pool.users:
                pool.transport.close()

    def close_origin(self, origin: str) -> None:
        """Close the idle connections to ``origin`` now, and those in use after their responses."""
        pool = self._pools.pop(origin, None)
        if pool is not None:
            pool.retired = True
            if not pool.users:
                pool.transport.close()

    def interrupt(self) -> None:
        """Stop permanently: requests in flight fail as cut, and new ones are not sent."""
        self._closed = True
        # Closing a socket does not wake a thread that reads from it; a shutdown does. It is the
        # base class's method, since a TLS socket's own would send a close_notify first.
        for connected in self._open_sockets():
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close every idle connection."""
        self.interrupt()
        for pool in tuple(self._pools.values()):
            pool.retired = True
            pool.transport.close()

    def reset_after_fork(self) -> None:
        """In a forked child, drop the parent's connections without sending anything on them."""
        for connected in self._open_sockets():
            connected.close()
        self._sockets = weakref.WeakValueDictionary()
        self._pools = {}

    def _open_sockets(self) -> list[socket.socket]:
        references = self._sockets.valuerefs()  # one operation, unlike iterating
        return [found for reference in references if (found := reference()) is not None]

    def _exchange(self, pool: OriginPool[httpx.HTTPTransport], step: Send) -> Outcome:
        send_trace = httpx_adapter.SendTrace()

        def trace(event: str, info: Any) -> None:
            send_trace.record(event)
            if event in CONNECTED_EVENTS:
                connected = info["return_value"].get_extra_info("socket")
                self._sockets[id(connected)] = connected
                if self._closed:  # connected after `interrupt` had shut down the others
                    info["return_value"].close()
                    raise httpx.ConnectError("this client is closed")

        try:
            request = httpx_adapter.to_httpx_request(step, pool.endpoint, self._settings, trace)
        except (ValueError, httpx.InvalidURL) as error:
            return Failure(Cause.CONNECT, bytes_sent=False, detail=str(error), error=error)
        # Otherwise they would be for each read and write, and not for the whole exchange.
        deadline = Deadline(time.monotonic() + step.timeout)
        request.extensions["timeout"].update(read=deadline, write=deadline)
        try:
            response = pool.transport.handle_request(request)
            assert isinstance(response.stream, httpx.SyncByteStream)
            try:
                chunks, size = [], 0
                # Not iter_bytes: after it the connection may belong to another thread.
                for chunk in response.stream:
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > MAX_BODY:
                        return httpx_adapter.too_long(size)
                if response.status_code in STATUSES_THAT_CLOSE:
                    response.extensions["network_stream"].close()
            finally:
                response.close()
        except httpx_adapter.SEND_ERRORS as error:
            return httpx_adapter.to_failure(error, sent=send_trace.bytes_sent)
        return httpx_adapter.to_outcome(response, b"".join(chunks))
