"""`map_concurrently` of the sync shell: order, errors, interrupts; where no thread can start."""

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from kato_consul import Discovery, NoThread, Settings
from kato_consul._sync.runtime import MAX_THREADS, map_concurrently
from tests.testing.waiting import eventually


def threads() -> list[str]:
    """Return the names of the threads that a call has started."""
    return [one.name for one in threading.enumerate() if one.name == "kato-consul map"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """All threads end."""
    yield
    assert eventually(lambda: threads() == [])


def test_results_are_in_the_order_of_the_items() -> None:
    """Results keep the items' order; no item gives no result, and starts no thread."""
    assert map_concurrently(str, range(100)) == [str(number) for number in range(100)]
    assert map_concurrently(str, []) == []


def test_items_run_at_the_same_time() -> None:
    """As many items as there are threads run at the same time, and no more."""
    all_running = threading.Barrier(MAX_THREADS)
    assert map_concurrently(lambda item: (all_running.wait(60.0), item)[1], range(MAX_THREADS)) == [
        *range(MAX_THREADS)
    ]


def test_error_is_raised_without_waiting_for_the_others() -> None:
    """An exception is raised in the caller, while another item still waits."""
    may_end = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            raise ValueError("item 1")
        if item == 0 and threading.current_thread() is not caller:
            may_end.wait(60.0)
        return item

    caller = threading.current_thread()
    with pytest.raises(ValueError, match="item 1"):
        map_concurrently(work, range(3))
    may_end.set()


def test_interrupt_ends_the_call_at_once() -> None:
    """After Ctrl-C the call does not wait for the other items, and begins none of the rest."""
    caller, may_end = threading.current_thread(), threading.Event()
    begun: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work(item: int) -> None:
        begun.put(item)
        if threading.current_thread() is caller:
            raise KeyboardInterrupt
        may_end.wait(60.0)

    with pytest.raises(KeyboardInterrupt):
        map_concurrently(work, range(1_000))
    before = begun.qsize()
    may_end.set()
    assert eventually(lambda: threads() == [])
    assert begun.qsize() <= before + MAX_THREADS


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system starts no thread."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.usefixtures("no_threads")
def test_without_threads_the_caller_does_all() -> None:
    """If no thread can be started, the items run one after the other."""
    assert map_concurrently(str, range(3)) == ["0", "1", "2"]


@pytest.mark.usefixtures("no_threads")
def test_client_without_threads_raises_an_error_of_the_project() -> None:
    """A watch needs a thread. The error says what is missing, and the client can be closed."""
    with (
        pytest.raises(NoThread, match=r"kato-consul watch kato.*can't start new thread"),
        Discovery(Settings()),
    ):
        pass


def test_works_while_the_interpreter_ends() -> None:
    """At the end of the interpreter, threads may no longer start."""
    program = """
import atexit
from kato_consul._sync.runtime import map_concurrently
import concurrent.futures.thread
atexit.register(lambda: print(map_concurrently(str, range(3))))
class AtTheVeryEnd:
    def __del__(self, map_concurrently=map_concurrently):
        print(map_concurrently(str, range(3)), flush=True)
kept = AtTheVeryEnd()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.splitlines(), done.stderr) == (["['0', '1', '2']"] * 2, "")
