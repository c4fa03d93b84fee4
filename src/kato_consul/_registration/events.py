"""What the registrar tells of: events with stable names, the words for people beside each.

In code they are structlog events; on the command line a line each, in words or as JSON. The names
do not change; fields may be added.
"""

from enum import StrEnum
from typing import Any, Protocol


class RegistrarEvent(StrEnum):
    """The event's name. `WORDS` says it to people, with the event's fields filled in."""

    REGISTERED = "instance.registered"
    UPDATED = "instance.updated"
    RE_REGISTERED = "instance.re_registered"
    PASSING = "instance.passing"
    HEALTH = "instance.health"
    INFO = "instance.info"
    UNKNOWN_VERSION = "instance.unknown_version"
    ROLLED_BACK = "instance.rolled_back"
    ROLLBACK_FAILED = "instance.rollback_failed"
    DEREGISTERED = "instance.deregistered"
    NOT_REGISTERED = "instance.not_registered"
    PRUNED = "instance.pruned"
    DRAINING = "instance.draining"
    DRAINED = "instance.drained"
    STILL_BUSY = "instance.still_busy"
    RESUMED = "instance.resumed"
    POOL_DIFFERS = "pool.differs"
    CONSUL_ERROR = "consul.error"
    CONSUL_RECOVERED = "consul.recovered"
    FILE_RELOADED = "file.reloaded"
    FILE_REJECTED = "file.rejected"
    FILE_MISSING = "file.missing"
    CHILD_STARTED = "child.started"
    CHILD_ENDED = "child.ended"


DESCRIPTIONS = {
    RegistrarEvent.REGISTERED: "registered",
    RegistrarEvent.UPDATED: "registered again",
    RegistrarEvent.RE_REGISTERED: "{lost} the agent, registered again",
    RegistrarEvent.PASSING: "{status}",
    RegistrarEvent.HEALTH: "{status}: {note}",
    RegistrarEvent.INFO: "is KATO {version}, SERVICE_NAME {base_processor_id}",
    RegistrarEvent.UNKNOWN_VERSION: "did not tell its version ({why}); registered without",
    RegistrarEvent.ROLLED_BACK: "taken out again",
    RegistrarEvent.ROLLBACK_FAILED: "could not be taken out again: {why}",
    RegistrarEvent.DEREGISTERED: "deregistered",
    RegistrarEvent.NOT_REGISTERED: "was not registered",
    RegistrarEvent.PRUNED: "left behind by an earlier run, taken out",
    RegistrarEvent.DRAINING: "in maintenance mode: {reason}",
    RegistrarEvent.DRAINED: "drained: {why}",
    RegistrarEvent.STILL_BUSY: "still busy when the drain time was over ({why})",
    RegistrarEvent.RESUMED: "out of maintenance mode",
    RegistrarEvent.POOL_DIFFERS: "differs from {other} in {what}: {mine} here, {theirs} there. "
    "They do not work as one pool",
    RegistrarEvent.CONSUL_ERROR: "{why}",
    RegistrarEvent.CONSUL_RECOVERED: "answers again",
    RegistrarEvent.FILE_RELOADED: "{file} was read again; instances in it: {count}",
    RegistrarEvent.FILE_REJECTED: "{why}\n  what was defined before stays",
    RegistrarEvent.FILE_MISSING: "{file} is gone; what it defined before stays",
    RegistrarEvent.CHILD_STARTED: "started {command} as process {pid}",
    RegistrarEvent.CHILD_ENDED: "{command} ended by itself with {code}",
}

WARNINGS = frozenset(
    {
        RegistrarEvent.ROLLBACK_FAILED,
        RegistrarEvent.UNKNOWN_VERSION,
        RegistrarEvent.STILL_BUSY,
        RegistrarEvent.POOL_DIFFERS,
        RegistrarEvent.CONSUL_ERROR,
        RegistrarEvent.FILE_REJECTED,
        RegistrarEvent.FILE_MISSING,
    }
)
"""Events that somebody may have to act on."""


class EventSink(Protocol):
    """Told of an event: ``who`` is an instance's id, ``consul``, or ``kato-consul`` itself."""

    def __call__(self, event: RegistrarEvent, who: str, /, **fields: Any) -> None: ...


def describe_event(event: RegistrarEvent, fields: dict[str, Any]) -> str:
    """The event, said to people."""
    return DESCRIPTIONS[event].format(**fields)
