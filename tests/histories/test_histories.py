"""Four processes share ten sessions, under all disturbances at once: a short run of each directory
and shell. `python -m tests.histories.run` has long ones."""

from pathlib import Path

import pytest

from tests.histories.run import Plan, run
from tests.kato.seeding import SEED

OBSERVATIONS = 400


@pytest.mark.parametrize("shell", ["sync", "async"])
@pytest.mark.parametrize("directory", ["consul", "redis"])
def test_exactly_once_across_processes(directory: str, shell: str, tmp_path: Path) -> None:
    """Each acknowledged observation is in its session once, in order; what was denied is not."""
    result = run(Plan(directory, shell, SEED, OBSERVATIONS, pace=1.0, away=6.0), tmp_path)
    assert result.passed, str(result)
    assert result.report.observations >= OBSERVATIONS
    assert result.takeovers > 0
    assert result.handovers > 0
