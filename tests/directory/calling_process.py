"""A process that applies a log to a session from where an earlier one was killed, and makes a call
with a key for each message.

Arguments: the shell ("sync" or "async") and the number of messages. A line is written before each
message. The settings come from the environment.
"""

import asyncio
import os
import sys

from kato_consul import AsyncKatoClient, KatoClient
from kato_consul.models import Position

LOG = "observations"


def read_log(count: int) -> None:
    """Apply the messages with a `KatoClient`."""
    with KatoClient() as kato:
        session, other = kato.session("reader"), kato.session("keys")
        last = session.position(LOG)
        for offset in range(0 if last is None else last.offset + 1, count):
            os.write(1, b"%d\n" % offset)
            session.observe([f"m{offset:03}"], position=Position(LOG, 0, offset))
            other.observe([f"k{offset:03}"], idempotency_key=f"key {offset}")


async def read_log_async(count: int) -> None:
    """Apply the messages with an `AsyncKatoClient`."""
    async with AsyncKatoClient() as kato:
        session, other = kato.session("reader"), kato.session("keys")
        last = await session.position(LOG)
        for offset in range(0 if last is None else last.offset + 1, count):
            os.write(1, b"%d\n" % offset)
            await session.observe([f"m{offset:03}"], position=Position(LOG, 0, offset))
            await other.observe([f"k{offset:03}"], idempotency_key=f"key {offset}")


if __name__ == "__main__":
    if sys.argv[1] == "sync":
        read_log(int(sys.argv[2]))
    else:
        asyncio.run(read_log_async(int(sys.argv[2])))
