"""The registrar's events as lines: in words for people, as JSON for machines."""

import json
import time
from typing import Any

from kato_consul._registration.events import Event, Say, words
from kato_consul.cli.output import tell, timed

US = "kato-consul"
"""Who an event is about that is about the command itself."""


def teller(*, as_json: bool) -> Say:
    """Tells events on standard output, one line each."""
    return _in_json if as_json else _in_words


def _in_words(event: Event, who: str, /, **fields: Any) -> None:
    tell(timed(who, words(event, fields)))


def _in_json(event: Event, who: str, /, **fields: Any) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    tell(json.dumps({"time": moment, "event": event.value, "instance": who, **fields}))
