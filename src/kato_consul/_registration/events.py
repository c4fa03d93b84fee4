"""Registrar events: stable names for programs, descriptions for people.

Code receives them through an `EventSink`; by default they are log events. On the command line each
is one line, as text or as JSON. The names do not change; fields may be added.
"""

from enum import StrEnum
from typing import Any, Protocol


class RegistrarEvent(StrEnum):
    """Name of an event. `DESCRIPTIONS` has the text for people and the event's fields.

    Members:
        REGISTERED: an instance that was not in the agent was registered.
        UPDATED: an instance that was in the agent already was registered with its definition.
        UNCHANGED: the same, and nothing that the agent returns has changed.
        RE_REGISTERED: an instance was missing from the agent or changed in it (``cause``), and was
            registered again.
        PASSING: Consul reports the instance as passing, or as in warning (``status``).
        HEALTH: the probe reports another health status (``status``), or another reason for it
            (``note``). ``hung``: the instance accepts connections and does not answer.
        INFO: the instance reported its ``version`` and its ``base_processor_id``.
        UNKNOWN_VERSION: the instance did not report them (``why``).
        CONTESTED: another registrar (``other``, by its mark in the metadata if it has one)
            registers the instance otherwise (``what``) each time that this one has registered it.
            Its registration is repaired only from time to time then.
        ROLLED_BACK: a registration of this run was removed, because the run failed.
        RESTORED: an instance that this run had changed was registered as it was before (``port``),
            because the run failed. ``lost`` is what the agent does not return, and what was
            registered in its place.
        ROLLBACK_FAILED: the same, but it could not be removed (``why``).
        DEREGISTERED: the instance was deregistered.
        LEFT: the registrar ended, and the instance stays registered, because another process
            of this machine keeps it registered.
        LOCKS_UNUSABLE: it cannot be known whether other processes of this machine register the
            same instances (``why``), so the instances are deregistered when this process ends.
        NOT_REGISTERED: the instance was to be deregistered, but the agent did not have it.
        NOT_ON_AGENT: the same, but it is not known whether another node has it (``why``).
        PRUNED: an instance that an earlier run left behind was deregistered.
        DRAINING: the instance is in maintenance mode (``reason``).
        DRAINED: clients stopped using the instance (``why``: how that was found out).
        STILL_BUSY: they did not within the drain time, or that is not known (``why``).
        RESUMED: the instance is no longer in maintenance mode.
        POOL_DIFFERS: the instance differs from ``other`` in the field ``what``: ``mine`` here,
            ``theirs`` there.
        CONSUL_ERROR: a request to Consul failed, or an instance cannot be registered because
            another service of the agent has the id of its check (``why``); reported again only when
            ``why`` changes.
        CONSUL_RECOVERED: Consul answers again.
        FILE_RELOADED: the definition ``file`` was read again, after a change or on SIGHUP; it
            defines ``count`` instances.
        FILE_REJECTED: the same, but it has mistakes (``why``).
        FILE_MISSING: the definition ``file`` does not exist any more.
        CHILD_STARTED: ``exec`` started ``command`` as process ``pid``.
        CHILD_HUNG: ``command`` has not answered for ``seconds``; ``exec`` stops it and starts it
            again.
        CHILD_ENDED: ``command`` exited by itself, with exit code ``code`` (128 + n for signal n).
    """

    REGISTERED = "instance.registered"
    UPDATED = "instance.updated"
    UNCHANGED = "instance.unchanged"
    RE_REGISTERED = "instance.re_registered"
    PASSING = "instance.passing"
    HEALTH = "instance.health"
    INFO = "instance.info"
    UNKNOWN_VERSION = "instance.unknown_version"
    CONTESTED = "instance.contested"
    ROLLED_BACK = "instance.rolled_back"
    RESTORED = "instance.restored"
    ROLLBACK_FAILED = "instance.rollback_failed"
    DEREGISTERED = "instance.deregistered"
    LEFT = "instance.left"
    NOT_REGISTERED = "instance.not_registered"
    NOT_ON_AGENT = "instance.not_on_agent"
    PRUNED = "instance.pruned"
    DRAINING = "instance.draining"
    DRAINED = "instance.drained"
    STILL_BUSY = "instance.still_busy"
    RESUMED = "instance.resumed"
    POOL_DIFFERS = "pool.differs"
    LOCKS_UNUSABLE = "locks.unusable"
    CONSUL_ERROR = "consul.error"
    CONSUL_RECOVERED = "consul.recovered"
    FILE_RELOADED = "file.reloaded"
    FILE_REJECTED = "file.rejected"
    FILE_MISSING = "file.missing"
    CHILD_STARTED = "child.started"
    CHILD_HUNG = "child.hung"
    CHILD_ENDED = "child.ended"


DESCRIPTIONS = {
    RegistrarEvent.REGISTERED: "registered",
    RegistrarEvent.UPDATED: "registration updated",
    RegistrarEvent.UNCHANGED: "registered already; nothing that the agent returns has changed",
    RegistrarEvent.RE_REGISTERED: "was {cause} the agent, registered again",
    RegistrarEvent.PASSING: "{status}",
    RegistrarEvent.HEALTH: "{status}: {note}",
    RegistrarEvent.INFO: "runs KATO {version}, SERVICE_NAME {base_processor_id}",
    RegistrarEvent.UNKNOWN_VERSION: "did not report its version ({why}); registered without it",
    RegistrarEvent.CONTESTED: "{other} registers it too, but otherwise: {what}. Each replaces "
    "the other's registration: give each instance an id of its own, or end one of the two",
    RegistrarEvent.ROLLED_BACK: "rolled back",
    RegistrarEvent.RESTORED: "put back as it was, with port {port}",
    RegistrarEvent.ROLLBACK_FAILED: "could not be rolled back: {why}",
    RegistrarEvent.DEREGISTERED: "deregistered",
    RegistrarEvent.LEFT: "stays registered: another process on this machine keeps it",
    RegistrarEvent.NOT_REGISTERED: "was not registered",
    RegistrarEvent.NOT_ON_AGENT: "was not registered with this agent. Whether another node has it "
    "is not known: {why}",
    RegistrarEvent.PRUNED: "left behind by an earlier run, deregistered",
    RegistrarEvent.DRAINING: "in maintenance mode: {reason}",
    RegistrarEvent.DRAINED: "drained: {why}",
    RegistrarEvent.STILL_BUSY: "still busy at the end of the drain time ({why})",
    RegistrarEvent.RESUMED: "out of maintenance mode",
    RegistrarEvent.POOL_DIFFERS: "differs from {other} in {what}: {mine} here, {theirs} there. "
    "They do not work as one pool",
    RegistrarEvent.LOCKS_UNUSABLE: "cannot see other processes that register the same instances "
    "({why}); deregisters them when it ends",
    RegistrarEvent.CONSUL_ERROR: "{why}",
    RegistrarEvent.CONSUL_RECOVERED: "answers again",
    RegistrarEvent.FILE_RELOADED: "{file} was reloaded; instances in it: {count}",
    RegistrarEvent.FILE_REJECTED: "{why}\n  the previous definitions stay in effect",
    RegistrarEvent.FILE_MISSING: "{file} is missing; its previous definitions stay in effect",
    RegistrarEvent.CHILD_STARTED: "started {command} as process {pid}",
    RegistrarEvent.CHILD_HUNG: "{command} is hung: no answer for {seconds} s; restarting it",
    RegistrarEvent.CHILD_ENDED: "{command} exited by itself with code {code}",
}

WARNINGS = frozenset(
    {
        RegistrarEvent.CONTESTED,
        RegistrarEvent.ROLLBACK_FAILED,
        RegistrarEvent.UNKNOWN_VERSION,
        RegistrarEvent.STILL_BUSY,
        RegistrarEvent.POOL_DIFFERS,
        RegistrarEvent.CONSUL_ERROR,
        RegistrarEvent.FILE_REJECTED,
        RegistrarEvent.FILE_MISSING,
        RegistrarEvent.CHILD_HUNG,
    }
)
"""Events that may need action by an operator."""


class EventSink(Protocol):
    """Callable that receives the registrar's events. Its exceptions are logged, not raised.

    Args:
        event: name of the event.
        subject: what the event is about: the id of an instance, ``consul``, or ``kato-consul`` for
            the command itself.
        fields: the event's own fields, as `RegistrarEvent` lists them. All can be written as JSON.
    """

    def __call__(self, event: RegistrarEvent, subject: str, /, **fields: Any) -> None: ...


def describe_event(event: RegistrarEvent, fields: dict[str, Any]) -> str:
    """Return the event's description for people, with its fields filled in.

    Args:
        event: name of the event.
        fields: the event's own fields, as `RegistrarEvent` lists them.
    """
    text = DESCRIPTIONS[event].format(**fields)
    return f"{text}; {lost}" if (lost := fields.get("lost")) else text
