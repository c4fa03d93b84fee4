"""Concurrency primitives of the sync shell; `kato_consul._async.runtime` has the same for tasks.

The modules that are generated from the async shell use only these names, so that the differences
between tasks and threads are in these two files.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from kato_consul._sync.fork_hooks import reset_in_child

T = TypeVar("T")
R = TypeVar("R")

Background = threading.Thread
"""Work that runs in the background."""

ThreadLock = threading.Lock

MAX_THREADS = 32
"""Threads of one `map_concurrently`, each of which waits for a response most of the time."""


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
    """Call ``function`` on all items at the same time; return the results in the items' order."""
    items = list(items)
    with ThreadPoolExecutor(max_workers=max(1, min(len(items), MAX_THREADS))) as pool:
        return list(pool.map(function, items))
