"""What a finding is, and how bad one may be."""

from dataclasses import dataclass
from enum import IntEnum

SKEW = 5.0
"""Seconds. A ``Date`` header has whole ones, and an answer may be on its way for a while; TTLs are
counted in tens of seconds."""


class Severity(IntEnum):
    """How bad it is; a worse one is greater."""

    NOTE = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True)
class Finding:
    """One thing that is to be known: its stable name, where it is, what it is, and what to do."""

    name: str
    severity: Severity
    where: str
    what: str
    todo: str


def clock_is_off(name: str, where: str, skew: float) -> Finding:
    way = "ahead of" if skew > 0 else "behind"
    return Finding(
        name,
        Severity.WARNING,
        where,
        f"its clock is {abs(skew):.0f} s {way} ours",
        "let the machines' clocks be kept by NTP",
    )
