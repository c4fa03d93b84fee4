"""Fault matrix: its size, and its table at the end of a run."""

import os
from dataclasses import dataclass

import pytest

OBSERVATIONS = int(os.environ.get("KATO_CONSUL_FAULT_OBSERVATIONS") or 120)
"""Observations of each cell: enough for each fault to occur; 1,000 and more for published runs."""

EVERYTHING = bool(os.environ.get("KATO_CONSUL_FAULT_ENGINES"))
"""Run all cells on all engines, not only those whose result depends on the engine."""


@dataclass(frozen=True)
class Tally:
    """Figures of a cell. ``injected``: faults that the proxies injected."""

    cell: str
    observations: int
    result: str
    injected: int
    failovers: int
    settlements: int
    repairs: int
    reopened: int
    worst: float
    seconds: float

    @property
    def met(self) -> int:
        """Attempts that failed because an instance ended: refused, or cut and settled."""
        return self.failovers + self.settlements


TALLIES: list[Tally] = []


@pytest.fixture
def anyio_backend() -> str:
    """The async driver is for asyncio."""
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each cell: its observations, its result, and its figures."""
    if not TALLIES:
        return
    terminalreporter.section("fault matrix: failed/lost/twice/unknown")
    terminalreporter.line(
        f"{'cell':<28}{'observed':>9}{'result':>10}{'injected':>9}{'failovers':>11}{'settled':>9}"
        f"{'repaired':>10}{'reopened':>10}{'worst s':>9}{'in s':>7}"
    )
    for one in TALLIES:
        terminalreporter.line(
            f"{one.cell:<28}{one.observations:>9,}{one.result:>10}{one.injected:>9}"
            f"{one.failovers:>11}{one.settlements:>9}{one.repairs:>10}{one.reopened:>10}"
            f"{one.worst:>9.2f}{one.seconds:>7.1f}"
        )
