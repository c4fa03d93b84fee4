"""Trace ids: the ``X-Trace-ID`` that the requests of a call carry, and that its errors show.

KATO takes it over into its own log and returns it. It is in a context variable: the calls of one
thread or task have it, and no method needs a parameter for it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context

from kato_consul.errors import ConfigurationError, KatoConsulError

TRACE_HEADER = "x-trace-id"

MAX_LENGTH = 128

is_trace_id = re.compile(r"[!-~]{1,128}").fullmatch
"""Return whether a text can be a trace id: printable ASCII characters without spaces."""

_current: ContextVar[str] = ContextVar("kato_consul.trace_id", default="")

current_trace_id = _current.get
"""Return the trace id of the calls that are made here, or an empty text."""


@contextmanager
def trace_id(value: str | None) -> Iterator[None]:
    """Give all requests to KATO that are sent in the block the same ``X-Trace-ID``.

        with trace_id("order-4711"):
            session.observe(["checkout"])

    Check a value that comes from outside, such as a header of a request, before it is given here.

    The retries of a call have it, and the requests that settle it. Errors of these calls have it as
    ``trace_id``, and log events as the field ``trace_id``. It works in threads and in tasks; a task
    that is started in the block has it too, a thread has not. Blocks may be nested: the inner one
    counts.

    Args:
        value: 1 to 128 printable ASCII characters without spaces. None: no trace id.

    Raises:
        ConfigurationError: a header cannot carry the value.
    """
    if value is not None and not is_trace_id(value):
        raise ConfigurationError(
            f"a trace id has 1 to {MAX_LENGTH} printable ASCII characters without spaces, "
            f"unlike {value!r:.200}"
        )
    token = _current.set(value or "")
    try:
        yield
    finally:
        _current.reset(token)


def background_context() -> Context:
    """Return the context of the caller without its trace id: background work outlives the call in
    which it starts."""
    context = copy_context()
    context.run(_current.set, "")
    return context


def add_trace_id(error: KatoConsulError) -> None:
    """Let the error of a call that was made here have its trace id."""
    if value := _current.get():
        error.trace_id = value
