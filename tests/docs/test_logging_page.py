"""docs/logging.md: all log events of the code, and its formatters with a real record."""

import ast
import json
import logging
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kato_consul._registration.events import DESCRIPTIONS, WARNINGS, RegistrarEvent
from tests.docs.pages import blocks

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "kato_consul"
PAGE = ROOT / "docs" / "logging.md"
CLIENTS, _, REGISTRARS = PAGE.read_text("utf-8").partition("## Events of registrars")
LEVELS = {"info": "INFO", "warning": "WARNING", "exception": "ERROR"}


@dataclass
class Event:
    """An event: its levels, loggers and fields."""

    levels: set[str] = field(default_factory=set)
    loggers: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


def events_of_code() -> dict[str, Event]:
    """Return the events of all calls ``log.info("name", field=…)`` in the package."""
    events: dict[str, Event] = defaultdict(Event)
    for path in PACKAGE.rglob("*.py"):
        if PACKAGE / "testing" in path.parents:
            continue
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        calls = [one for one in nodes if isinstance(one, ast.Call) and one.args]
        loggers = {name_of(one) for one in calls if ast.unparse(one.func) == "logger"}
        for call in calls:
            level = LEVELS.get(ast.unparse(call.func).removeprefix("log."))
            if level is None or not loggers or not isinstance(call.args[0], ast.Constant):
                continue
            event = events[name_of(call)]
            event.levels.add(level)
            event.loggers |= loggers
            event.fields |= {str(one.arg) for one in call.keywords}
    return dict(events)


def name_of(call: ast.Call) -> str:
    """Return the first argument."""
    assert isinstance(call.args[0], ast.Constant)
    return str(call.args[0].value)


def events_of_page() -> dict[str, Event]:
    """Return the events of the table of clients."""
    rows = re.findall(
        r"^\| `([\w.]+)` \| ([A-Z, ]+) \| (.*?) \| (.*?) \| .+ \|$", CLIENTS, re.MULTILINE
    )
    return {
        name: Event(set(levels.split(", ")), words(loggers), words(fields))
        for name, levels, loggers, fields in rows
    }


def words(cell: str) -> set[str]:
    """Return the words in backquotes."""
    return set(re.findall(r"`(\w+)`", cell))


def test_page_has_all_events_of_clients() -> None:
    """With their levels, loggers and fields. An event that is added needs a row."""
    assert events_of_page() == events_of_code()
    assert len(events_of_page()) > 10


def test_page_has_all_events_of_registrars() -> None:
    """With their levels and texts, in the order of their names."""
    expected = []
    for event in sorted(RegistrarEvent):
        text = re.sub(r"[{}]", "`", DESCRIPTIONS[event].splitlines()[0])
        expected.append((event.value, "WARNING" if event in WARNINGS else "INFO", text))
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \| (.+) \|$", REGISTRARS, re.MULTILINE)
    assert rows == expected


@pytest.mark.parametrize("number", [0, 1], ids=["standard library", "structlog"])
def test_formatters_write_event_and_fields_as_json(number: int) -> None:
    """Also the exception of a record that has one, whichever library logs it."""
    log = """
from kato_consul._logging import logger
logger("session").warning("session.replaced", key="user-123", replayed=3)
try:
    1 / 0
except ZeroDivisionError:
    logger("driver").exception("background.crashed", name="watch")
logging.getLogger("other").warning("plain %s", "text")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("other").exception("failed")
"""
    program = blocks(PAGE, "python")[number] + log
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    first, second, third, fourth = map(json.loads, done.stderr.splitlines())
    assert (first["event"], first["key"], first["replayed"]) == ("session.replaced", "user-123", 3)
    assert first["level"].upper() == "WARNING"
    assert first["logger"] == "kato_consul.session"
    assert second["event"] == "background.crashed"
    assert third["event"] == "plain text"
    assert fourth["event"] == "failed"
    for record in (second, fourth):
        assert record["exception"].startswith("Traceback (most recent call last)")
        assert record["exception"].endswith("ZeroDivisionError: division by zero")
        assert "exc_info" not in record
    assert logging.getLogger("kato_consul").handlers == []
