"""What the registrar tells of: events with stable names, the words for people beside each.

In code they are structlog events; on the command line a line each, in words or as JSON. The names
do not change; fields may be added.
"""

from enum import StrEnum
from typing import Any, Protocol


class Event(StrEnum):
    """The event's name. `WORDS` says it to people, with the event's fields filled in."""

    REGISTERED = "instance.registered"
    REGISTERED_AGAIN = "instance.registered_again"
    PUT_BACK = "instance.put_back"
    PASSING = "instance.passing"
    HEALTH = "instance.health"
    LEARNED = "instance.learned"
    UNKNOWN_VERSION = "instance.unknown_version"
    TAKEN_OUT_AGAIN = "instance.taken_out_again"
    NOT_TAKEN_OUT = "instance.not_taken_out"
    DEREGISTERED = "instance.deregistered"
    WAS_NOT_REGISTERED = "instance.was_not_registered"
    PRUNED = "instance.pruned"
    DRAINING = "instance.draining"
    DRAINED = "instance.drained"
    STILL_BUSY = "instance.still_busy"
    RESUMED = "instance.resumed"
    POOL_DIFFERS = "pool.differs"
    CONSUL_TROUBLE = "consul.trouble"
    CONSUL_BACK = "consul.back"
    FILE_READ = "file.read_again"
    FILE_REJECTED = "file.rejected"
    FILE_GONE = "file.gone"
    CHILD_STARTED = "child.started"
    CHILD_ENDED = "child.ended"


WORDS = {
    Event.REGISTERED: "registered",
    Event.REGISTERED_AGAIN: "registered again",
    Event.PUT_BACK: "{lost} the agent, registered again",
    Event.PASSING: "{status}",
    Event.HEALTH: "{status}: {note}",
    Event.LEARNED: "is KATO {version}, SERVICE_NAME {base_processor_id}",
    Event.UNKNOWN_VERSION: "did not tell its version ({why}); registered without",
    Event.TAKEN_OUT_AGAIN: "taken out again",
    Event.NOT_TAKEN_OUT: "could not be taken out again: {why}",
    Event.DEREGISTERED: "deregistered",
    Event.WAS_NOT_REGISTERED: "was not registered",
    Event.PRUNED: "left behind by an earlier run, taken out",
    Event.DRAINING: "in maintenance mode: {reason}",
    Event.DRAINED: "drained: {why}",
    Event.STILL_BUSY: "still busy when the drain time was over ({why})",
    Event.RESUMED: "out of maintenance mode",
    Event.POOL_DIFFERS: "differs from {other} in {what}: {mine} here, {theirs} there. They do not "
    "work as one pool",
    Event.CONSUL_TROUBLE: "{why}",
    Event.CONSUL_BACK: "answers again",
    Event.FILE_READ: "{file} was read again; instances in it: {count}",
    Event.FILE_REJECTED: "{why}\n  what was defined before stays",
    Event.FILE_GONE: "{file} is gone; what it defined before stays",
    Event.CHILD_STARTED: "started {command} as process {pid}",
    Event.CHILD_ENDED: "{command} ended by itself with {code}",
}

WARNINGS = frozenset(
    {
        Event.NOT_TAKEN_OUT,
        Event.UNKNOWN_VERSION,
        Event.STILL_BUSY,
        Event.POOL_DIFFERS,
        Event.CONSUL_TROUBLE,
        Event.FILE_REJECTED,
        Event.FILE_GONE,
    }
)
"""Events that somebody may have to act on."""


class Say(Protocol):
    """Told of an event: ``who`` is an instance's id, ``consul``, or ``kato-consul`` itself."""

    def __call__(self, event: Event, who: str, /, **fields: Any) -> None: ...


def words(event: Event, fields: dict[str, Any]) -> str:
    """The event, said to people."""
    return WORDS[event].format(**fields)
