"""An instance is killed under load: how much later the next good answer of its sessions is.

Stand-ins that share a store, since what was sent to the dead one has to be read back from another.
"""

import asyncio
import statistics
import time
from collections.abc import Callable

from benchmarks.canned import STRINGS
from benchmarks.figures import Figure
from benchmarks.site import register
from kato_consul import AsyncKatoClient, AsyncSession, KatoConsulError
from kato_consul.testing import Fleet

SESSIONS = 12
KILLS = 2  # a round
PAUSE = 0.03
"""Seconds between a session's calls: three stand-ins and a client share the machine."""
BEFORE, AFTER = 0.6, 0.6
"""Seconds of load before and after."""


class Callers:
    """Sessions under load: the length of each call, and when it ended."""

    def __init__(self) -> None:
        self.killed_at = float("inf")
        self.over = False
        self.good: list[float] = []
        self.next: list[float] = []
        self.failed = 0
        self.why = ""

    async def call(self, session: AsyncSession, victim: str) -> None:
        """One caller. Of a session that lived on the victim the first call after counts apart."""
        lived_there: bool | None = None
        while not self.over:
            before = session.facts.instance == victim
            began = time.perf_counter()
            try:
                await session.observe(STRINGS)
            except KatoConsulError as error:
                self.failed += 1
                self.why = str(error)
                continue
            ended = time.perf_counter()
            if ended < self.killed_at:
                self.good.append(ended - began)
            elif lived_there is None:
                lived_there = before
                if lived_there:
                    self.next.append(ended - began)
            await asyncio.sleep(PAUSE)


async def _round(fleet: Fleet, victim: str) -> Callers:
    callers = Callers()
    async with AsyncKatoClient(fleet.settings) as kato:
        sessions = [kato.session(f"user-{time.monotonic_ns()}-{n}") for n in range(SESSIONS)]
        for one in sessions:
            await one.observe(STRINGS)
        async with asyncio.TaskGroup() as group:
            for one in sessions:
                group.create_task(callers.call(one, victim))
            await asyncio.sleep(BEFORE)
            fleet.instances[victim].kill()
            callers.killed_at = time.perf_counter()
            await asyncio.sleep(AFTER)
            callers.over = True
    return callers


def figures(rounds: int, say: Callable[[str], None]) -> list[Figure]:
    """The goal: p99 of the first answers after, over all rounds, less a good call's median."""
    good, after, failed = [], [], 0
    with Fleet(3) as fleet:
        for uid, one in fleet.instances.items():
            register(fleet.agent, "kato", uid, one.port)
        victims = list(fleet.instances)
        for number in range(KILLS * rounds):
            victim = victims[number % len(victims)]
            say(f"{victim} is killed")
            found = asyncio.run(_round(fleet, victim))
            good += found.good
            after += found.next
            failed += found.failed
            if found.why:
                say(f"a call failed: {found.why}")
            fleet.instances[victim].start()
    usual = statistics.median(good)
    later = [(one - usual) * 1_000 for one in after]
    p99 = sorted(later)[min(len(later) - 1, round(0.99 * len(later)))]
    return [
        Figure("killed until the next good answer, p99", "ms more", [p99], at_most=50),
        Figure("calls that failed meanwhile", "calls", [float(failed)], at_most=0),
        Figure("each session's next good answer", "ms more than a good call", later),
        Figure("a good call", "ms", [one * 1_000 for one in good]),
    ]
