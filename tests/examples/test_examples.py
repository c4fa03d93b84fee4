"""The examples do what they say, as a reader would run them."""

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
    """Two instances behind an agent, registered."""
    with Fleet(2) as made, Registrar(made.definitions, made.settings):
        yield made


def run(fleet: Fleet, *arguments: str) -> str:
    """What a program prints that finds Consul by the environment."""
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


def test_recommendations(fleet: Fleet) -> None:
    """What two customers taught the shop, a third one is offered."""
    said = run(fleet, str(ROOT / "examples" / "recommendations.py"))
    assert "product_rope" in said
    assert "product_boots" in said


def test_sensors(fleet: Fleet) -> None:
    """The reading that breaks the learned cycle is pointed out, and only that one."""
    said = run(fleet, str(ROOT / "examples" / "sensors.py"))
    assert said == "look at sensor-7: it says cold\n"


def test_definition_file() -> None:
    """The example definitions are good ones."""
    ids = [one.id for one in read_definitions(ROOT / "examples" / "kato.toml")]
    assert ids == ["kato-1", "kato-2", "kato-3"]


def test_readme(fleet: Fleet, tmp_path: Path) -> None:
    """The README's program runs as it stands, and its definition is a good one."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    whole = next(program for program in programs if "asyncio.run" in program)
    (tmp_path / "ten_lines.py").write_text(whole, encoding="utf-8")
    run(fleet, str(tmp_path / "ten_lines.py"))
    toml = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "kato.toml").write_text(toml[0], encoding="utf-8")
    assert read_definitions(tmp_path / "kato.toml")[0].id == "kato-1"
