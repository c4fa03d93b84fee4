"""Closing: what a call says whose client is closed while it acquires a session or hands it over."""

from collections.abc import Iterator
from contextlib import contextmanager

from kato_consul.errors import ClientClosed, KatoConsulError, OutcomeUnknown


def is_closed(error: KatoConsulError) -> bool:
    """Return whether a call has ended because its client was closed."""
    return isinstance(error, ClientClosed) or (isinstance(error, OutcomeUnknown) and error.closed)


@contextmanager
def closing(*, sent: bool) -> Iterator[None]:
    """Let a `ClientClosed` of the block say whether the call was sent to KATO. The request in hand
    was one to the directory."""
    try:
        yield
    except ClientClosed as closed:
        closed.sent = sent
        raise
