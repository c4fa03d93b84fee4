"""Log events: structlog over the standard library's `logging`, under the name ``kato_consul``.

An application configures `logging` only. The message of a record is the
event's name with its fields as ``key=value``; the record also holds both, as ``event`` and
``fields`` (``extra``). Without any configuration only warnings and worse reach stderr, which is
Python's default.

structlog, which imports rich where that is installed, is imported with the first client
(`kato_consul._libraries`).
"""

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from kato_consul._tracing import current_trace_id

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger


class Logger:
    """A logger of events. It costs nothing until an event of an enabled level is logged.

    Two threads that log the first event at once may both build the structlog logger. The builds
    are equal, so either may be kept.
    """

    def __init__(self, name: str) -> None:
        """``name`` is the name of the `logging.Logger` that receives the records."""
        self._logging = logging.getLogger(name)
        self._bound: BoundLogger | None = None

    def info(self, event: str, **fields: Any) -> None:
        """Log an event at level INFO."""
        if self._logging.isEnabledFor(logging.INFO):
            self._structlog.info(event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log an event at level WARNING."""
        if self._logging.isEnabledFor(logging.WARNING):
            self._structlog.warning(event, **fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log an event at level ERROR, with the traceback of the exception being handled."""
        if self._logging.isEnabledFor(logging.ERROR):
            self._structlog.exception(event, **fields)

    @property
    def _structlog(self) -> "BoundLogger":
        if self._bound is None:
            import structlog

            self._bound = structlog.wrap_logger(
                self._logging,
                wrapper_class=structlog.stdlib.BoundLogger,
                processors=[structlog.processors.format_exc_info, _render],
            )
        return self._bound


def logger(name: str) -> Logger:
    """Return the logger ``kato_consul.<name>``."""
    return Logger(f"kato_consul.{name}")


def _render(
    _logger: logging.Logger, _method: str, event: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    """Return what the standard logger's method is called with (a structlog processor)."""
    name = event.pop("event")
    if trace_id := current_trace_id():
        event["trace_id"] = trace_id
    message = " ".join([name, *(f"{key}={value!r}" for key, value in event.items())])
    return (message,), {"extra": {"event": name, "fields": dict(event)}}
