"""The registrar's events as lines: in words for people, as JSON for machines."""

import json
import time
from typing import Any

from kato_consul._registration.events import EventSink, RegistrarEvent, describe_event
from kato_consul.cli.output import print_result, timed

US = "kato-consul"
"""Who an event is about that is about the command itself."""


def event_sink(*, as_json: bool) -> EventSink:
    """Tells events on standard output, one line each."""
    return _in_json if as_json else _in_words


def _in_words(event: RegistrarEvent, who: str, /, **fields: Any) -> None:
    print_result(timed(who, describe_event(event, fields)))


def _in_json(event: RegistrarEvent, who: str, /, **fields: Any) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    print_result(json.dumps({"time": moment, "event": event.value, "instance": who, **fields}))
