"""Fork hooks: reset objects in a forked child, before anything else runs there.

A fork copies all memory and one thread: the child has connections that two processes would write
to, refers to threads that do not exist, and may have locks that are never released. The owners of
such things are reset in the child at once, in the order of their creation. (gunicorn forks its
workers, after loading the application if ``preload_app`` is set.)
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
