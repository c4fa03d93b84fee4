"""The default engine: asyncio's own transports, and llhttp for the answers.

``transport.write`` is the one line at which a request leaves. Before it: not sent. From it on:
sent, whatever happens. A kept connection is looked at just before: one that the server closed, or
spoke on unasked, takes no request.
"""

import asyncio
import select
import ssl
from typing import cast

from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._http.endpoint import Endpoint, endpoint_for
from kato_consul._http.http1 import HttpError, ResponseParser, request_bytes
from kato_consul.settings import Settings


class HttptoolsEngine:
    """An `AsyncEngine`."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._tls = tls
        self._pools: dict[str, _Pool] = {}
        self._leaving: list[_Pool] = []
        self._closed = False

    async def send(self, step: Send) -> Outcome:
        """Carry out one step. Cancelled, it drops the connection."""
        pool = self._pools.get(step.origin)
        if pool is None:
            where = endpoint_for(step.origin, self._settings, self._tls)
            pool = self._pools[step.origin] = _Pool(where, self._settings.keepalive)
        try:
            request = request_bytes(step, pool.where.host)
        except ValueError as error:
            return Failure(Cause.PROTOCOL, bytes_sent=False, detail=str(error), error=error)
        left = step.timeout
        connection = pool.take()
        if connection is None:
            loop = asyncio.get_running_loop()
            began = loop.time()
            try:
                async with asyncio.timeout(min(self._settings.connect_timeout, left)):
                    connection = await pool.connect()
            except (OSError, UnicodeError) as error:  # a timeout, TLS's, the resolver's; the name
                detail = str(error) or type(error).__name__
                return Failure(Cause.CONNECT, bytes_sent=False, detail=detail, error=error)
            left -= loop.time() - began
            if self._closed:
                connection.drop()
        return await connection.exchange(request, left)

    async def close_origin(self, origin: str) -> None:
        """Keep no connection to ``origin`` any more; those in use end with their answers."""
        pool = self._pools.pop(origin, None)
        if pool is not None:
            pool.retire()
            self._leaving = [one for one in (*self._leaving, pool) if one.in_use]

    async def close(self) -> None:
        """Close every connection; requests in flight fail as cut."""
        self._closed = True
        pools = [*self._pools.values(), *self._leaving]
        self._pools, self._leaving = {}, []
        for pool in pools:
            await pool.close()


class _Pool:
    """The connections to one origin. The one used last is used first: the others grow old."""

    def __init__(self, where: Endpoint, keepalive: float) -> None:
        self.where = where
        self._keepalive = keepalive
        self._kept: list[_Connection] = []  # by the time of their last use
        self._open: set[_Connection] = set()
        self._retired = False
        self._gone: asyncio.Event | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def take(self) -> "_Connection | None":
        """A kept connection that can take a request now."""
        oldest = self._loop.time() - self._keepalive
        while self._kept:
            connection = self._kept.pop()
            if connection.last_used > oldest and connection.is_quiet():
                return connection
            connection.drop()
        return None

    async def connect(self) -> "_Connection":
        """A new connection.

        Raises:
            OSError: it could not be made.
        """
        where, loop = self.where, self._loop
        if where.path:
            made = await loop.create_unix_connection(lambda: _Connection(self), where.path)
        else:
            made = await loop.create_connection(
                lambda: _Connection(self),
                where.address,
                where.port,
                ssl=where.tls,
                server_hostname=where.server_name,
            )
        return made[1]

    @property
    def in_use(self) -> bool:
        """Are there connections?"""
        return bool(self._open)

    def opened(self, connection: "_Connection") -> None:
        """It stands."""
        self._open.add(connection)

    def keep(self, connection: "_Connection") -> None:
        """Its answer is there; it may take another request."""
        if self._retired:
            connection.drop()
            return
        connection.last_used = self._loop.time()
        self._kept.append(connection)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(self._keepalive, self._sweep)

    def lost(self, connection: "_Connection") -> None:
        """It is closed."""
        self._open.discard(connection)
        if connection in self._kept:
            self._kept.remove(connection)
        if self._gone is not None and not self._open:
            self._gone.set()

    def retire(self) -> None:
        """Keep none any more."""
        self._retired = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        kept, self._kept = self._kept, []
        for connection in kept:
            connection.drop()

    async def close(self) -> None:
        """Close all, and wait until their sockets are."""
        self.retire()
        for connection in tuple(self._open):
            connection.drop()
        if self._open:  # asyncio closes a socket one turn of the loop after it was told to
            self._gone = asyncio.Event()
            await self._gone.wait()

    def _sweep(self) -> None:
        """Drop who was not used for ``keepalive`` seconds."""
        self._sweeping = None
        oldest = self._loop.time() - self._keepalive
        while self._kept and self._kept[0].last_used <= oldest:
            self._kept.pop(0).drop()
        if self._kept:
            self._sweeping = self._loop.call_at(
                self._kept[0].last_used + self._keepalive, self._sweep
            )


class _Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self, pool: _Pool) -> None:
        self.last_used = 0.0
        self._pool = pool
        self._answers = ResponseParser()
        self._waiter: asyncio.Future[Outcome] | None = None
        self._timer: asyncio.TimerHandle
        self._transport: asyncio.Transport
        self._arrived = select.poll()

    def is_quiet(self) -> bool:
        """Has the other side neither closed it nor said anything? Asked of the socket itself,
        since the event loop may not have come to what is there."""
        return not self._transport.is_closing() and not self._arrived.poll(0)

    async def exchange(self, request: bytes, timeout: float) -> Outcome:
        """Send a request and wait for what comes, ``timeout`` seconds at most."""
        transport = self._transport
        if transport.is_closing():
            return Failure(
                Cause.CONNECT, bytes_sent=False, detail="closed before the request was sent"
            )
        if timeout <= 0:
            self.drop()
            return Failure(Cause.TIMEOUT, bytes_sent=False, detail="connecting took all the time")
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        self._timer = loop.call_later(timeout, self._expire)
        self._answers.start_response()
        transport.write(request)
        try:
            outcome: Outcome = await waiter
            return outcome
        except asyncio.CancelledError:
            if self._waiter is waiter:  # else the answer is there, and it may be another's by now
                self._timer.cancel()
                self._waiter = None
                self.drop()
            raise

    def drop(self) -> None:
        """Close it, now."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._arrived.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        answers = self._answers
        if self._waiter is None:  # nobody asked
            self.drop()
            return
        try:
            answers.feed(data)
        except HttpError as error:
            self._end(Failure(Cause.PROTOCOL, bytes_sent=True, detail=str(error), error=error))
            self.drop()
            return
        if answers.complete:
            if answers.reusable:
                self._pool.keep(self)
            else:
                self.drop()
            self._end(answers.reply())

    def connection_lost(self, error: Exception | None) -> None:
        self._pool.lost(self)
        if error is None and self._waiter is not None and self._answers.end_of_stream():
            self._end(self._answers.reply())
        else:
            detail = str(error) if error else "the server closed the connection"
            self._end(Failure(Cause.CUT, bytes_sent=True, detail=detail, error=error))

    def _expire(self) -> None:
        self._end(Failure(Cause.TIMEOUT, bytes_sent=True, detail="no answer"))
        self.drop()

    def _end(self, outcome: Outcome) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._timer.cancel()
            if not waiter.done():  # as one is whose caller was cancelled
                waiter.set_result(outcome)
