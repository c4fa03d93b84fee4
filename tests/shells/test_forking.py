"""Forks: a forked child shares neither connections nor sessions with its parent."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kato_consul import KatoClient
from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two instances, registered with an agent."""
    with Fleet(2) as made, Registrar(made.definitions, made.settings):
        yield made


def run_case(fleet: Fleet, case: str, engine: str) -> dict[str, Any]:
    """Run a case of `forking_process` in a process of its own and return its result."""
    # Forking with threads is tested here; Python 3.12 and later warn of it.
    argv = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        "-m",
        "tests.shells.forking_process",
    ]
    ran = subprocess.run(
        [*argv, case, engine, fleet.agent.http_addr], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert isinstance(result, dict)
    assert "crashed" not in result, result["crashed"]
    return result


def test_sync_child_gets_own_connections_watch_and_sessions(fleet: Fleet, engine: str) -> None:
    """A child opens new connections, starts its own watch and gets its own sessions.

    Closing the client in the child leaves no thread there and does not affect the parent.
    """
    result = run_case(fleet, "sync_used", engine)
    assert "the parent process" in result["refusal"]
    assert result["shared_sockets"] == []
    assert result["time"] == 1
    assert result["watching"]
    assert result["has_own_session"]
    assert result["threads_left"] == 1
    assert result["parent"] == [1, 2, 0]


def test_fork_during_calls_of_other_threads_child_can_call(fleet: Fleet, engine: str) -> None:
    """A child that was forked during calls of other threads can make calls of its own."""
    result = run_case(fleet, "sync_busy", engine)
    for child in result["children"]:
        assert child.get("time") == 1, child.get("crashed", child)


def test_session_locked_at_the_fork_is_refused_in_child(fleet: Fleet, engine: str) -> None:
    """A session that a thread of the parent was using raises in the child, instead of waiting."""
    result = run_case(fleet, "sync_locked", engine)
    assert "the parent process" in result["refusal"]
    assert result["time"] == 3


def test_fork_during_first_call_child_can_call(fleet: Fleet, engine: str) -> None:
    """A child that was forked during another thread's first call can make calls of its own."""
    result = run_case(fleet, "sync_first_call", engine)
    assert (result["time"], result["parent"]) == (1, 2)


def test_async_session_in_use_at_the_fork_is_refused_in_child(fleet: Fleet, engine: str) -> None:
    """A session whose turn a task of the parent had raises in the child, instead of waiting."""
    result = run_case(fleet, "async_busy", engine)
    assert "one client for each process" in result["refusal"]
    assert result["time"] == 2


def test_async_client_in_use_is_refused_in_child(fleet: Fleet, engine: str) -> None:
    """In a child, an async client that is in use raises; closing it leaves the parent's loop
    undisturbed."""
    result = run_case(fleet, "async_used", engine)
    assert "one client for each process" in result["refusal"]
    assert result["parent"] == [1, 2, 0]


def test_async_client_not_used_before_fork_works_in_child(fleet: Fleet, engine: str) -> None:
    """An async client that was created but not used before the fork works in the child."""
    assert run_case(fleet, "async_unused", engine)["time"] == 1


def test_saved_snapshot_serves_the_first_call_of_a_child_while_consul_hangs(
    fleet: Fleet, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child's watch starts at its first call, without what the parent has read."""
    monkeypatch.setenv("KATO_CONSUL_STATE_DIR", str(tmp_path))
    with KatoClient(replace(fleet.settings, state_dir=tmp_path)) as kato:
        kato.observe("earlier process", ["x"])
        assert eventually(lambda: any(tmp_path.iterdir()))
    fleet.agent.freeze()
    try:
        assert run_case(fleet, "sync_unused", engine)["time"] == 1
    finally:
        fleet.agent.thaw()
