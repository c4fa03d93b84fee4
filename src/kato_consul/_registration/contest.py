"""Contest: two registrars that register one id differently, and replace each other's registration.

An instance that was changed in the agent is registered again at once: an operator may have changed
it, or another tool. If it is changed again soon, another registrar does it. Then repairs become
rare, so that clients do not see the instance move each second.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kato_consul._consul.registration_payload import RegistrationPayload

REPAIRS_AT_ONCE = 2
"""Repairs in a row that are made at once."""

FIRST_PAUSE, LONGEST_PAUSE = 4.0, 30.0
"""Seconds from one repair to the next while the contest lasts; each pause doubles."""

FORGOTTEN_AFTER = 120.0
"""Seconds without a change by others after which a contest is over."""

_SHOWN = 60
"""Characters of a value that are shown."""


@dataclass
class Contest:
    """How often one instance was changed by others, and when it may be repaired again."""

    repairs: int = 0
    repaired_at: float = 0.0
    reported: str = ""

    def repair_allowed(self, now: float) -> bool:
        """Return whether the instance may be registered again now."""
        if now - self.repaired_at > FORGOTTEN_AFTER:
            self.repairs, self.reported = 0, ""
        return self.repairs < REPAIRS_AT_ONCE or now - self.repaired_at >= self.pause

    @property
    def pause(self) -> float:
        """Seconds from the last repair to the next."""
        doubled = max(0, min(self.repairs - REPAIRS_AT_ONCE, 10))
        return min(FIRST_PAUSE * 2.0**doubled, LONGEST_PAUSE)

    def record_repair(self, now: float) -> None:
        """Record that the instance was registered again."""
        self.repairs += 1
        self.repaired_at = now


def describe_differences(
    payload: RegistrationPayload,
    services: Mapping[str, Mapping[str, Any]],
    check_ids: Collection[str],
    added_meta: Collection[str],
) -> str:
    """Return how the agent's record of an instance differs from its definition here; "" if it does
    not. Keys of the metadata in ``added_meta`` are those that registrars add."""
    found = [*payload.differences(services, check_ids, ignored_meta=added_meta)]
    # Other checks follow from the rest, unless they are all that differs.
    shown = [one for one in found if one[0] != "checks"] or found
    return ", ".join(
        f"{name} {_shown(theirs)} there, {_shown(mine)} here" for name, mine, theirs in shown
    )


def _shown(value: object) -> str:
    text = "none" if value is None or value in ("", [], {}) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
