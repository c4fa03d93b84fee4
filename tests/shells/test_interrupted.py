"""Ctrl-C at every instruction of the sync client: it works afterwards, and nothing is left."""

import gc
import itertools
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from kato_consul import KatoClient, Settings
from kato_consul._flow import Flow
from kato_consul._kato.session_factory import SessionFactory
from kato_consul._kato.session_state import SessionState
from kato_consul._observable import SnapshotStore
from kato_consul._sync import session_turn
from kato_consul._sync.registrar import Registrar
from kato_consul._sync.session_turn import SessionTurn
from kato_consul.testing import Fleet
from tests.shells.interrupting import InterruptAt
from tests.shells.one_instance_consul import list_one_instance
from tests.shells.sockets import open_sockets
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually

TURN = "_sync/session_turn.py"
SHELL = "_sync"
PACKAGE = ""


pytestmark = [
    # A socket or a client that an interrupt has dropped is closed by its finalizer, which warns.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # A finalizer may be what is interrupted.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """One instance, registered with an agent."""
    with Fleet(1) as made, Registrar(made.definitions, made.settings):
        yield made


def turn_of(work: Callable[[], Any], deadline: float = 30.0) -> SessionTurn:
    """Return the turn of a session whose calls call ``work`` instead of running flows."""
    settings = Settings(deadline=deadline)
    store = SnapshotStore("kato")
    factory = SessionFactory(settings, store, lambda flow: work(), lambda: None)
    return SessionTurn(factory, SessionState("key", "node"))


def no_flow(*_: Any) -> Flow[Any]:
    """Stand in for a flow."""
    yield from ()


def interrupts(*places: str) -> Iterator[InterruptAt]:
    """Yield an interrupt at each instruction, until the block has no more of them."""
    for number in itertools.count(1):
        interrupt = InterruptAt(number, *places)
        yield interrupt
        if not interrupt.raised:
            assert number > 20  # the block has instructions
            return


def test_turn_is_free_after_an_interrupt() -> None:
    """After an interrupt at any instruction of a call, the next one has the turn, on any thread."""
    turn = turn_of(lambda: "done")
    with ThreadPoolExecutor(1) as pool:
        for interrupt in interrupts(TURN):
            with interrupt:
                turn.run(no_flow)
            assert turn.run(no_flow) == "done"
            assert pool.submit(turn.run, no_flow).result(timeout=30.0) == "done"
            assert turn._line == []


def test_interrupt_whose_traceback_is_kept() -> None:
    """The turn is free although the interrupt's traceback, and so the call's frames, are kept."""
    turn, kept = turn_of(lambda: "done"), list[KeyboardInterrupt]()
    for interrupt in interrupts(TURN):
        try:
            with interrupt:
                try:
                    turn.run(no_flow)
                except KeyboardInterrupt as error:
                    kept.append(error)
        finally:
            assert turn.run(no_flow) == "done"


@contextmanager
def turn_taken(turn: SessionTurn, ends: threading.Event) -> Iterator[None]:
    """Another thread has the turn until ``ends`` is set."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(turn.run, no_flow)
        assert eventually(lambda: len(turn._line) == 1)
        try:
            yield
        finally:
            ends.set()
            call.result(timeout=30.0)


def test_interrupt_while_waiting_for_the_turn() -> None:
    """An interrupt at any instruction of a call that waits for the turn frees its place."""
    for interrupt in interrupts(TURN):
        ends = threading.Event()
        turn = turn_of(partial(ends.wait, 30.0))
        with turn_taken(turn, ends):
            timer = threading.Timer(0.001, ends.set)
            timer.start()
            with interrupt:
                turn.run(no_flow)
            timer.join()
        assert turn.run(no_flow)
        assert turn._line == []


def test_waiting_call_goes_on_after_an_interrupt_of_the_call_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call that waits gets the turn, wherever the one before it is interrupted."""
    monkeypatch.setattr(session_turn, "LOOK_AGAIN_AFTER", 0.01)
    for interrupt in interrupts(TURN):
        turn = turn_of(lambda: "done")
        with ThreadPoolExecutor(1) as pool:
            waiting: list[Future[Any]] = []

            def work(
                turn: SessionTurn = turn,
                pool: ThreadPoolExecutor = pool,
                waiting: list[Future[Any]] = waiting,
            ) -> str:
                if not waiting:  # in the call that is interrupted
                    waiting.append(pool.submit(turn.run, no_flow))
                    assert eventually(lambda: len(turn._line) == 2)
                return "done"

            turn.factory.run = lambda flow: work()
            with interrupt:
                turn.run(no_flow)
            for call in waiting:
                assert call.result(timeout=30.0) == "done"


def test_observe_interrupted(fleet: Fleet, engine: str) -> None:
    """An observe that is interrupted at any instruction of the package is applied once or not at
    all; the next call works, and sees the same."""
    settings = replace(fleet.settings, engine=engine)
    expected: list[list[str]] = []
    with KatoClient(settings) as kato:
        session = kato.session(f"interrupted {engine}")
        for number, interrupt in enumerate(interrupts(PACKAGE)):
            with interrupt:
                session.observe([f"{number}"])
            stm = session.stm()
            assert stm in (expected, [*expected, [f"{number}"]])
            expected = stm
            if number % 200 == 199:  # KATO keeps a limited number
                session.clear_stm()
                expected = []
        assert session.observe(["last"])["time"] == len(expected) + 1
        assert session.facts.repairs == 0


def test_first_call_interrupted(engine: str) -> None:
    """Creating a client, its first call and closing it may be interrupted at any instruction: the
    next call works, and after `close` nothing is left."""
    with WireServer(list_one_instance) as consul:
        settings = Settings(consul_addr=consul.origin, engine=engine)
        gc.collect()
        sockets_before, threads_before = open_sockets(), threads_of_clients()
        for interrupt in interrupts(SHELL):
            kato = None
            with interrupt:
                kato = KatoClient(settings)
                kato.discovery.snapshot()
                kato.close()
            if kato is not None:
                if not kato.discovery._driver._closed:
                    assert kato.discovery.snapshot().usable
                kato.close()
            assert eventually(lambda: threads_of_clients() <= threads_before, within=30.0)
            assert eventually(lambda: open_sockets() <= sockets_before, within=30.0)


def threads_of_clients() -> set[threading.Thread]:
    """Return the threads that clients have started, and that still run."""
    return {one for one in threading.enumerate() if one.name.startswith("kato-consul")}


def test_real_signals(fleet: Fleet) -> None:
    """Signals at random moments of a tight loop of calls leave the session usable."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    chance = random.Random(1)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with KatoClient(fleet.settings) as kato:
            session = kato.session("real signals")
            session.observe(["a"])
            for _ in range(2_000):
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(3e-5, 3e-4))
                    while True:
                        session.settle()  # takes the turn, and sends nothing
                except KeyboardInterrupt:
                    pass
                assert session.settle() is None
            assert session.observe(["b"])["time"] == 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
