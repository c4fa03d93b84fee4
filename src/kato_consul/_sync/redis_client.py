"""Redis for threads: redis-py's connections, each of which carries the commands of one step."""

import contextlib
import socket
import time
from typing import Any

from kato_consul._directory.redis_url import (
    MAX_IDLE,
    connection_options,
    is_reusable_after,
    outcome_of,
    uses_tls,
)
from kato_consul._flow import RedisCommands, RedisOutcome, RedisReply
from kato_consul._http.tls import tls_cause
from kato_consul._secret import Secret


class RedisClient:
    """The connections of one driver to Redis.

    redis-py's pool is not used: it does not tell whether a command was sent, and cannot end those
    in flight. A connection is returned for use only after all replies were read.
    """

    def __init__(self) -> None:
        self._closed = False
        self._idle: dict[Secret, list[Any]] = {}
        self._open: set[Any] = set()

    def send(self, step: RedisCommands) -> RedisOutcome:
        """Carry out one step. If interrupted, close the connection."""
        from redis.exceptions import RedisError

        deadline = time.monotonic() + step.timeout
        idle = self._idle.setdefault(step.url, [])
        bytes_sent, reusable = False, False
        connection = _pop(idle)
        try:
            try:
                if connection is None:
                    connection = self._connect(step)
                if self._closed:
                    raise ConnectionError("this client is closed")
                bytes_sent = True
                outcome = _exchange(connection, step, deadline)
            except (RedisError, OSError) as error:
                outcome = outcome_of(error, bytes_sent=bytes_sent, cause=tls_cause(error))
            reusable = is_reusable_after(outcome)
        finally:
            if connection is not None:
                if reusable and not self._closed and len(idle) < MAX_IDLE:
                    idle.append(connection)
                else:
                    self._close(connection)
        if not reusable:  # the others lead to the same server: closed, or no longer the master
            while (other := _pop(idle)) is not None:
                self._close(other)
        return outcome

    def interrupt(self) -> None:
        """Stop permanently: commands in flight fail as cut, and new ones are not sent."""
        self._closed = True
        for connection in tuple(self._open):
            # redis-py's `disconnect` would also take the socket from the thread that reads it.
            connected = connection._sock
            if connected is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close every idle connection."""
        self.interrupt()
        for idle in tuple(self._idle.values()):
            while (connection := _pop(idle)) is not None:
                self._close(connection)

    def reset_after_fork(self) -> None:
        """In a forked child, drop the parent's connections without sending anything on them."""
        for connection in tuple(self._open):
            connection.disconnect()
        self._open, self._idle = set(), {}

    def _connect(self, step: RedisCommands) -> Any:
        from redis.connection import Connection, SSLConnection

        kind = SSLConnection if uses_tls(step.url) else Connection
        options = connection_options(step.url)
        for phase in ("socket_connect_timeout", "socket_timeout"):  # the latter: TLS and the login
            options[phase] = min(options[phase], step.timeout)
        connection = kind(**options)
        self._open.add(connection)
        try:
            connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            self._close(connection)
            raise
        return connection

    def _close(self, connection: Any) -> None:
        self._open.discard(connection)
        connection.disconnect()


def _exchange(connection: Any, step: RedisCommands, deadline: float) -> RedisOutcome:
    from redis.exceptions import ResponseError

    connection.send_packed_command(connection.pack_commands(step.commands), check_health=False)
    values: list[Any] = []
    refusal: ResponseError | None = None
    for _ in step.commands:
        if not connection.can_read(max(0.001, deadline - time.monotonic())):
            raise TimeoutError("no reply in time")
        try:
            values.append(connection.read_response())
        except ResponseError as error:
            refusal = refusal or error
    if refusal is not None:
        return outcome_of(refusal, bytes_sent=True, cause=None)
    return RedisReply(tuple(values))


def _pop(idle: list[Any]) -> Any:
    """Return the idle connection that was used last, or None. (Threads share the list.)"""
    with contextlib.suppress(IndexError):
        return idle.pop()
    return None
