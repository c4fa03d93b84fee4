"""Fork hooks: reset objects in a forked child, before other code runs there.

A fork copies all memory but only one thread. The child shares connections with its parent, refers
to threads that do not exist, and may have locks that are never released. The objects that own these
are reset in the child, in the order of their creation. (gunicorn forks its workers after it has
loaded the application if ``preload_app`` is set.)
"""

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_hooks: list[tuple[weakref.ref[Any], Callable[[Any], None]]] = []


def reset_in_child(owner: T, reset: Callable[[T], None]) -> None:
    """Call ``reset(owner)`` in each forked child, as long as the owner exists."""
    _hooks[:] = [entry for entry in _hooks if entry[0]() is not None]
    _hooks.append((weakref.ref(owner), reset))


def _run_hooks() -> None:
    for reference, reset in tuple(_hooks):
        owner = reference()
        if owner is not None:
            reset(owner)


os.register_at_fork(after_in_child=_run_hooks)
