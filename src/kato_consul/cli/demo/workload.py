"""The demo's workload: sessions that observe, learn and predict, and ledgers of the results.

All sessions share one node, as the visitors of a shop do. Each observes sequences of events, each
sequence twice. The first time it is learned. The second time, KATO predicts the rest of it after
two events; then the rest is observed, and the sequence is learned again. All events are unique, so
KATO's own counts show each event that was lost or applied twice.
"""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass

from kato_consul import AsyncKatoClient, AsyncSession, KatoConsulError, OutcomeUnknown
from kato_consul.cli.demo.ledger import Ledger

NODE = "shop"
"""The node of all sessions."""

EVENTS = 6
"""Events of a sequence."""
CUE = 2
"""Events after which KATO predicts the rest of the sequence."""

PAUSE = 0.03
"""Seconds before each observation, so that a small machine has time left for health checks."""


@dataclass(frozen=True)
class Tally:
    """Sums over all sessions: what the client did, and what KATO learned and predicted.

    ``asked`` counts the requests for predictions, ``predicted`` the correct predictions.
    """

    failovers: int
    settlements: int
    repairs: int
    moves: int
    learned: int
    doubtful: int
    prediction_requests: int
    predicted: int


class Workload:
    """Sessions that observe, learn and predict concurrently."""

    def __init__(self, client: AsyncKatoClient, sessions: int) -> None:
        self.client = client
        self.ledgers = [
            Ledger(client.session(f"shopper-{number}", node_id=NODE), NODE)
            for number in range(1, sessions + 1)
        ]
        self.observations = 0
        self.failed = 0
        self.prediction_requests = 0
        self.predicted = 0
        self.answered: Counter[str] = Counter()
        """Requests that each instance answered."""
        self.notes: list[str] = []
        self._recent: deque[tuple[float, str]] = deque(maxlen=10_000)

    async def run_for(self, seconds: float) -> None:
        """Observe sequences in every session until the time is over."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._run_session(ledger, until) for ledger in self.ledgers))

    def note(self, line: str) -> None:
        """Add a line, with the time, to the notes for the user."""
        self.notes.append(f"{time.strftime('%H:%M:%S')}  {line}")

    def sessions_by_instance(self) -> Counter[str]:
        """Count, for each instance, the sessions whose last request it answered."""
        last = (ledger.session.facts.instance for ledger in self.ledgers)
        return Counter(instance for instance in last if instance)

    def answered_in_last_second(self, instance: str) -> int:
        """Return how many requests the instance answered in the last second."""
        since = time.monotonic() - 1.0
        return sum(name == instance for when, name in self._recent if when >= since)

    def tally(self) -> Tally:
        """Return the sums over all sessions."""
        facts = [ledger.session.facts for ledger in self.ledgers]
        return Tally(
            failovers=sum(session.failovers for session in facts),
            settlements=sum(session.settlements for session in facts),
            repairs=sum(session.repairs for session in facts),
            moves=sum(session.moves for session in facts),
            learned=sum(ledger.learned.total() for ledger in self.ledgers),
            doubtful=sum(ledger.doubtful.total() for ledger in self.ledgers),
            prediction_requests=self.prediction_requests,
            predicted=self.predicted,
        )

    def summary(self) -> str:
        """Return the progress in one line."""
        tally = self.tally()
        return (
            f"{self.observations} observations, {self.failed} failed, {tally.failovers} failovers, "
            f"{tally.settlements} settled"
        )

    async def _run_session(self, ledger: Ledger, until: float) -> None:
        number = 0
        while time.monotonic() < until:
            number += 1
            sequence = [f"{ledger.session.key}-{number}-{event}" for event in range(1, EVENTS + 1)]
            try:
                await self._observe_twice(ledger, sequence)
            except KatoConsulError as error:
                self._record_failure(ledger, error)
        # The last events are not learned, so that the short-term memory is verified too.
        try:
            for event in ("one", "two", "three"):
                await self._observe(ledger, f"{ledger.session.key}-last-{event}")
        except KatoConsulError as error:
            self._record_failure(ledger, error)

    async def _observe_twice(self, ledger: Ledger, sequence: list[str]) -> None:
        for event in sequence:
            await self._observe(ledger, event)
        await self._learn(ledger)
        for event in sequence[:CUE]:
            await self._observe(ledger, event)
        predictions = await ledger.session.predictions()
        self._record_response(ledger.session)
        self.prediction_requests += 1
        future = [[event] for event in sequence[CUE:]]
        self.predicted += any(prediction["future"] == future for prediction in predictions)
        for event in sequence[CUE:]:
            await self._observe(ledger, event)
        await self._learn(ledger)

    async def _observe(self, ledger: Ledger, event: str) -> None:
        await asyncio.sleep(PAUSE)
        await ledger.session.observe([event])
        ledger.unlearned.append(event)
        self.observations += 1
        self._record_response(ledger.session)

    async def _learn(self, ledger: Ledger) -> None:
        sequence = tuple(ledger.unlearned)
        try:
            name = (await ledger.session.learn())["pattern_name"]
        except OutcomeUnknown:
            # Its instance was killed in the middle. To learn again could be to learn twice, so this
            # caller starts anew.
            await ledger.session.clear_stm()
            ledger.doubtful[sequence] += 1
            ledger.unlearned = []
            return
        ledger.unlearned = []
        ledger.learned[sequence] += 1
        if name:  # unknown if the response was lost
            ledger.pattern_names[sequence] = name
        self._record_response(ledger.session)

    def _record_failure(self, ledger: Ledger, error: KatoConsulError) -> None:
        self.failed += 1
        self.note(f"{ledger.session.key}: {error}")

    def _record_response(self, session: AsyncSession) -> None:
        instance = session.facts.instance
        if instance is not None:
            self.answered[instance] += 1
            self._recent.append((time.monotonic(), instance))
