"""Log events: structlog over the standard library's logging, under the name ``kato_consul``.

An application that embeds us decides with `logging` alone what is shown and how: an event's name
is the message, its fields follow as ``key=value`` and are in the record (``extra``). Without any
configuration only warnings and worse reach stderr, as Python's default has it.
"""

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog


def logger(room: str) -> structlog.stdlib.BoundLogger:
    """The logger of a room of this package, ``kato_consul.<room>``."""
    bound: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(f"kato_consul.{room}"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            _record,
        ],
    )
    return bound


def _record(
    _logger: logging.Logger, _method: str, event: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    name = event.pop("event")
    words = " ".join([name, *(f"{key}={value!r}" for key, value in event.items())])
    return (words,), {"extra": {"event": name, "fields": dict(event)}}
