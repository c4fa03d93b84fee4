"""The registrar's commands in a terminal: Ctrl-C, a window that is closed, and SIGHUP by hand."""

import os
import signal
from pathlib import Path

from kato_consul.testing import ConsulAgent
from tests.cli.running import ENDS_WITHIN, Instance, at, ids
from tests.cli.terminal import Terminal
from tests.testing.waiting import eventually


def test_ctrl_c_at_a_parent(agent: ConsulAgent, service: str, instance: Instance) -> None:
    """Ctrl-C reaches `exec`, not its child: clients are sent away first, then the child ends."""
    command = ["exec", *instance.flags(service), "--drain", "200ms", "--", "sleep", "600"]
    with Terminal(*command, env=at(agent)) as terminal:
        assert eventually(lambda: f"{service}-1: registered" in terminal.shown)
        terminal.press("\x03")
        assert terminal.wait() == 143
    told = [line.partition(": ")[2] for line in terminal.lines if f"{service}-1: " in line]
    assert told[1] == "in maintenance mode: draining"
    assert told[-1] == "deregistered"
    assert ids(agent, service) == set()


def test_ctrl_c_at_a_guardian(agent: ConsulAgent, service: str, instance: Instance) -> None:
    """Ctrl-C is `run`'s good end."""
    with Terminal("run", *instance.flags(service), env=at(agent)) as terminal:
        assert eventually(lambda: "all registered" in terminal.shown)
        terminal.press("\x03")
        assert terminal.wait() == 0
    assert ids(agent, service) == set()


def test_a_window_that_is_closed(
    agent: ConsulAgent, service: str, instance: Instance, tmp_path: Path
) -> None:
    """SIGHUP by hand reads the file again, in a terminal too; the terminal's end is `run`'s."""
    path = tmp_path / "kato.toml"
    path.write_text(instance.table(service, 1))
    with Terminal("run", "-f", path, env=at(agent)) as terminal:
        assert eventually(lambda: "all registered" in terminal.shown)
        os.kill(terminal.process.pid, signal.SIGHUP)
        assert eventually(lambda: "instances in it: 1" in terminal.shown)
        terminal.close()
        assert terminal.process.wait(ENDS_WITHIN) == 0
    assert ids(agent, service) == set()
