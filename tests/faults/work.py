"""Work for the fault cells: sessions side by side, on either client, with a history of it all."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from kato_consul import AsyncKatoClient, AsyncSession, KatoClient, Session, SessionFacts, Settings
from kato_consul.models import Snapshot
from kato_consul.testing.history import Final, History, HistoryReport, check, read_session
from kato_consul.testing.kato.memory import STM_BOUND

SESSIONS = 8
PATIENCE = 60.0  # seconds for a disturbance to come to its end


@dataclass(frozen=True)
class Pace:
    """How a session works: ``pause`` seconds between observations, and ``idle`` seconds before
    each twelfth: 8 % meet whatever a pause does to a session."""

    pause: float = 0.0
    idle: float = 0.0

    def before(self, number: int) -> float:
        """Seconds to wait before observation ``number``, counted from 1."""
        return self.idle if number % 12 == 0 and self.idle else self.pause


@dataclass
class Run:
    """One run: what is to be told, what was, and where the disturbance stands.

    Sessions go on until their share is told and the disturbance has struck once (``struck``).
    """

    name: str
    observations: int
    pace: Pace
    url: str
    history: History = field(default_factory=History)
    over: threading.Event = field(default_factory=threading.Event)
    struck: threading.Event = field(default_factory=threading.Event)
    sessions: list[Session] | list[AsyncSession] = field(default_factory=list)
    snapshot: Callable[[], Snapshot | None] = lambda: None
    finals: dict[str, Final | None] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def keys(self) -> list[str]:
        """The keys of the sessions."""
        return [f"{self.name}-{number}" for number in range(1, SESSIONS + 1)]

    def goes_on(self, told: int) -> bool:
        """Has a session that told that many something left to tell?"""
        return told * SESSIONS < self.observations or (
            not self.struck.is_set() and told < STM_BOUND - 1
        )

    def wait_for(self, more: int, within: float = PATIENCE) -> bool:
        """Wait until ``more`` observations were acknowledged; False when the work is over first."""
        enough = self.history.acknowledged + more
        until = time.monotonic() + within
        while self.history.acknowledged < enough and not self.over.is_set():
            if time.monotonic() > until:
                raise TimeoutError(f"{self.name}: not {more} more observations in {within:g} s")
            self.over.wait(0.01)
        return not self.over.is_set()

    @property
    def facts(self) -> list[SessionFacts]:
        """The facts of all sessions."""
        return [one.facts for one in self.sessions]

    def verdict(self) -> HistoryReport:
        """The checker's."""
        return check(self.history, self.finals)


Disturb = Callable[[Run], None]


@contextmanager
def disturbed(run: Run, disturb: Disturb | None) -> Iterator[None]:
    """While the block runs a thread disturbs; it has healed everything when this is left."""
    if disturb is None:
        run.struck.set()
        yield
        return
    trouble: list[BaseException] = []

    def disturbing() -> None:
        try:
            disturb(run)
        except BaseException as error:  # noqa: BLE001  # raised again below
            trouble.append(error)
        finally:
            run.struck.set()

    thread = threading.Thread(target=disturbing, name=f"disturbing {run.name}")
    thread.start()
    try:
        yield
    finally:
        run.over.set()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the disturbance did not come to its end"
    if trouble:
        raise trouble[0]


def sync_run(settings: Settings, run: Run, disturb: Disturb | None) -> None:
    """All sessions on the sync client, one thread each."""
    with KatoClient(settings) as kato, ThreadPoolExecutor(SESSIONS) as pool:
        run.snapshot = lambda: kato.discovery.current
        kato.discovery.snapshot()
        sessions = run.sessions = [kato.session(key) for key in run.keys]

        def tell(session: Session) -> None:
            told = 0
            while run.goes_on(told):
                told += 1
                time.sleep(run.pace.before(told))
                event = [f"{session.key} event {told:04}"]
                with run.history.call(session.key, event):
                    session.observe(event)

        began = time.monotonic()
        with disturbed(run, disturb):
            list(pool.map(tell, sessions))
        for session in sessions:  # all is well again: the next call has to put right what is wrong
            with run.history.call(session.key, ["the last"]):
                session.observe(["the last"])
            run.finals[session.key] = read_session(run.url, session.id)
        run.seconds = time.monotonic() - began


def async_run(settings: Settings, run: Run, disturb: Disturb | None) -> None:
    """All sessions on the async client, one task each."""
    asyncio.run(_async_run(settings, run, disturb))


async def _async_run(settings: Settings, run: Run, disturb: Disturb | None) -> None:
    async with AsyncKatoClient(settings) as kato:
        run.snapshot = lambda: kato.discovery.current
        await kato.discovery.snapshot()
        sessions = run.sessions = [kato.session(key) for key in run.keys]

        async def tell(session: AsyncSession) -> None:
            told = 0
            while run.goes_on(told):
                told += 1
                await asyncio.sleep(run.pace.before(told))
                event = [f"{session.key} event {told:04}"]
                with run.history.call(session.key, event):
                    await session.observe(event)

        began = time.monotonic()
        work = disturbed(run, disturb)
        work.__enter__()
        try:
            await asyncio.gather(*map(tell, sessions))
        finally:
            await asyncio.to_thread(work.__exit__, None, None, None)
        for session in sessions:
            with run.history.call(session.key, ["the last"]):
                await session.observe(["the last"])
            run.finals[session.key] = read_session(run.url, session.id)
        run.seconds = time.monotonic() - began
