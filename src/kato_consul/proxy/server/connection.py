"""A connection of a caller: uvicorn's protocol, with time limits, and an end that loses nothing.

uvicorn limits the time between two requests, and nothing else: a caller that never ends its headers
keeps its connection, and so does one that never reads its answers; headers may be of any length. At
its end it closes idle connections at once, also those on which a request is on its way.

`HttpToolsProtocol` has no documented interface for this. What is used of it: the callbacks of
its parser, ``cycle``, ``flow``, ``pipeline``, ``timeout_keep_alive`` with its task, and
``send_400_response``.
"""

import asyncio
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kato_consul.proxy.server.connection_limits import ConnectionLimits, Reader
from kato_consul.proxy.server.measuring import Rejection
from kato_consul.proxy.server.refusals import RETRY_SOON, closing_response, refuse

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers. Servers have 8 to 64 KiB."""

DISCARD_WITHIN = 2.0
"""Seconds for which the rest of a request is read and thrown away after it was refused. When a
connection is closed while its caller sends, it is reset, and the caller may not see the answer."""

_OF_UPGRADES = frozenset({b"connection", b"upgrade", b"http2-settings"})
"""Headers of an upgrade, and of this connection."""

_TOO_MANY = "the proxy serves as many connections as it may: try again"
_ENDS = "the proxy is about to end: try again"


class CallerConnection(HttpToolsProtocol):
    """A connection of a caller."""

    def __init__(self, limits: ConnectionLimits, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._in_head = True  # of the next request, or of the one that is being read
        self._incomplete = False  # a part of a request has been read
        self._head_bytes = 0
        self._closes = False  # after the response to the current request
        self._timer: asyncio.TimerHandle | None = None
        self._timed_head = True
        self._upgraded = False
        self._discarding = False
        self._ignored = False
        self._reader = Reader()

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Serve the connection, or answer its first request with a 503."""
        if len(self.connections) >= self._limits.max_connections:
            self.app = _too_many_connections
            self._limits.meter.rejected(Rejection.CONNECTIONS)
            self._closes = True
        super().connection_made(transport)
        self._limits.meter.connections.inc()
        self.timeout_keep_alive = self._limits.idle_within  # type: ignore[assignment]
        self._keep_idle(self._limits.head_within if self._closes else self._limits.idle_within)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        if not self._upgraded:
            self._limits.meter.connections.dec()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def leave(self, idle_within: float) -> None:
        """End the connection with its next response, or when it has been idle for so long."""
        self.timeout_keep_alive = idle_within  # type: ignore[assignment]
        if self.timeout_keep_alive_task is not None:
            self._keep_idle(idle_within)
        if self._is_responding():
            self._end_after_response()

    def _keep_idle(self, seconds: float) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    # Requests

    def data_received(self, data: bytes) -> None:
        """Read a part of a request, or several requests."""
        if self._discarding:
            return
        self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        unread: bytes | None = data
        while unread is not None:
            unread = self._parse(unread)
        if self._discarding:
            return
        if self._upgraded or self.transport.is_closing():
            self._stop_timer()
        elif self._in_head and self._head_bytes > MAX_HEAD and self._incomplete:
            self._answer_and_close(431, f"the headers are longer than {MAX_HEAD} bytes")
            self._limits.meter.rejected(Rejection.MALFORMED)
        elif self._incomplete or self._is_idle_without_timer():
            self._incomplete = True
            if self._timer is None or self._timed_head != self._in_head:
                self._start_timer()
        else:
            self._stop_timer()

    def _parse(self, data: bytes) -> bytes | None:
        """Parse a part of a request, or several requests; return what is to be parsed next."""
        try:
            self.parser.feed_data(data)
        except HttpParserError:
            self.send_400_response("it cannot be parsed")
        except HttpParserUpgrade as upgrade:
            if not self._should_upgrade():
                return self._without_upgrade(data[upgrade.args[0] :])
            self.handle_websocket_upgrade()
        return None

    def _is_idle_without_timer(self) -> bool:
        """Whether something came that is no request, such as an empty line. Any byte has ended the
        time that the connection may be idle."""
        return not self._is_responding() and self.timeout_keep_alive_task is None

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the protocol of WebSockets, which has limits of its own."""
        self._upgraded = True
        self._limits.meter.connections.dec()
        if self._closes or self._limits.draining:
            why = _ENDS if self._limits.draining else _TOO_MANY
            self.connections.discard(self)
            self.transport.write(closing_response(503, why, [RETRY_SOON]))
            self.transport.close()
        else:
            super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        super().on_message_begin()
        self._incomplete = True

    def _without_upgrade(self, rest: bytes) -> bytes | None:
        """Return a request without the upgrade that it offers, to be read again, and the ``rest``
        that follows it. A server may ignore an upgrade (RFC 9110, 7.8).

        Java's HttpClient and ``curl --http2`` offer HTTP/2 with each request. The parser takes what
        follows the headers for the other protocol; uvicorn drops it, and so the body.
        """
        method = self.scope["method"].encode()
        if method == b"CONNECT":  # which is an upgrade by itself
            self.send_400_response("CONNECT is not served")
            return None
        lines = [b"%b %b HTTP/1.1" % (method, self.url)]
        for name, value in self.headers:
            if name == b"connection" and b"close" in value.lower():
                lines.append(b"connection: close")
            elif name not in _OF_UPGRADES:
                lines.append(name + b": " + value)
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in the base class
        return b"\r\n".join([*lines, b"", rest])

    def on_headers_complete(self) -> None:
        """Begin to serve a request, of which the body may be missing."""
        if self.parser.should_upgrade() and not self._should_upgrade():
            self.scope["method"] = self.parser.get_method().decode("ascii")
            self._ignored = True  # until `_without_upgrade`
            return
        self._ignored = False
        before = self.cycle
        super().on_headers_complete()
        self._in_head = False
        self._head_bytes = 0
        if self.cycle is not before:  # it is no WebSocket
            if not self.cycle.keep_alive or self._limits.leaving:
                self._closes = True
            # Until the body is complete: see `DISCARD_WITHIN`.
            self.cycle.keep_alive = True

    def on_message_complete(self) -> None:
        """Close the connection if its last request was answered before its end."""
        if self._ignored:
            return
        super().on_message_complete()
        self._incomplete, self._in_head, self._head_bytes = False, True, 0
        if self._closes:
            if self._is_responding():
                self.cycle.keep_alive = False
            else:
                self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request, or a moment for the rest of this one."""
        super().on_response_complete()
        if self._incomplete and not self._in_head and not self.pipeline:
            self._stop_timer()
            self._timer = self.loop.call_later(DISCARD_WITHIN, self.transport.close)
            self._timed_head = False

    def _is_responding(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _end_after_response(self) -> None:
        self._closes = True
        if not self._incomplete:
            self.cycle.keep_alive = False

    # What is slow, and what is not HTTP

    def check_reader(self, now: float) -> None:
        """Reset the connection if its caller reads nothing of what waits for it. A connection that
        is being closed waits for its caller, too."""
        waiting = self.transport.get_write_buffer_size()
        if self._reader.seconds_without_reading(now, waiting) > self._limits.send_within:
            self._limits.meter.rejected(Rejection.SLOW)
            self.transport.abort()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timed_head = self._in_head
        limits = self._limits
        within = limits.head_within if self._in_head else limits.body_within
        self._timer = self.loop.call_later(within, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.flow.read_paused or (self._in_head and self._is_responding()):
            self._start_timer()  # it waits for an answer, and not for its caller
            return
        self._limits.meter.rejected(Rejection.SLOW)
        part = "headers" if self._in_head else "body"
        within = self._limits.head_within if self._in_head else self._limits.body_within
        self._answer_and_close(
            408, f"the {part} of the request did not end within {within:g} s: send it again"
        )

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, and close the connection."""
        self._limits.meter.rejected(Rejection.MALFORMED)
        self._answer_and_close(400, f"this is not an HTTP/1.1 request: {msg}")

    def _answer_and_close(self, status: int, detail: str) -> None:
        self._stop_timer()
        cycle = self.cycle
        if self._is_responding():
            if not cycle.more_body:  # it is about what follows this request, which may be applied
                self._discarding = self._closes = True
                cycle.keep_alive = False
                return
            if cycle.response_started:  # its caller sees that the response is cut
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(closing_response(status, detail))
        self._discarding = True
        if self.transport.can_write_eof():  # TLS cannot
            self.transport.write_eof()
        self._timer = self.loop.call_later(DISCARD_WITHIN, self.transport.close)


async def _too_many_connections(scope: Scope, receive: Receive, send: Send) -> None:
    await refuse(scope, send, 503, _TOO_MANY, [RETRY_SOON])
