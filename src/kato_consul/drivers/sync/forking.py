"""What to do in a forked child, before anything else runs there.

A fork copies one thread and all memory: connections that two processes would write to, threads that
are not there, locks that nobody will ever release. So whoever owns such things is called in the
child at once, in the order they were made. (gunicorn forks its workers, after loading the
application with ``preload_app``.)
"""

import itertools
import os
import weakref
from collections.abc import Callable

_called: dict[int, "weakref.WeakMethod[Callable[[], None]]"] = {}
_numbers = itertools.count()


def in_child(method: Callable[[], None]) -> None:
    """Call this method of an object in each forked child, while the object lives."""
    number = next(_numbers)
    _called[number] = weakref.WeakMethod(method, lambda gone: _called.pop(number, None))


def _call_all() -> None:
    for reference in tuple(_called.values()):
        method = reference()
        if method is not None:
            method()


os.register_at_fork(after_in_child=_call_all)
