"""A forked child shares no connection with its parent, and no session: real forks, real fleet."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two instances behind an agent, registered."""
    with Fleet(2) as made, Registrar(made.definitions, made.settings):
        yield made


def told(fleet: Fleet, case: str, engine: str) -> dict[str, Any]:
    """What a process that forked tells."""
    # Forking with threads is what is tested; Python 3.12 and later warn of it.
    argv = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.shells.forked"]
    ran = subprocess.run(
        [*argv, case, engine, fleet.agent.http_addr], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert isinstance(said, dict)
    assert "crashed" not in said, said["crashed"]
    return said


def test_sync(fleet: Fleet, engine: str) -> None:
    """The child connects and watches anew, gets sessions of its own and not its parent's; closing
    it leaves nothing there, and the parent does not notice."""
    said = told(fleet, "sync_used", engine)
    assert "the parent process" in said["refused"]
    assert said["shared"] == []
    assert (said["time"], said["watched"], said["other"], said["left"]) == (1, True, True, 1)
    assert said["parent"] == [1, 2, 0]


def test_sync_busy(fleet: Fleet, engine: str) -> None:
    """Forked in the middle of other threads' calls, a child's own call works."""
    said = told(fleet, "sync_busy", engine)
    for child in said["children"]:
        assert child.get("time") == 1, child.get("crashed", child)


def test_async(fleet: Fleet, engine: str) -> None:
    """The child of a client in use is told to make its own; closing it does not disturb the
    parent's loop."""
    said = told(fleet, "async_used", engine)
    assert "one client for each process" in said["refused"]
    assert said["parent"] == [1, 2, 0]


def test_async_unused(fleet: Fleet, engine: str) -> None:
    """A client that was made, and not used, before the fork works in the child."""
    assert told(fleet, "async_unused", engine)["time"] == 1
