"""Event loops: asyncio's own, and uvloop where it can be installed."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

EVENT_LOOPS = ("asyncio", "uvloop")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory(name: str) -> LoopFactory:
    """Return the factory of an event loop. Without uvloop, the test is skipped."""
    if name == "asyncio":
        return asyncio.new_event_loop
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed: it needs CPython")
    return cast("LoopFactory", uvloop.new_event_loop)
