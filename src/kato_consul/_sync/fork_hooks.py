"""What to do in a forked child, before anything else runs there.

A fork copies one thread and all memory: connections that two processes would write to, threads that
are not there, locks that nobody will ever release. So whoever owns such things is called in the
child at once, in the order they were made. (gunicorn forks its workers, after loading the
application with ``preload_app``.)
"""

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_called: list[tuple[weakref.ref[Any], Callable[[Any], None]]] = []


def reset_in_child(owner: T, begin_anew: Callable[[T], None]) -> None:
    """Call ``begin_anew(owner)`` in each forked child, while the owner lives."""
    _called[:] = [entry for entry in _called if entry[0]() is not None]
    _called.append((weakref.ref(owner), begin_anew))


def _call_all() -> None:
    for reference, begin_anew in tuple(_called):
        owner = reference()
        if owner is not None:
            begin_anew(owner)


os.register_at_fork(after_in_child=_call_all)
