"""What the demo's sessions do, and what KATO acknowledged of it.

Each session tells stories, each story twice. The first time it is learned. The second time KATO is
asked, after two events, how it goes on; then it is told to its end and learned again. All events
are unique, so that whatever was lost or applied twice shows in KATO's own counts.
"""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass

from kato_consul._async.client import AsyncKatoClient
from kato_consul._async.session import AsyncSession
from kato_consul.cli.demo.ledger import Ledger
from kato_consul.errors import KatoConsulError

EVENTS = 6
"""Events of a story."""
CUE = 2
"""Events after which KATO is asked how the story goes on."""

PAUSE = 0.03
"""Seconds between a session's observations: as from people, and so that a small machine is not
kept too busy to tell in time who is well."""


@dataclass(frozen=True)
class Tally:
    """What the client had to do for it."""

    failovers: int
    settlements: int
    repairs: int
    learned: int
    asked: int
    predicted: int


class Work:
    """Sessions that observe, learn and predict, side by side."""

    def __init__(self, client: AsyncKatoClient, sessions: int) -> None:
        self.client = client
        self.told = [
            Ledger(client.session(f"shopper-{number}")) for number in range(1, sessions + 1)
        ]
        self.observations = 0
        self.failed = 0
        self.asked = 0
        self.predicted = 0
        self.answered: Counter[str] = Counter()
        self.notes: list[str] = []
        self._recent: deque[tuple[float, str]] = deque(maxlen=10_000)

    async def go_on_for(self, seconds: float) -> None:
        """Tell stories in every session until the time is over."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._tell_stories(told, until) for told in self.told))

    def note(self, line: str) -> None:
        """Something that a watcher should know."""
        self.notes.append(f"{time.strftime('%H:%M:%S')}  {line}")

    def homes(self) -> Counter[str]:
        """How many sessions each instance has: those that it answered last."""
        return Counter(one for told in self.told if (one := told.session.facts.instance))

    def lately(self, instance: str) -> int:
        """Calls that the instance answered in the last second."""
        since = time.monotonic() - 1.0
        return sum(one == instance for when, one in self._recent if when >= since)

    def tally(self) -> Tally:
        """The sums over all sessions."""
        facts = [told.session.facts for told in self.told]
        return Tally(
            failovers=sum(one.failovers for one in facts),
            settlements=sum(one.settlements for one in facts),
            repairs=sum(one.repairs for one in facts),
            learned=sum(told.learned.total() for told in self.told),
            asked=self.asked,
            predicted=self.predicted,
        )

    def line(self) -> str:
        """Where it stands, in one line."""
        tally = self.tally()
        return (
            f"{self.observations} observations, {self.failed} failed, {tally.failovers} sent "
            f"elsewhere, {tally.settlements} settled"
        )

    async def _tell_stories(self, told: Ledger, until: float) -> None:
        number = 0
        while time.monotonic() < until:
            number += 1
            story = [f"{told.session.key}-{number}-{event}" for event in range(1, EVENTS + 1)]
            try:
                await self._tell_twice(told, story)
            except KatoConsulError as error:
                self._fail(told, error)
        # A last one stays open: what is in the short-term memory is counted too.
        try:
            for event in ("one", "two", "three"):
                await self._observe(told, f"{told.session.key}-last-{event}")
        except KatoConsulError as error:
            self._fail(told, error)

    async def _tell_twice(self, told: Ledger, story: list[str]) -> None:
        for event in story:
            await self._observe(told, event)
        await self._learn(told)
        for event in story[:CUE]:
            await self._observe(told, event)
        predictions = await told.session.predictions()
        self._saw(told.session)
        self.asked += 1
        future = [[event] for event in story[CUE:]]
        self.predicted += any(one["future"] == future for one in predictions)
        for event in story[CUE:]:
            await self._observe(told, event)
        await self._learn(told)

    async def _observe(self, told: Ledger, event: str) -> None:
        await asyncio.sleep(PAUSE)
        await told.session.observe([event])
        told.open.append(event)
        self.observations += 1
        self._saw(told.session)

    async def _learn(self, told: Ledger) -> None:
        name = (await told.session.learn())["pattern_name"]
        story, told.open = tuple(told.open), []
        told.learned[story] += 1
        if name:  # not known when the answer was lost
            told.names[story] = name
        self._saw(told.session)

    def _fail(self, told: Ledger, error: KatoConsulError) -> None:
        self.failed += 1
        self.note(f"{told.session.key}: {error}")

    def _saw(self, session: AsyncSession) -> None:
        instance = session.facts.instance
        if instance is not None:
            self.answered[instance] += 1
            self._recent.append((time.monotonic(), instance))
