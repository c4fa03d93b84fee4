"""Concurrency primitives of the async shell; `kato_consul._sync.runtime` has the same for threads.

The modules that are generated for the sync shell use only these names, so that the differences
between tasks and threads are in these two files.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Background = asyncio.Task[Any]
"""Work that runs in the background."""

ThreadLock = contextlib.nullcontext
"""No lock is needed: a task is interrupted only where it awaits."""


def in_each_process(owner: T, set_up: Callable[[T], None]) -> None:
    """Call ``set_up(owner)``, once: an async driver raises in any other process."""
    set_up(owner)


async def join(background: Background, within: float) -> bool:
    """Wait ``within`` seconds for background work to end; return whether it has."""
    done, _ = await asyncio.wait([background], timeout=within)
    return bool(done)


async def call_blocking(function: Callable[[], T]) -> T:
    """Call a function that blocks, without blocking the event loop."""
    return await asyncio.to_thread(function)


async def map_concurrently(function: Callable[[T], Awaitable[R]], items: Iterable[T]) -> list[R]:
    """Call ``function`` on all items at the same time; return the results in the items' order."""
    return await asyncio.gather(*map(function, items))
