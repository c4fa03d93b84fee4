"""The registrar's commands in a terminal: Ctrl-C, a closed window, and a manual SIGHUP."""

import os
import signal
from pathlib import Path

from kato_consul.testing import ConsulAgent
from tests.cli.running import ENDS_WITHIN, HealthServer, agent_env, ids
from tests.cli.terminal import Terminal
from tests.testing.waiting import eventually


def test_ctrl_c_drains_before_the_child_ends(
    agent: ConsulAgent, service: str, instance: HealthServer
) -> None:
    """Ctrl-C reaches `exec`, not its child: it drains the instance first, then stops the child."""
    command = ["exec", *instance.flags(service), "--drain", "200ms", "--", "sleep", "600"]
    with Terminal(*command, env=agent_env(agent)) as terminal:
        assert eventually(lambda: f"{service}-1: registered" in terminal.shown)
        terminal.press("\x03")
        assert terminal.wait() == 143
    events = [line.partition(": ")[2] for line in terminal.lines if f"{service}-1: " in line]
    assert events[1] == "in maintenance mode: draining"
    assert events[-1] == "deregistered"
    assert ids(agent, service) == set()


def test_ctrl_c_ends_run_successfully(
    agent: ConsulAgent, service: str, instance: HealthServer
) -> None:
    """Ctrl-C ends `run` with exit code 0."""
    with Terminal("run", *instance.flags(service), env=agent_env(agent)) as terminal:
        assert eventually(lambda: "all registered" in terminal.shown)
        terminal.press("\x03")
        assert terminal.wait() == 0
    assert ids(agent, service) == set()


def test_closed_window_ends_run(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """A manual SIGHUP reloads the file, in a terminal too; that of a closed terminal ends `run`."""
    path = tmp_path / "kato.toml"
    path.write_text(instance.table(service, 1))
    with Terminal("run", "-f", path, env=agent_env(agent)) as terminal:
        assert eventually(lambda: "all registered" in terminal.shown)
        os.kill(terminal.process.pid, signal.SIGHUP)
        assert eventually(lambda: "instances in it: 1" in terminal.shown)
        terminal.close()
        assert terminal.process.wait(ENDS_WITHIN) == 0
    assert ids(agent, service) == set()
