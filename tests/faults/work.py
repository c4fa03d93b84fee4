"""Workload of the fault cells: parallel sessions on the sync or async client, with a history."""

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
from tests.event_loops import LoopFactory

SESSIONS = 8
DISTURBANCE_TIMEOUT = 60.0  # seconds for a disturbance to end


@dataclass(frozen=True)
class Pace:
    """The pace of a session: ``pause`` seconds between observations, and ``idle`` seconds before
    each twelfth, so that 8 % follow an idle time."""

    pause: float = 0.0
    idle: float = 0.0

    def before(self, number: int) -> float:
        """Return the seconds to wait before observation ``number``, counted from 1."""
        return self.idle if number % 12 == 0 and self.idle else self.pause


@dataclass
class Run:
    """One run: the number of observations, the history, and the state of the disturbance.

    Sessions continue until their share is observed and the disturbance has taken effect once
    (``took_effect``). ``over`` is set when the work has ended.
    """

    name: str
    observations: int
    pace: Pace
    url: str
    history: History = field(default_factory=History)
    over: threading.Event = field(default_factory=threading.Event)
    took_effect: threading.Event = field(default_factory=threading.Event)
    sessions: list[Session] | list[AsyncSession] = field(default_factory=list)
    snapshot: Callable[[], Snapshot | None] = lambda: None
    finals: dict[str, Final | None] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def keys(self) -> list[str]:
        """The keys of the sessions."""
        return [f"{self.name}-{number}" for number in range(1, SESSIONS + 1)]

    def goes_on(self, observed: int) -> bool:
        """Return whether a session with that many observations continues."""
        return observed * SESSIONS < self.observations or (
            not self.took_effect.is_set() and observed < STM_BOUND - 1
        )

    def wait_for(self, more: int, within: float = DISTURBANCE_TIMEOUT) -> bool:
        """Wait for ``more`` acknowledged observations; return False if the work ends first."""
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

    def report(self) -> HistoryReport:
        """Return the checker's report."""
        return check(self.history, self.finals)


Disturb = Callable[[Run], None]


@contextmanager
def disturbed(run: Run, disturb: Disturb | None) -> Iterator[None]:
    """Run the disturbance in a thread while the block runs; afterwards all faults have ended."""
    if disturb is None:
        run.took_effect.set()
        yield
        return
    errors: list[BaseException] = []

    def disturbing() -> None:
        try:
            disturb(run)
        except BaseException as error:  # noqa: BLE001  # raised again below
            errors.append(error)
        finally:
            run.took_effect.set()

    thread = threading.Thread(target=disturbing, name=f"disturbing {run.name}")
    thread.start()
    try:
        yield
    finally:
        run.over.set()
        thread.join(DISTURBANCE_TIMEOUT)
        assert not thread.is_alive(), "the disturbance did not end in time"
    if errors:
        raise errors[0]


def sync_run(settings: Settings, run: Run, disturb: Disturb | None) -> None:
    """Run all sessions on the sync client, with a thread each."""
    with KatoClient(settings) as kato, ThreadPoolExecutor(SESSIONS) as pool:
        run.snapshot = lambda: kato.discovery.current
        kato.discovery.snapshot()
        sessions = run.sessions = [kato.session(key) for key in run.keys]

        def observe_all(session: Session) -> None:
            count = 0
            while run.goes_on(count):
                count += 1
                time.sleep(run.pace.before(count))
                event = [f"{session.key} event {count:04}"]
                with run.history.call(session.key, event):
                    session.observe(event)

        started = time.monotonic()
        with disturbed(run, disturb):
            list(pool.map(observe_all, sessions))
        for session in sessions:  # no faults any more: the next call has to repair
            with run.history.call(session.key, ["the last"]):
                session.observe(["the last"])
            run.finals[session.key] = read_session(run.url, session.id)
        run.seconds = time.monotonic() - started


def async_run(
    settings: Settings,
    run: Run,
    disturb: Disturb | None,
    new_loop: LoopFactory = asyncio.new_event_loop,
) -> None:
    """Run all sessions on the async client, with a task each."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_async_run(settings, run, disturb))


async def _async_run(settings: Settings, run: Run, disturb: Disturb | None) -> None:
    async with AsyncKatoClient(settings) as kato:
        run.snapshot = lambda: kato.discovery.current
        await kato.discovery.snapshot()
        sessions = run.sessions = [kato.session(key) for key in run.keys]

        async def observe_all(session: AsyncSession) -> None:
            count = 0
            while run.goes_on(count):
                count += 1
                await asyncio.sleep(run.pace.before(count))
                event = [f"{session.key} event {count:04}"]
                with run.history.call(session.key, event):
                    await session.observe(event)

        started = time.monotonic()
        work = disturbed(run, disturb)
        work.__enter__()
        try:
            await asyncio.gather(*map(observe_all, sessions))
        finally:
            await asyncio.to_thread(work.__exit__, None, None, None)
        for session in sessions:
            with run.history.call(session.key, ["the last"]):
                await session.observe(["the last"])
            run.finals[session.key] = read_session(run.url, session.id)
        run.seconds = time.monotonic() - started
