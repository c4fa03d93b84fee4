"""The default engine on asyncio: asyncio's transports, with llhttp as the parser.

A request is sent by exactly one call, ``transport.write``: before it nothing is sent, from it on
the request counts as sent. An idle connection is checked just before. If the server has closed it,
or has sent data without a request, it is not used.
"""

import asyncio
import contextlib
import os
import select
from typing import cast

from kato_consul._async.engines.connecting import connect_tcp
from kato_consul._async.engines.time_limits import TimeLimits
from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._http.endpoint import Endpoint, Endpoints
from kato_consul._http.http1 import HttpError, ResponseParser, request_bytes
from kato_consul.settings import Settings

READ_SIZE = 65_536
"""Bytes in one read, where asyncio does not read."""


class HttptoolsEngine:
    """The `AsyncEngine` of the setting ``engine="httptools"``."""

    def __init__(self, settings: Settings, endpoints: Endpoints) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._pools: dict[str, _ConnectionPool] = {}
        self._retired_pools: list[_ConnectionPool] = []
        self._connecting = TimeLimits()
        self._closed = False

    async def send(self, step: Send) -> Outcome:
        """Carry out one step. If cancelled, close the connection."""
        pool = self._pools.get(step.origin)
        try:
            if pool is None:
                endpoint = self._endpoints.of(step.origin)
                pool = _ConnectionPool(endpoint, self._settings.keepalive)
                self._pools[step.origin] = pool
            request = request_bytes(step, pool.endpoint)
        except (ValueError, OSError) as error:
            return Failure(Cause.CONNECT, bytes_sent=False, detail=str(error), error=error)
        remaining = step.timeout
        connection = pool.acquire()
        if connection is None:
            started = asyncio.get_running_loop().time()
            try:
                timeout = min(self._settings.connect_timeout, remaining)
                async with self._connecting.limit(timeout):
                    connection = await pool.connect(timeout)
            except (OSError, ValueError, OverflowError) as error:  # also a bad name or port
                detail = str(error) or type(error).__name__
                failure = Failure(Cause.CONNECT, bytes_sent=False, detail=detail, error=error)
                return pool.endpoint.checked(failure)
            remaining -= asyncio.get_running_loop().time() - started
            if self._closed:
                connection.abort()
        return pool.endpoint.checked(await connection.exchange(request, remaining))

    async def close_origin(self, origin: str) -> None:
        """Close the idle connections to ``origin`` now, and those in use after their responses."""
        pool = self._pools.pop(origin, None)
        if pool is not None:
            pool.retire()
            self._retired_pools = [
                retired for retired in (*self._retired_pools, pool) if retired.in_use
            ]

    async def close(self) -> None:
        """Close every connection; requests in flight fail as cut."""
        self._closed = True
        pools = [*self._pools.values(), *self._retired_pools]
        self._pools, self._retired_pools = {}, []
        for pool in pools:
            pool.abort()
        await self._connecting.end_all()
        for pool in pools:
            await pool.wait_closed()


class _ConnectionPool:
    """The connections to one origin. The connection used last is reused first, so others expire."""

    def __init__(self, endpoint: Endpoint, keepalive: float) -> None:
        self.endpoint = endpoint
        self._keepalive = keepalive
        self._idle: list[_Connection] = []  # ordered by their last use
        self._connecting = 0
        self._open: set[_Connection] = set()
        self._retired = False
        self._all_closed: asyncio.Event | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def acquire(self) -> "_Connection | None":
        """Return an idle connection that can carry a request now."""
        oldest = self._loop.time() - self._keepalive
        while self._idle:
            connection = self._idle.pop()
            if connection.last_used > oldest and connection.is_idle():
                return connection
            connection.abort()
        return None

    async def connect(self, timeout: float) -> "_Connection":
        """Return a new connection. ``timeout`` is as in `connect_tcp`.

        Raises:
            OSError, ValueError, OverflowError: the connection failed.
        """
        to, loop = self.endpoint, self._loop
        connection, connected = _Connection(self), None
        self._connecting += 1
        try:
            if to.path:
                await loop.create_unix_connection(lambda: connection, to.path)
            else:
                connected = await connect_tcp(to.address, to.port, timeout)
                await loop.create_connection(
                    lambda: connection, sock=connected, ssl=to.tls, server_hostname=to.server_name
                )
        except BaseException:
            if connected is not None:
                connected.close()
            if connection in self._open:  # it was established just before the cancellation
                connection.abort()
                loop.call_soon(self.closed, connection)  # uvloop never calls connection_lost
            raise
        finally:
            self._connecting -= 1
        return connection

    @property
    def in_use(self) -> bool:
        """True while a connection is open, or is being established."""
        return bool(self._open or self._connecting)

    def opened(self, connection: "_Connection") -> None:
        """Record an open connection."""
        self._open.add(connection)

    def release(self, connection: "_Connection") -> None:
        """Keep a connection whose response is complete, for another request."""
        if self._retired:
            connection.abort()
            return
        connection.last_used = self._loop.time()
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(self._keepalive, self._sweep)

    def closed(self, connection: "_Connection") -> None:
        """Record that a connection is closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._all_closed is not None and not self._open:
            self._all_closed.set()

    def retire(self) -> None:
        """Close the idle connections, and from now on each connection after its response."""
        self._retired = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()

    def abort(self) -> None:
        """Close all connections. asyncio closes their sockets one iteration of the loop later."""
        self.retire()
        for connection in tuple(self._open):
            connection.abort()

    async def wait_closed(self) -> None:
        """Wait until the sockets of all connections are closed."""
        if self._open:
            self._all_closed = asyncio.Event()
            await self._all_closed.wait()

    def _sweep(self) -> None:
        """Close connections that were idle for ``keepalive`` seconds."""
        self._sweeping = None
        oldest = self._loop.time() - self._keepalive
        while self._idle and self._idle[0].last_used <= oldest:
            self._idle.pop(0).abort()
        if self._idle:
            self._sweeping = self._loop.call_at(
                self._idle[0].last_used + self._keepalive, self._sweep
            )


class _Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self, pool: _ConnectionPool) -> None:
        self.last_used = 0.0
        self._pool = pool
        self._parser = ResponseParser()
        self._waiter: asyncio.Future[Outcome] | None = None
        self._timer: asyncio.TimerHandle
        self._transport: asyncio.Transport
        self._descriptor: int
        self._readable = select.poll()

    def is_idle(self) -> bool:
        """Return whether the server has neither closed the connection nor sent anything.

        The socket itself is polled: the event loop may not have processed it yet.
        """
        return not self._transport.is_closing() and not self._readable.poll(0)

    async def exchange(self, request: bytes, timeout: float) -> Outcome:
        """Send a request and wait for its response, at most ``timeout`` seconds."""
        transport = self._transport
        if transport.is_closing():
            closed = ConnectionError("closed before the request was sent")
            return Failure(Cause.CONNECT, bytes_sent=False, detail=str(closed), error=closed)
        if timeout <= 0:
            self.abort()
            expired = TimeoutError("the timeout expired while connecting")
            return Failure(Cause.TIMEOUT, bytes_sent=False, detail=str(expired), error=expired)
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        self._timer = loop.call_later(timeout, self._expire)
        self._parser.start_response(request)
        transport.write(request)
        try:
            outcome: Outcome = await waiter
            return outcome
        except asyncio.CancelledError:
            # Otherwise the response is complete, and another request may use the connection.
            if self._waiter is waiter:
                self._timer.cancel()
                self._waiter = None
                self.abort()
            raise

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._readable.register(self._descriptor, select.POLLIN)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if self._waiter is None:  # data without a request
            self.abort()
            return
        try:
            parser.feed(data)
        except HttpError as error:
            self._end(Failure(Cause.PROTOCOL, bytes_sent=True, detail=str(error), error=error))
            self.abort()
            return
        if parser.complete:
            # Otherwise the server has answered before it had received the whole request.
            if parser.reusable and not self._transport.get_write_buffer_size():
                self._pool.release(self)
            else:
                self.abort()
            self._end(parser.reply())

    def connection_lost(self, error: Exception | None) -> None:
        self._pool.closed(self)
        if error is not None and self._waiter is not None:
            self._receive_rest()
        if error is None and self._waiter is not None and self._parser.end_of_stream():
            self._end(self._parser.reply())
        else:
            error = error or ConnectionError("the server closed the connection")
            self._end(Failure(Cause.CUT, bytes_sent=True, detail=str(error), error=error))

    def _receive_rest(self) -> None:
        """Process what was received before a write failed: the server may have answered early.

        asyncio closes the socket after `connection_lost`, and has not read it.
        """
        if self._pool.endpoint.tls is None:
            with contextlib.suppress(OSError):
                while self._waiter is not None and (data := os.read(self._descriptor, READ_SIZE)):
                    self.data_received(data)

    def _expire(self) -> None:
        error = TimeoutError("no response")
        self._end(Failure(Cause.TIMEOUT, bytes_sent=True, detail=str(error), error=error))
        self.abort()

    def _end(self, outcome: Outcome) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._timer.cancel()
            if not waiter.done():  # it is done if its caller was cancelled
                waiter.set_result(outcome)
