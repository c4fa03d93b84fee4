"""An instance is killed under load: how long its sessions wait for their next successful call.

The stand-in instances share a store, because a write that was sent to the killed instance has to
be read back from another one.
"""

import asyncio
import statistics
import time

from benchmarks.figures import Figure, Progress
from benchmarks.testbed.kato_responses import STRINGS
from benchmarks.testbed.processes import register
from kato_consul import AsyncKatoClient, AsyncSession, KatoConsulError
from kato_consul.testing import Fleet

SESSIONS = 12
KILLS = 2  # per round
PAUSE = 0.03
"""Seconds between a session's calls: three stand-ins and a client share the machine."""
BEFORE, AFTER = 0.6, 0.6
"""Seconds of load before and after the kill."""


class Workload:
    """Sessions under load: how long each call took, and when it returned."""

    def __init__(self) -> None:
        self.killed_at = float("inf")
        self.stopped = False
        self.before_kill: list[float] = []
        self.first_after_kill: list[float] = []
        self.failed = 0
        self.last_error = ""

    async def call_repeatedly(self, session: AsyncSession, victim: str) -> None:
        """Observe until stopped. If the session was on the victim, note its first call after."""
        was_on_victim: bool | None = None
        while not self.stopped:
            on_victim = session.facts.instance == victim
            started = time.perf_counter()
            try:
                await session.observe(STRINGS)
            except KatoConsulError as error:
                self.failed += 1
                self.last_error = str(error)
                continue
            returned = time.perf_counter()
            if returned < self.killed_at:
                self.before_kill.append(returned - started)
            elif was_on_victim is None:
                was_on_victim = on_victim
                if was_on_victim:
                    self.first_after_kill.append(returned - started)
            await asyncio.sleep(PAUSE)


async def _kill_under_load(fleet: Fleet, victim: str) -> Workload:
    workload = Workload()
    async with AsyncKatoClient(fleet.settings) as kato:
        sessions = [kato.session(f"user-{time.monotonic_ns()}-{n}") for n in range(SESSIONS)]
        for session in sessions:
            await session.observe(STRINGS)
        async with asyncio.TaskGroup() as group:
            for session in sessions:
                group.create_task(workload.call_repeatedly(session, victim))
            await asyncio.sleep(BEFORE)
            fleet.instances[victim].kill()
            workload.killed_at = time.perf_counter()
            await asyncio.sleep(AFTER)
            workload.stopped = True
    return workload


def figures(rounds: int, progress: Progress) -> list[Figure]:
    """Return the goals: p99 of the first calls after a kill, less the median of other calls."""
    before_kill, first_after_kill, failed = [], [], 0
    with Fleet(3) as fleet:
        for service_id, instance in fleet.instances.items():
            register(fleet.agent, "kato", service_id, instance.port)
        victims = list(fleet.instances)
        for number in range(KILLS * rounds):
            victim = victims[number % len(victims)]
            progress(f"killing {victim}")
            workload = asyncio.run(_kill_under_load(fleet, victim))
            before_kill += workload.before_kill
            first_after_kill += workload.first_after_kill
            failed += workload.failed
            if workload.last_error:
                progress(f"a call failed: {workload.last_error}")
            fleet.instances[victim].start()
    usual = statistics.median(before_kill)
    added = [(seconds - usual) * 1_000 for seconds in first_after_kill]
    p99 = sorted(added)[min(len(added) - 1, round(0.99 * len(added)))]
    return [
        Figure("kill to the next successful call, p99", "ms more", [p99], at_most=50),
        Figure("calls that failed meanwhile", "calls", [float(failed)], at_most=0),
        Figure("each session's next successful call", "ms more than usual", added),
        Figure("a call before the kill", "ms", [seconds * 1_000 for seconds in before_kill]),
    ]
