"""The stand-in KATO: what sessions that share a node do to each other.

tests/conformance tests that they do nothing if no predictions are processed, as in the real KATO.
"""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from kato_consul.testing.kato import StandInKato
from tests.testing.http import NO_REUSE, create_session, observe, read_stm
from tests.testing.waiting import eventually

SLOW = 0.02  # seconds that a prediction takes, so that observations overlap


@pytest.fixture
def kato(tmp_path: Path) -> Iterator[StandInKato]:
    """One instance. Killed: it may hang, and then does not end on SIGTERM."""
    with StandInKato(store=tmp_path / "store.sqlite", folder=tmp_path) as kato:
        yield kato
        kato.kill()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """A client that does not reuse connections."""
    with httpx.Client(timeout=10, limits=NO_REUSE) as client:
        yield client


def shopping_session(
    http: httpx.Client, kato: StandInKato, node: str = "shop", *, process_predictions: bool
) -> str:
    """Create a session that any event of the node's only pattern predicts the rest of."""
    # With a threshold of 0 the pattern is found however long the memory grows.
    config = {"process_predictions": process_predictions, "recall_threshold": 0.0}
    session = create_session(http, kato, node, **config)
    for strings in (["tent", "stove"], ["rope"]):
        observe(http, kato, session, *strings).raise_for_status()
    http.post(f"{kato.url}{session}/learn").raise_for_status()
    return session


@contextmanager
def observing(kato: StandInKato, *sessions: str) -> Iterator[None]:
    """Observe in all sessions at the same time, over and over, during the block."""
    ended = threading.Event()

    def observe_repeatedly(session: str) -> None:
        with httpx.Client(timeout=1.0, limits=NO_REUSE) as http:
            while not ended.is_set():
                try:
                    observe(http, kato, session, "tent", "stove").raise_for_status()
                except httpx.TimeoutException:
                    continue

    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(observe_repeatedly, session) for session in sessions]
        try:
            yield
        finally:
            ended.set()
        for call in calls:
            call.result()


def is_answering(http: httpx.Client, kato: StandInKato, timeout: float = 1.0) -> bool:
    """Return whether /health is answered within `timeout` seconds."""
    try:
        return http.get(f"{kato.url}/health", timeout=timeout).status_code == 200
    except httpx.TimeoutException:
        return False


@pytest.mark.parametrize("other_processes_predictions", [True, False])
def test_a_second_session_of_a_node_hangs_its_process(
    http: httpx.Client, kato: StandInKato, tmp_path: Path, other_processes_predictions: bool
) -> None:
    """Two sessions of a node observe, one of them with predictions: nothing is answered any more.

    Other instances are not affected. SIGTERM does not end the process, SIGKILL does, and started
    again, the instance answers.
    """
    one = shopping_session(http, kato, process_predictions=True)
    other = shopping_session(http, kato, process_predictions=other_processes_predictions)
    kato.switch(slow=SLOW)
    with observing(kato, one, other):
        assert eventually(lambda: not is_answering(http, kato))
    assert not is_answering(http, kato, timeout=3.0)  # although no call is being made any more
    os.kill(kato.pid, signal.SIGTERM)
    with StandInKato(store=tmp_path / "store.sqlite", folder=tmp_path) as second:
        assert observe(http, second, one, "tent").status_code == 200
    assert kato.running
    kato.kill()
    kato.switch(slow=0.0)
    kato.start()
    assert is_answering(http, kato)
    assert observe(http, kato, one, "tent").status_code == 200


def test_sessions_of_different_nodes_do_not_hang(http: httpx.Client, kato: StandInKato) -> None:
    """Two sessions of different nodes observe at the same time, both with predictions."""
    sessions = [
        shopping_session(http, kato, node, process_predictions=True) for node in ("shop", "fair")
    ]
    kato.switch(slow=SLOW)
    with observing(kato, *sessions):
        assert eventually(lambda: all(len(read_stm(http, kato, one)) > 20 for one in sessions))
    assert is_answering(http, kato)


def test_sessions_of_a_node_exchange_memories(http: httpx.Client, kato: StandInKato) -> None:
    """A session observes while another one asks for predictions, and has its memory afterwards."""
    one = shopping_session(http, kato, process_predictions=True)
    other = shopping_session(http, kato, process_predictions=False)
    others_memory = [["stove", "tent"], ["boots"], ["map"]]
    for event in others_memory:
        observe(http, kato, other, *event)
    kato.switch(slow=SLOW)
    with ThreadPoolExecutor() as threads:

        def is_exchanged() -> bool:
            call = threads.submit(observe, http, kato, one, "tent", "stove")
            while not call.done():
                http.get(f"{kato.url}{other}/predictions").raise_for_status()
            assert call.result().status_code == 200
            return read_stm(http, kato, one) == others_memory

        assert eventually(is_exchanged)
    assert read_stm(http, kato, other) == others_memory


def test_learning_empties_the_memory_of_another_session(
    http: httpx.Client, kato: StandInKato
) -> None:
    """A session observes while another one learns, and its memory is empty afterwards."""
    one = shopping_session(http, kato, process_predictions=True)
    other = shopping_session(http, kato, process_predictions=False)
    kato.switch(slow=SLOW)
    with ThreadPoolExecutor() as threads:

        def is_emptied() -> bool:
            observe(http, kato, other, "boots", "map").raise_for_status()
            call = threads.submit(observe, http, kato, one, "tent", "stove")
            http.post(f"{kato.url}{other}/learn").raise_for_status()
            assert call.result().status_code == 200
            return read_stm(http, kato, one) == []

        assert eventually(is_emptied)
