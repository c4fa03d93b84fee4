"""The example programs and the README's code, run as a reader would run them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kato_consul._definitions.loader import read_definitions
from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two instances, registered with an agent."""
    with Fleet(2) as fleet, Registrar(fleet.definitions, fleet.settings):
        yield fleet


def run(fleet: Fleet, *arguments: str) -> str:
    """Run a Python program with the agent in its environment; return its output."""
    environment = {**os.environ, "CONSUL_HTTP_ADDR": fleet.agent.http_addr}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_recommendations_come_from_other_customers_visits(fleet: Fleet) -> None:
    """A third customer is recommended the products of the first two."""
    output = run(fleet, str(ROOT / "examples" / "recommendations.py"))
    assert "product_rope" in output
    assert "product_boots" in output


def test_sensors_report_only_the_unexpected_reading(fleet: Fleet) -> None:
    """The reading that breaks the learned cycle is reported, and no other."""
    output = run(fleet, str(ROOT / "examples" / "sensors.py"))
    assert output == "sensor-7: unexpected reading: cold\n"


def test_example_definitions_are_valid() -> None:
    """The loader accepts all definitions of the example file."""
    ids = [definition.id for definition in read_definitions(ROOT / "examples" / "kato.toml")]
    assert ids == ["kato-1", "kato-2", "kato-3"]


def test_readme_program_runs_and_definition_is_valid(fleet: Fleet, tmp_path: Path) -> None:
    """The README's program runs unchanged, and the loader accepts its definition."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    complete = next(program for program in programs if "asyncio.run" in program)
    (tmp_path / "program.py").write_text(complete, encoding="utf-8")
    run(fleet, str(tmp_path / "program.py"))
    toml = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "kato.toml").write_text(toml[0], encoding="utf-8")
    assert read_definitions(tmp_path / "kato.toml")[0].id == "kato-1"
