"""docs/architecture.md is a map: every path on it exists, and every room is on it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "kato_consul"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

QUOTED = re.compile(r"`((?:[\w]+/)*[\w]+(?:\.py|/))`")
"""A module or a folder in backquotes, relative to the package or to the repository."""


def test_every_path_exists() -> None:
    """A path on the map is a module or a folder of today."""
    found = set(QUOTED.findall(PAGE))
    assert len(found) > 80
    files = {path.name for path in (PACKAGE / "_sync").glob("*.py")}  # named without their folder
    missing = {
        path
        for path in found
        if not (PACKAGE / path).exists() and not (ROOT / path).exists() and path not in files
    }
    assert missing == set()


def test_every_room_has_a_row() -> None:
    """Each folder and each module of the package is in the table of rooms."""
    rows = PAGE.partition("## The rooms")[2].partition("## Where a rule is")[0]
    rooms = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in PACKAGE.iterdir()
        if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed")
    }
    assert {room for room in rooms if f"`{room}`" not in rows} == set()


def test_every_module_of_a_private_room_is_named() -> None:
    """A stranger finds each module that holds a rule from the map."""
    rooms = ("_balancing", "_consul", "_definitions", "_discovery", "_kato", "_registration")
    modules = {
        f"{room}/{path.name}"
        for room in (*rooms, "_requests", "_doctor", "_http", "_directory", "_owning")
        for path in (PACKAGE / room).glob("*.py")
        if path.name != "__init__.py"
    }
    assert {module for module in modules if f"`{module}`" not in PAGE} == set()
