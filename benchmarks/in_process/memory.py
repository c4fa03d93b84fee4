"""Memory per session: ``python -m benchmarks.in_process.memory SESSIONS [shared]`` prints bytes.

With ``shared``, a session directory is set, and the process owns all sessions.

Measured as the resident set of a process of its own, so keys and all overhead are included. Each
session is opened and observes once; the journal entries are dropped and not counted.
"""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.in_process.stubs import make_snapshot, with_lone_directory, with_snapshot
from benchmarks.testbed.kato_responses import JSON, STRINGS
from kato_consul import AsyncKatoClient, Settings
from kato_consul._flow import Outcome, Reply, Send

STATM = Path("/proc/self/statm")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class StatelessEngine:
    """An engine that responds at once and stores nothing per session."""

    def __init__(self) -> None:
        self._opened = 0

    async def send(self, step: Send) -> Outcome:
        """Return a new session, or its first observation."""
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
        """Do nothing: there are no connections."""

    async def close(self) -> None:
        """Do nothing: there are no connections."""


def resident_bytes() -> int:
    """Return the resident set size of this process in bytes."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * PAGE_SIZE


async def bytes_per_session(sessions: int, *, shared: bool) -> float:
    """Open ``sessions`` sessions in this process; return bytes per session."""
    settings = Settings(session_directory="consul" if shared else None)
    client = with_snapshot(AsyncKatoClient(settings), make_snapshot(3))
    if shared:
        client = with_lone_directory(client)
    client.discovery._driver._engine = StatelessEngine()
    await client.session("the first").observe(STRINGS)
    before = resident_bytes()
    for number in range(sessions):
        session = client.session(f"user-{number:08}")
        await session.observe(STRINGS)
        session._state.journal = session._state.journal.emptied()
    per_session = (resident_bytes() - before) / sessions
    await client.aclose()
    return per_session


def measure(sessions: int, *, shared: bool = False) -> float | None:
    """Run `bytes_per_session` in a new process; None on systems without /proc/self/statm."""
    if not STATM.exists():
        return None
    argv = [sys.executable, "-m", "benchmarks.in_process.memory", str(sessions)]
    argv += ["shared"] if shared else []
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    print(asyncio.run(bytes_per_session(int(sys.argv[1]), shared="shared" in sys.argv[2:])))
