"""Findings of a diagnosis, and their severity."""

from dataclasses import dataclass
from enum import IntEnum

from kato_consul._doctor.facts import DeploymentFacts

MAX_SKEW = 5.0
"""Seconds that clocks may differ. A ``Date`` header has whole seconds, and a response takes a while
to arrive; TTLs are tens of seconds."""


class Severity(IntEnum):
    """How bad a finding is; a worse one is greater."""

    NOTE = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True)
class Finding:
    """One problem, or one thing worth knowing.

    ``name`` is stable, such as ``pool.version``.
    ``where`` is ``consul``, the service, or an instance's id.
    ``what`` describes it, and ``todo`` what to do about it; both are for people and may change.
    """

    name: str
    severity: Severity
    where: str
    what: str
    todo: str


@dataclass(frozen=True)
class Diagnosis:
    """The result of `kato_consul.diagnose`: the facts, and the findings, worst first."""

    facts: DeploymentFacts
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst finding; None when there is none."""
        return max((finding.severity for finding in self.findings), default=None)


def clock_skew(name: str, where: str, skew: float) -> Finding:
    """Return the finding for a clock that is off by ``skew`` seconds."""
    direction = "ahead of" if skew > 0 else "behind"
    return Finding(
        name,
        Severity.WARNING,
        where,
        f"its clock is {abs(skew):.0f} s {direction} this machine's",
        "synchronize the clocks of all machines with NTP",
    )
