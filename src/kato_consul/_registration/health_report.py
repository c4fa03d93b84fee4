"""KATO's own health report: the body of ``/health``, or that there is none because it hangs.

KATO reports "degraded" while the CPU of its machine is busier than 80 %, and "unhealthy" while the
memory is fuller than 90 %. It works all the same, and all instances of a machine report it at the
same time. So these issues are load, not sickness. ``issues`` in the body tells them from others,
such as "High error rate" (measured on KATO 3.10.1).
"""

import re
from dataclasses import dataclass

from kato_consul._flow import Cause, Outcome, Reply
from kato_consul._registration.instance_info import field_of

LOAD_ISSUES = frozenset({"High CPU usage", "High memory usage"})
"""Issues that are the load of the machine (``get_health_status`` of KATO 3.10.1)."""

OTHER_ISSUE = "other"
"""Stands for an issue without a name, such as a value or an object: it is an issue all the same."""

HUNG_NOTE = "hung: it accepts connections and does not answer"

_MAX_LENGTH, _MAX_ISSUES = 40, 4

_ISSUE_NAME = re.compile(r"[^\d:(\[{/]*")
"""The words of an issue before any value: KATO appends the text of an exception to one of them. A
value may change with each request, or hold a secret."""


@dataclass(frozen=True)
class HealthReport:
    """What KATO reports about itself: its ``status``, and the names of its ``issues``."""

    status: str
    issues: tuple[str, ...] = ()

    @property
    def is_load(self) -> bool:
        """True if it is not healthy, and the load of its machine is the only issue."""
        return self.status != "healthy" and bool(self.issues) and {*self.issues} <= LOAD_ISSUES

    def __str__(self) -> str:
        return f"{self.status}: {', '.join(self.issues)}" if self.issues else self.status


def read_report(reply: Reply) -> HealthReport | None:
    """Return the report in a reply to ``/health``; None if it is not KATO's."""
    status, issues = field_of(reply, "status"), field_of(reply, "issues")
    if reply.status != 200 or not isinstance(status, str):
        return None
    names = [_issue_name(one) for one in issues] if isinstance(issues, list) else []
    return HealthReport(status[:_MAX_LENGTH], tuple(dict.fromkeys(names))[:_MAX_ISSUES])


def shows_hang(outcome: Outcome) -> bool:
    """Return whether a request was sent on an accepted connection and not answered in time."""
    return not isinstance(outcome, Reply) and outcome.cause is Cause.TIMEOUT and outcome.bytes_sent


def connect_timed_out(outcome: Outcome) -> bool:
    """Return whether there was neither a connection nor a refusal.

    The machine is gone, or the instance is hung and its queue of connections is full.
    """
    if isinstance(outcome, Reply) or outcome.bytes_sent:
        return False
    if outcome.cause is Cause.TIMEOUT:
        return True
    error: BaseException | None = outcome.error
    while error is not None and not isinstance(error, TimeoutError):
        error = error.__cause__ or error.__context__  # httpx chains the socket's to its own
    return error is not None


def _issue_name(issue: object) -> str:
    found = _ISSUE_NAME.match(issue) if isinstance(issue, str) else None
    name = " ".join(found[0].split()) if found else ""
    return name[:_MAX_LENGTH] or OTHER_ISSUE
