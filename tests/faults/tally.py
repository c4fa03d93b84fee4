"""Table of the fault matrix: one line for each cell, printed at the end of a run.

A test attaches its figures to its report, because it may run in a worker of pytest-xdist.
"""

from dataclasses import dataclass

import pytest

PROPERTY = "tally"
"""Name of the figures among the properties of a report."""


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
    moves: int
    worst: float
    seconds: float

    @property
    def interrupted(self) -> int:
        """Attempts that failed because an instance ended: refused, or cut and settled."""
        return self.failovers + self.settlements


class TallyTable:
    """Pytest plugin that prints the table."""

    def __init__(self) -> None:
        self._tallies: list[Tally] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the figures of a test that ran."""
        if report.when == "call":
            self._tallies += [
                Tally(**figures)
                for name, figures in report.user_properties
                if name == PROPERTY and isinstance(figures, dict)
            ]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print one line for each cell: its observations, its result, and its figures."""
        if not self._tallies:
            return
        terminalreporter.section("fault matrix: failed/lost/twice/unknown")
        terminalreporter.line(
            f"{'cell':<28}{'observed':>9}{'result':>10}{'injected':>9}{'failovers':>11}{'settled':>9}"
            f"{'repaired':>10}{'reopened':>10}{'moved':>7}{'worst s':>9}{'in s':>7}"
        )
        for one in self._tallies:
            terminalreporter.line(
                f"{one.cell:<28}{one.observations:>9,}{one.result:>10}{one.injected:>9}"
                f"{one.failovers:>11}{one.settlements:>9}{one.repairs:>10}{one.reopened:>10}"
                f"{one.moves:>7}{one.worst:>9.2f}{one.seconds:>7.1f}"
            )
