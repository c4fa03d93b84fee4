"""Waiting for a condition instead of sleeping for a fixed time."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], *, within: float = 60.0) -> bool:
    """Check every 10 ms until `condition` holds; return False if it does not `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
