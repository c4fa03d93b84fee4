"""Turns of a session: one call at a time, in order; the wait for a turn is part of the deadline."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kato_consul import (
    AsyncKatoClient,
    ClientClosed,
    Discovery,
    DiscoveryTransport,
    Fault,
    KatoClient,
    RequestNotSent,
    Session,
    SessionBusy,
    Settings,
)
from kato_consul._kato import reads
from kato_consul._runtime_defaults import clock
from kato_consul.testing.kato import StandInKato
from tests.shells import silent_kato
from tests.shells.one_instance_consul import list_one_instance
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually


@pytest.fixture
def kato_server() -> Iterator[WireServer]:
    """A KATO that never responds to a call on a session."""
    with WireServer(silent_kato.open_sessions_only) as server:
        yield server


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings for one stand-in, without Consul."""
    with StandInKato(store=tmp_path_factory.mktemp("kato") / "store") as instance:
        yield Settings(kato_urls=(instance.url,))


def check_waited(errors: list[BaseException | object]) -> None:
    """Check the errors of calls that waited for the turn until their deadline."""
    for error in errors:
        assert isinstance(error, RequestNotSent)
        assert "one at a time" in str(error)
        assert error.sent is False


class Unnoticed(list[Any]):
    """A line that looks empty, as when a call joins it just after that was checked."""

    def __bool__(self) -> bool:
        return False


def test_a_hand_over_and_a_call_begin_at_the_same_moment(kato_server: WireServer) -> None:
    """The call takes longer than the hand-over waits: that has not run, and is tried again."""
    settings = Settings(kato_urls=(kato_server.origin,), deadline=60.0, attempt_timeout=60.0)
    with KatoClient(settings) as kato, ThreadPoolExecutor(1) as pool:
        session = kato.session("key")
        pool.submit(session.observe, ["x"])
        assert eventually(lambda: silent_kato.requests_in_flight(kato_server) == 1)
        turn = session._turn
        turn._line = Unnoticed(turn._line)
        assert turn.run_if_idle(reads.delete, clock() + 0.1) is False
        assert session.id is not None
        kato.close()


def test_waiting_for_the_turn_ends_at_the_deadline_on_threads(kato_server: WireServer) -> None:
    """Calls that wait for a call that hangs end at their own deadline, and never have a turn."""
    settings = Settings(kato_urls=(kato_server.origin,), deadline=60.0, attempt_timeout=60.0)
    with KatoClient(settings) as kato, ThreadPoolExecutor(5) as pool:
        session = kato.session("key")
        hung = pool.submit(session.observe, ["x"])
        assert eventually(lambda: silent_kato.requests_in_flight(kato_server) == 1)
        session._turn.factory._settings = Settings(deadline=0.2)
        waiting = [pool.submit(session.observe, ["x"]) for _ in range(4)]
        check_waited([call.exception(timeout=30.0) for call in waiting])
        assert silent_kato.requests_in_flight(kato_server) == 1
        assert not hung.done()
        assert len(session._turn._line) == 1
        kato.close()


@pytest.mark.anyio
async def test_waiting_for_the_turn_ends_at_the_deadline_on_tasks(kato_server: WireServer) -> None:
    """As on threads."""
    settings = Settings(kato_urls=(kato_server.origin,), deadline=60.0, attempt_timeout=60.0)
    async with AsyncKatoClient(settings) as kato:
        session = kato.session("key")
        hung = asyncio.create_task(session.observe(["x"]))
        assert await asyncio.to_thread(
            eventually, lambda: silent_kato.requests_in_flight(kato_server) == 1
        )
        session._turn.factory._settings = Settings(deadline=0.2)
        waiting = [session.observe(["x"]) for _ in range(4)]
        check_waited(await asyncio.gather(*waiting, return_exceptions=True))
        assert silent_kato.requests_in_flight(kato_server) == 1
        assert not hung.done()
        assert session._turn._calls == 1
        await kato.aclose()
        await asyncio.gather(hung, return_exceptions=True)


def test_turns_are_in_the_order_of_the_calls(stand_in: Settings) -> None:
    """Threads have their turns in the order of their calls."""
    with KatoClient(stand_in) as kato, ThreadPoolExecutor(9) as pool:
        session = kato.session("order")
        session.observe(["first"])
        holding = Holding(session)
        calls: list[Future[Any]] = [pool.submit(holding.hold)]
        for number in range(8):
            assert eventually(lambda: len(session._turn._line) == len(calls))
            calls.append(pool.submit(session.observe, [f"{number}"]))
        assert eventually(lambda: len(session._turn._line) == len(calls))
        holding.ends.set()
        for call in calls:
            call.result(timeout=30.0)
        assert session.stm() == [["first"], ["held"], *([f"{number}"] for number in range(8))]


class Holding:
    """Holds a session's turn until it is told to end."""

    def __init__(self, session: Session) -> None:
        self.ends = threading.Event()
        self._session = session

    def hold(self) -> None:
        """Take the turn for one observation, and keep it."""
        self._session.observe_sequence([["held"]], progress=lambda done, total: self._wait())

    def _wait(self) -> None:
        self.ends.wait(30.0)


def test_progress_callback_uses_its_session_on_threads(stand_in: Settings) -> None:
    """Between two chunks the session is answered; another thread still waits for its turn."""
    with KatoClient(stand_in) as kato, ThreadPoolExecutor(1) as pool:
        session = kato.session("in callback")
        seen: list[Any] = []
        waiting: list[Future[Any]] = []

        def progress(done: int, total: int) -> None:
            waiting.append(pool.submit(session.observe, ["of another thread"]))
            assert eventually(lambda: len(session._turn._line) == 2 or done == total)
            session.observe([f"after {done}"])
            seen.append(session.stm())

        session.observe_sequence([["a"], ["b"]], chunk=1, progress=progress)
        for call in waiting:
            call.result(timeout=30.0)
        assert seen == [[["a"], ["after 1"]], [["a"], ["after 1"], ["b"], ["after 2"]]]
        assert session.stm()[4:] == [["of another thread"]] * 2


def test_call_from_within_another_one_is_refused_on_threads(stand_in: Settings) -> None:
    """Anywhere else, such as in a log handler, the call would wait for itself."""
    with KatoClient(stand_in) as kato:
        session = kato.session("within")
        session.observe(["a"])
        answered = session._turn.factory.api.failover.clock
        errors: list[SessionBusy] = []

        def clock() -> float:
            try:
                session.stm()
            except SessionBusy as error:
                errors.append(error)
            return answered()

        session._turn.factory.api.failover.clock = clock
        session.observe(["b"])
        session._turn.factory.api.failover.clock = answered
        assert errors
        assert (errors[0].sent, errors[0].fault) == (False, Fault.CALLER)
        assert session.stm() == [["a"], ["b"]]


@pytest.mark.anyio
async def test_callback_that_uses_its_session_on_tasks(stand_in: Settings) -> None:
    """A ``progress`` callback may start a task that uses the session, which has the next turn; a
    call in the callback's own task is refused."""
    async with AsyncKatoClient(stand_in) as kato:
        session = kato.session("in async callback")
        tasks, errors = [], list[BaseException]()

        def progress(done: int, total: int) -> None:
            tasks.append(asyncio.create_task(session.stm()))
            call = session.stm()
            try:
                call.send(None)
            except SessionBusy as error:
                errors.append(error)
            finally:
                call.close()

        await session.observe_sequence([["a"], ["b"]], chunk=1, progress=progress)
        assert [await task for task in tasks] == [[["a"], ["b"]]] * 2
        assert len(errors) == 2


@pytest.mark.anyio
async def test_cancelled_wait_leaves_the_others_in_order(stand_in: Settings) -> None:
    """A task that is cancelled while it waits takes nothing with it."""
    async with AsyncKatoClient(stand_in) as kato:
        session = kato.session("cancelled wait")
        calls = [asyncio.create_task(session.observe([f"{number}"])) for number in range(6)]
        await asyncio.sleep(0)
        calls[2].cancel()
        calls[4].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert [call.cancelled() for call in calls] == [False, False, True, False, True, False]
        assert await session.stm() == [["0"], ["1"], ["3"], ["5"]]


@pytest.mark.anyio
async def test_session_on_a_second_event_loop_is_refused(kato_server: WireServer) -> None:
    """A session that is used on another event loop raises, although a call of its own has the
    turn."""
    settings = Settings(kato_urls=(kato_server.origin,), deadline=60.0, attempt_timeout=60.0)
    async with AsyncKatoClient(settings) as kato:
        session = kato.session("key")
        hung = asyncio.create_task(session.observe(["x"]))
        assert await asyncio.to_thread(
            eventually, lambda: silent_kato.requests_in_flight(kato_server) == 1
        )

        def use_elsewhere() -> None:
            asyncio.run(session.settle())

        with pytest.raises(ClientClosed, match="another event loop"):
            await asyncio.to_thread(use_elsewhere)
        await kato.aclose()
        await asyncio.gather(hung, return_exceptions=True)


def test_session_of_a_key_is_one_object_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that use a key for the first time, at the same time, get the same session."""
    kato = KatoClient(Settings(kato_urls=("http://127.0.0.1:9",)))
    all_in = threading.Barrier(8, timeout=30.0)
    new_state = kato._factory.new_state

    def new_state_together(*args: Any) -> Any:
        all_in.wait()
        return new_state(*args)

    monkeypatch.setattr(kato._factory, "new_state", new_state_together)
    with ThreadPoolExecutor(8) as pool:
        sessions = set(pool.map(kato.session, ["key"] * 8))
    assert len(sessions) == 1


@pytest.mark.parametrize("kind", ["discovery", "transport"])
def test_first_calls_of_several_threads_start_one_watch(kind: str, tmp_path: Path) -> None:
    """Threads that use an object for the first time, at the same time, start its watch once."""
    with WireServer(list_one_instance) as consul, ThreadPoolExecutor(8) as pool:
        settings = Settings(consul_addr=consul.origin, state_dir=tmp_path)
        all_in = threading.Barrier(8, timeout=30.0)
        made = Discovery(settings) if kind == "discovery" else DiscoveryTransport(settings)

        def first_call(_: int) -> None:
            all_in.wait()
            if isinstance(made, Discovery):
                made.snapshot()
            else:
                made.instances("kato")

        list(pool.map(first_call, range(8)))
        assert eventually(lambda: blocking_queries(consul) == 1)
        assert eventually(lambda: sum("watch" in one.name for one in threading.enumerate()) == 1)
        assert blocking_queries(consul) == 1
        made.close()


def blocking_queries(consul: WireServer) -> int:
    """Return the number of blocking queries that the agent has received."""
    return sum(b"index=" in one.split(b"\r\n")[0] for one in consul.requests)
