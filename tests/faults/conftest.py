"""The fault matrix: how much of it, and its figures at the end of a run."""

import os
from dataclasses import dataclass

import pytest

OBSERVATIONS = int(os.environ.get("KATO_CONSUL_FAULT_OBSERVATIONS") or 120)
"""Observations of each cell: enough to see each fault strike; 1,000 and more for the record."""

EVERYTHING = bool(os.environ.get("KATO_CONSUL_FAULT_ENGINES"))
"""Run every cell on every engine, not only those that depend on what the engine says."""


@dataclass(frozen=True)
class Tally:
    """What a cell was seen to do. ``strikes`` are those of the proxies."""

    cell: str
    observations: int
    verdict: str
    strikes: int
    failovers: int
    settlements: int
    repairs: int
    reopened: int
    worst: float
    seconds: float

    @property
    def met(self) -> int:
        """Attempts that an instance's end spoiled: refused at once, or cut and read back."""
        return self.failovers + self.settlements


TALLIES: list[Tally] = []


@pytest.fixture
def anyio_backend() -> str:
    """Our drivers are for asyncio."""
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each cell: what was told, what came of it, and what it took."""
    if not TALLIES:
        return
    terminalreporter.section("fault matrix: failed/lost/twice/unknown")
    terminalreporter.line(
        f"{'cell':<28}{'observed':>9}{'verdict':>10}{'strikes':>9}{'elsewhere':>11}{'settled':>9}"
        f"{'repaired':>10}{'reopened':>10}{'worst s':>9}{'in s':>7}"
    )
    for one in TALLIES:
        terminalreporter.line(
            f"{one.cell:<28}{one.observations:>9,}{one.verdict:>10}{one.strikes:>9}"
            f"{one.failovers:>11}{one.settlements:>9}{one.repairs:>10}{one.reopened:>10}"
            f"{one.worst:>9.2f}{one.seconds:>7.1f}"
        )
