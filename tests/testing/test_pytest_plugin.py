"""The pytest plugin, in a pytest of its own: fixtures, light start, and without the extra."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGIN = "kato_consul._pytest_plugin"

TESTS = """
import httpx
import pytest
from kato_consul import Settings, KatoClient

def test_breaks_everything(kato_fleet, kato_client):
    session = kato_client.session("ann", node_id="shop")
    session.observe(["tent"]), session.observe(["stove"])
    assert session.learn()["pattern_name"]
    kato_fleet.instances["kato-1"].kill()
    kato_fleet.instances["kato-2"].freeze()
    kato_fleet.instances["kato-3"].switch(store="down")

def test_starts_with_a_fleet_as_new(kato_fleet, kato_client):
    assert len(kato_fleet.instances) == 3
    for instance in kato_fleet.instances.values():
        assert httpx.get(f"{instance.url}/sessions/x/exists", timeout=5).status_code == 200
        assert httpx.get(f"{instance.url}/status").json()["sessions"]["total_sessions"] == 0
    session = kato_client.session("bob", node_id="shop")
    session.observe(["tent"])
    assert session.predictions() == []

def test_kills_the_agent(kato_fleet, kato_client):
    session = kato_client.session("dan")
    session.observe(["tent"])
    kato_fleet.agent.kill()
    assert session.observe(["stove"])["time"] == 2

def test_freezes_the_agent_that_was_repaired(kato_fleet, kato_client):
    assert len(kato_client.instances()) == 3
    kato_fleet.agent.freeze()

def test_agent_was_thawed(kato_fleet, kato_client):
    assert len(kato_client.instances()) == 3

def test_environment_is_enough_for_a_program(kato_fleet, monkeypatch):
    for name, value in kato_fleet.environment.items():
        monkeypatch.setenv(name, value)
    with KatoClient() as kato:
        assert kato.session("cleo").observe(["a"])["time"] == 1
"""


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugin on the test files of a folder."""
    argv = ["-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-q", *options, str(folder)]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # it is there once, by its name
    return subprocess.run(
        [sys.executable, *argv],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def test_each_test_has_a_fleet_as_new(tmp_path: Path) -> None:
    """A test may break what it wants: the next one starts with everything repaired and empty."""
    (tmp_path / "test_it.py").write_text(TESTS)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


def test_missing_extra_is_told_to_those_who_use_a_fixture(tmp_path: Path) -> None:
    """Other tests run, also without the test tools."""
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['h11'] = None\n")
    (tmp_path / "test_it.py").write_text(
        "def test_other(): pass\n\ndef test_fleet(kato_fleet): pass\n"
    )
    done = run_pytest(tmp_path)
    assert "1 passed, 1 error" in done.stdout
    assert "pip install 'kato-consul[testing]'" in done.stdout


def test_plugin_is_light() -> None:
    """pytest imports it at each start, in every project."""
    code = (
        f"import pytest, sys; before = set(sys.modules); import {PLUGIN};"
        "print(sorted(name for name in set(sys.modules) - before if '.' not in name))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "['kato_consul']\n"


def test_plugin_is_an_entry_point() -> None:
    """pytest finds it by itself where kato-consul is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"kato_consul": PLUGIN}
