"""Memory of a session: ``python -m benchmarks.memory SESSIONS`` prints bytes, the journal aside.

A process of its own, by what the kernel says that it has, keys and everything else included. Each
session was opened and observed in; what its journal holds of that is let go of again.
"""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.canned import JSON, STRINGS
from benchmarks.wireless import known, snapshot
from kato_consul import AsyncKatoClient, Settings
from kato_consul._flow import Outcome, Reply, Send

STATM = Path("/proc/self/statm")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Forgetful:
    """An engine that answers at once, and keeps nothing of it."""

    def __init__(self) -> None:
        self._opened = 0

    async def send(self, step: Send) -> Outcome:
        """A new session, or its first observation."""
        if step.target == "/sessions":
            self._opened += 1
            body = b'{"session_id":"session-%032x-1700000000","session_config":{}}' % self._opened
        else:
            body = (
                b'{"status":"okay","session_id":"s","processor_id":"p","stm_length":1,"time":1,'
                b'"unique_id":null,"auto_learned_pattern":null}'
            )
        return Reply(200, JSON, body)

    async def close_origin(self, origin: str) -> None:
        """There is nothing to drop."""

    async def close(self) -> None:
        """There is nothing to close."""


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * PAGE


async def bytes_per_session(sessions: int) -> float:
    """What each of so many takes."""
    client = known(AsyncKatoClient(Settings()), snapshot(3))
    client.discovery._driver._engine = Forgetful()
    await client.session("the first").observe(STRINGS)
    before = resident()
    for number in range(sessions):
        session = client.session(f"user-{number:08}")
        await session.observe(STRINGS)
        session._state.journal.entries = []
    took = (resident() - before) / sessions
    await client.aclose()
    return took


def measured(sessions: int) -> float | None:
    """The same in a process of its own; None where the kernel does not say."""
    if not STATM.exists():
        return None
    argv = [sys.executable, "-m", "benchmarks.memory", str(sessions)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    print(asyncio.run(bytes_per_session(int(sys.argv[1]))))
