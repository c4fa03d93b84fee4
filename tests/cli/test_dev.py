"""`kato-consul dev`: a fleet while it runs, and nothing left afterwards."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import (
    ENDS_WITHIN,
    kato_consul,
    leftover_processes,
    line_with,
    marker_env,
    started,
)
from tests.testing.waiting import eventually


def test_fleet(tmp_path: Path) -> None:
    """One line of JSON has the addresses; all are registered and passing; SIGTERM stops all."""
    mark = marker_env()
    env = {**mark, "TMPDIR": str(tmp_path)}
    with started("dev", "--count", "2", "--json", env=env) as process:
        fleet = json.loads(line_with(process, "{"))
        assert set(fleet) == {"consul", "instances"}
        assert [one["id"] for one in fleet["instances"]] == ["kato-1", "kato-2"]
        assert all(set(one) == {"id", "address", "port", "pid"} for one in fleet["instances"])

        listed = kato_consul("instances", "--json", "--consul", fleet["consul"])
        found = json.loads(listed.stdout)["instances"]
        expected = [(one["id"], one["address"], one["port"]) for one in fleet["instances"]]
        assert [(one["id"], one["address"], one["port"]) for one in found] == expected
        assert all(one["used"] for one in found)

        # The fleet's own check, once a second, is no client.
        done = kato_consul("drain", "kato-2", "--consul", fleet["consul"])
        assert done.returncode == 0, done.stdout

        # An instance whose process ends is reported; the others stay.
        os.kill(fleet["instances"][0]["pid"], signal.SIGKILL)
        line_with(process, "kato-1: its process", stream=process.stderr)

        process.terminate()
        process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 0
    assert eventually(lambda: leftover_processes(mark) == []), leftover_processes(mark)
    assert list(tmp_path.iterdir()) == []
    host, _, port = fleet["consul"].partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_output_as_text() -> None:
    """Without --json it prints the addresses and example commands; Ctrl-C is a successful end."""
    mark = marker_env()
    with started("dev", "--count", "1", env=mark, stderr=subprocess.DEVNULL) as process:
        consul = line_with(process, "Consul  http://").split("http://")[1].strip()
        assert "kato-1  http://127.0.0.1:" in line_with(process, "kato-1")
        line_with(process, f"export CONSUL_HTTP_ADDR={consul}")
        line_with(process, "Ctrl-C stops everything")
        process.send_signal(signal.SIGINT)
        assert process.wait(ENDS_WITHIN) == 0
    assert eventually(lambda: leftover_processes(mark) == []), leftover_processes(mark)


@pytest.mark.parametrize("moment", ["starting a Consul agent", "(stand-in) 1 of 2"])
def test_interrupted_while_starting(tmp_path: Path, moment: str) -> None:
    """Interrupted while it starts, it leaves nothing."""
    mark = marker_env()
    env = {**mark, "TMPDIR": str(tmp_path)}
    with started("dev", "--count", "2", env=env) as process:
        line_with(process, moment, stream=process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 130
    assert eventually(lambda: leftover_processes(mark) == []), leftover_processes(mark)
    assert list(tmp_path.iterdir()) == []


def test_invalid_consul_program() -> None:
    """An invalid path of the Consul program is named, with advice."""
    done = kato_consul("demo", env={"CONSUL_BIN": "/nowhere/consul"})
    assert done.returncode == 1
    assert done.stderr.startswith("error: CONSUL_BIN names '/nowhere/consul', which does not exist")


@pytest.mark.parametrize(("command", "missing"), [("dev", "fastapi"), ("demo", "uvicorn")])
def test_missing_extra(command: str, missing: str) -> None:
    """Without the extra ``testing`` a message names what to install; exit 2, nothing starts."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
from kato_consul.cli import main
main()
"""
    done = kato_consul(command, program=program)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"needs {missing}: pip install 'kato-consul[testing]'" in done.stderr
