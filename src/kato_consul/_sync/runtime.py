"""Concurrency primitives of the sync shell; `kato_consul._async.runtime` has the same for tasks.

The modules that are generated from the async shell use only these names, so that the differences
between tasks and threads are in these two files.
"""

import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from kato_consul._sync.fork_hooks import reset_in_child

T = TypeVar("T")
R = TypeVar("R")

Background = threading.Thread
"""Work that runs in the background."""

ThreadLock = threading.Lock

MAX_THREADS = 32
"""Threads of one `map_concurrently`, the caller's included. With fewer, a few instances that hang
would use up the time of those after them."""


def in_each_process(owner: T, set_up: Callable[[T], None]) -> None:
    """Call ``set_up(owner)`` now, and again in each forked child."""
    set_up(owner)
    reset_in_child(owner, set_up)


def join(background: Background, within: float) -> bool:
    """Wait ``within`` seconds for background work to end; return whether it has."""
    background.join(within)
    return not background.is_alive()


def call_blocking(function: Callable[[], T]) -> T:
    """Call a function that blocks."""
    return function()


def map_concurrently(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call ``function`` on all items at the same time; return the results in the items' order.

    The caller's own thread takes part, so it works also where no thread can be started. If the
    caller is interrupted, no further item is begun, and the calls in progress are not waited for.
    """
    waiting = deque(enumerate(items))
    total = len(waiting)
    ended: queue.SimpleQueue[tuple[int, R | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        with suppress(IndexError):  # none is waiting any more
            while True:
                index, item = waiting.popleft()
                try:
                    ended.put((index, function(item), None))
                except Exception as error:  # noqa: BLE001  # it is raised in the caller
                    ended.put((index, None, error))

    helpers = min(total, MAX_THREADS) - 1
    if sys.is_finalizing():  # a thread that is started then never runs
        helpers = 0
    try:
        with suppress(RuntimeError):  # the system allows no more threads
            for _ in range(helpers):
                # In the context of the caller, as a task is: it has the trace id.
                run = partial(copy_context().run, work)
                threading.Thread(target=run, name="kato-consul map", daemon=True).start()
        work()
        results: dict[int, Any] = {}
        while len(results) < total:
            index, result, failure = ended.get()
            if failure is not None:
                raise failure
            results[index] = result
    finally:
        waiting.clear()
    return [results[index] for index in range(total)]
