"""Redis on asyncio: redis-py's connections, each of which carries the commands of one step."""

import asyncio
from typing import Any

from kato_consul._async.engines.time_limits import TimeLimits
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


class AsyncRedisClient:
    """The connections of one driver to Redis.

    redis-py's pool is not used: it does not tell whether a command was sent, and cannot end those
    in flight. A connection is returned for use only after all replies were read.
    """

    def __init__(self) -> None:
        self._closed = False
        self._idle: dict[Secret, list[Any]] = {}
        self._limits = TimeLimits()

    async def send(self, step: RedisCommands) -> RedisOutcome:
        """Carry out one step. If cancelled, close the connection."""
        from redis.exceptions import RedisError

        idle = self._idle.setdefault(step.url, [])
        bytes_sent, reusable = False, False
        connection = idle.pop() if idle else None
        try:
            try:
                async with self._limits.limit(step.timeout):
                    if connection is None:
                        connection = _new_connection(step)
                        await connection.connect()
                    bytes_sent = True
                    outcome = await _exchange(connection, step)
            except (RedisError, OSError) as error:
                outcome = outcome_of(error, bytes_sent=bytes_sent, cause=tls_cause(error))
            reusable = is_reusable_after(outcome)
        finally:
            if reusable and not self._closed and len(idle) < MAX_IDLE:
                idle.append(connection)
            elif connection is not None:
                await connection.disconnect(nowait=True)
        if not reusable:  # the others lead to the same server: closed, or no longer the master
            while idle:
                await idle.pop().disconnect(nowait=True)
        return outcome

    async def close(self) -> None:
        """Stop permanently: commands in flight end as not answered, connections are closed."""
        self._closed = True
        await self._limits.end_all()
        for idle in self._idle.values():
            while idle:
                await idle.pop().disconnect(nowait=True)
        await asyncio.sleep(0)  # sockets are closed in the loop's next iteration


def _new_connection(step: RedisCommands) -> Any:
    from redis.asyncio.connection import Connection, SSLConnection

    kind = SSLConnection if uses_tls(step.url) else Connection
    # The step's limit is for all of it, so that a read may block as long as that.
    return kind(**{**connection_options(step.url), "socket_timeout": None})


async def _exchange(connection: Any, step: RedisCommands) -> RedisOutcome:
    from redis.exceptions import ResponseError

    await connection.send_packed_command(
        connection.pack_commands(step.commands), check_health=False
    )
    values: list[Any] = []
    refusal: ResponseError | None = None
    for _ in step.commands:
        try:
            values.append(await connection.read_response())
        except ResponseError as error:
            refusal = refusal or error
    if refusal is not None:
        return outcome_of(refusal, bytes_sent=True, cause=None)
    return RedisReply(tuple(values))
