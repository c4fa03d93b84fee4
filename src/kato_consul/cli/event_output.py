"""The registrar's events on standard output: as text for people, as JSON for programs."""

import json
import time
from typing import Any

from kato_consul import EventSink, RegistrarEvent, describe_event
from kato_consul.cli.output import log_line, print_event


def event_sink(*, as_json: bool) -> EventSink:
    """Return a function that prints each event as one line."""
    return _print_json if as_json else _print_text


def _print_text(event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
    print_event(log_line(subject, describe_event(event, fields)))


def _print_json(event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    print_event(json.dumps({"time": now, "event": event.value, "instance": subject, **fields}))
