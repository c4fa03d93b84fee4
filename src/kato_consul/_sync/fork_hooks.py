"""Fork hooks: reset objects in a forked child, before other code runs there.

A fork copies all memory but only one thread. The child shares connections with its parent, refers
to threads that do not exist, and may have locks that are never released. The objects that own these
are reset in the child, in the order of their creation. (gunicorn forks its workers after it has
loaded the application if ``preload_app`` is set.)
"""

import itertools
import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_hooks: dict[int, tuple[weakref.ref[Any], Callable[[Any], None]]] = {}
"""In the order of creation. Each operation on it is atomic: threads create clients at the same
time, and the garbage collector removes them at any time."""

_numbers = itertools.count()


def reset_in_child(owner: T, reset: Callable[[T], None]) -> None:
    """Call ``reset(owner)`` in each forked child, as long as the owner exists."""
    number = next(_numbers)
    reference = weakref.ref(owner, lambda _: _hooks.pop(number, None))
    _hooks[number] = (reference, reset)


def _run_hooks() -> None:
    for reference, reset in tuple(_hooks.values()):
        owner = reference()
        if owner is not None:
            reset(owner)


os.register_at_fork(after_in_child=_run_hooks)
