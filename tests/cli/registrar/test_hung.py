"""Hung and busy instances: what `exec`, `run` and `instances` do and print."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kato_consul import Health, RegistrarEvent
from kato_consul.cli.commands.exec import InstanceObserver, _run_until_stop_signal
from kato_consul.testing import ConsulAgent, StandInKato
from kato_consul.testing.ports import free_ports
from tests.cli.running import (
    ENDS_WITHIN,
    HTTP,
    Process,
    agent_env,
    healths,
    ids,
    kato_consul,
    leftover_processes,
    line_with,
    marker_env,
    started,
)
from tests.testing.waiting import eventually

HUNG = "hung: it accepts connections and does not answer"

BLOCKED_FOR_GOOD = """
import sys, time
from kato_consul.testing.kato import serve

create_app = serve.create_app

def create_app_that_can_block(options):
    app = create_app(options)

    @app.post("/block")
    async def block():
        while True:
            time.sleep(600)  # in the event loop

    return app

serve.create_app = create_app_that_can_block
serve.main()
"""
"""A stand-in with a request that blocks its event loop, as KATO's lock of a node does."""


class Instance:
    """An instance that does not run yet: its definition file and its command.

    The command waits as long as the file ``hold`` exists, and then serves.
    """

    def __init__(self, service: str, folder: Path) -> None:
        self.service = service
        self.port = free_ports(1)[0]
        self.hold = folder / "hold"
        self.file = folder / "kato.toml"
        self.file.write_text(
            f'[[service]]\nname = "{service}"\nid = "{service}-1"\naddress = "127.0.0.1"\n'
            f'port = {self.port}\nprobe = {{ interval = "200ms", timeout = "1s", slow = "30s" }}\n'
        )
        wait = f'while [ -e {self.hold} ]; do sleep 0.05; done; exec "$@"'
        serve = [sys.executable, "-c", BLOCKED_FOR_GOOD, "--host", "127.0.0.1"]
        serve += ["--port", str(self.port), "--store", str(folder / "store.sqlite")]
        self.command = ["sh", "-c", wait, "sh", *serve]

    def block(self) -> None:
        """Block its event loop for good."""
        with pytest.raises(httpx.ReadTimeout):
            HTTP.post(f"http://127.0.0.1:{self.port}/block", timeout=0.5)


@pytest.fixture
def child(service: str, tmp_path: Path) -> Instance:
    """An instance for `exec`."""
    return Instance(service, tmp_path)


def health(agent: ConsulAgent, service: str) -> str | None:
    """Return the status of the instance in the catalog."""
    return healths(agent, service).get(f"{service}-1")


def started_pid(process: Process) -> int:
    """Return the pid of the child that `exec` starts next."""
    return int(line_with(process, "as process").split()[-1])


def test_exec_restarts_a_child_whose_event_loop_is_blocked(
    agent: ConsulAgent, child: Instance
) -> None:
    """It is critical, is killed since it does not react to SIGTERM, and passes again."""
    flags = ["-f", str(child.file), "--restart-hung", "2s", "--stop", "500ms", "--drain", "0"]
    mark = marker_env()
    env = {**agent_env(agent), **mark}
    with started("exec", *flags, "--", *child.command, env=env) as process:
        first = started_pid(process)
        assert eventually(lambda: health(agent, child.service) == "passing")
        child.hold.touch()  # keeps the next one from starting
        child.block()
        line_with(process, f"{child.service}-1: critical: {HUNG}")
        line_with(process, "sh is hung: no answer for")
        second = started_pid(process)
        assert second != first
        assert not Path(f"/proc/{first}").exists()
        assert eventually(lambda: health(agent, child.service) == "critical")
        assert ids(agent, child.service) == {f"{child.service}-1"}  # registered all the time
        child.hold.unlink()
        line_with(process, f"{child.service}-1: passing")
        assert eventually(lambda: health(agent, child.service) == "passing")
        process.terminate()
        rest, _ = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode in (0, 143, 137)  # 137: the machine is too busy for such a --stop
    assert "is hung" not in rest
    assert ids(agent, child.service) == set()
    assert eventually(lambda: leftover_processes(mark) == [])


def test_exec_restarts_a_child_each_time_it_hangs(agent: ConsulAgent, child: Instance) -> None:
    """Each hang of an instance that works in between is ended, also of a stopped process."""
    flags = ["-f", str(child.file), "--restart-hung", "2s", "--stop", "500ms", "--drain", "0"]
    flags += ["--json"]
    with started("exec", *flags, "--", *child.command, env=agent_env(agent)) as process:
        pids = []
        for _ in range(2):
            pids.append(json.loads(line_with(process, '"child.started"'))["pid"])
            line_with(process, '"passing"')
            os.kill(pids[-1], signal.SIGSTOP)
            event = json.loads(line_with(process, '"child.hung"'))
            assert (event["command"], event["seconds"] >= 2) == ("sh", True)
        assert len(set(pids)) == 2
        line_with(process, '"child.started"')
        line_with(process, '"passing"')
        process.terminate()
        process.communicate(timeout=ENDS_WITHIN)
    assert ids(agent, child.service) == set()


def test_stop_signal_while_a_hung_child_is_stopped(agent: ConsulAgent, child: Instance) -> None:
    """SIGTERM ends `exec` in the middle of a restart: nothing is started again."""
    flags = ["-f", str(child.file), "--restart-hung", "2s", "--stop", "10m", "--drain", "0"]
    mark = marker_env()
    env = {**agent_env(agent), **mark}
    with started("exec", *flags, "--", *child.command, env=env) as process:
        pid = started_pid(process)
        line_with(process, f"{child.service}-1: passing")
        os.kill(pid, signal.SIGSTOP)
        line_with(process, "sh is hung")
        process.terminate()
        rest, _ = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 137
    assert "as process" not in rest
    assert ids(agent, child.service) == set()
    assert eventually(lambda: leftover_processes(mark) == [])


def test_child_that_cannot_be_started_again(
    agent: ConsulAgent, child: Instance, tmp_path: Path
) -> None:
    """A program that was removed meanwhile: the error and exit code of the start; deregistered."""
    program = tmp_path / "kato"
    program.write_text('#!/bin/sh\nexec "$@"\n')
    program.chmod(0o755)
    flags = ["-f", str(child.file), "--restart-hung", "2s", "--stop", "500ms"]
    command = [str(program), *child.command]
    with started("exec", *flags, "--", *command, env=agent_env(agent)) as process:
        pid = started_pid(process)
        assert eventually(lambda: health(agent, child.service) == "passing")
        program.unlink()
        os.kill(pid, signal.SIGSTOP)
        _, errors = process.communicate(timeout=ENDS_WITHIN)
    assert (process.returncode, f"program not found: {str(program)!r}" in errors) == (127, True)
    assert ids(agent, child.service) == set()


class FakeChild:
    """A child that runs until SIGTERM; ``polls`` is how often it is checked before that."""

    program, pid, returncode = "kato", 7, None

    def __init__(self, polls: int) -> None:
        self._signals: Iterator[int | None] = iter([*[None] * polls, signal.SIGTERM])
        self.restarts = 0
        self.waited: list[float | None] = []

    def next_signal(self, within: float | None = None) -> int | None:
        self.waited.append(within)
        return next(self._signals)

    def signal(self, number: int) -> None:
        self.returncode = 128 + number

    def restart(self) -> None:
        self.restarts += 1
        self.returncode = None


class FakeRegistrar:
    """A registrar whose instance has been hung for some seconds."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def hung(self) -> dict[str, float]:
        return {} if self._seconds is None else {"kato-1": self._seconds}


@pytest.mark.parametrize(
    ("limit", "hung_for", "healths_seen", "restarts"),
    [
        (60.0, 61.0, [Health.CRITICAL, Health.PASSING, Health.CRITICAL], 1),
        (60.0, 61.0, [Health.WARNING, Health.CRITICAL], 1),
        (60.0, 59.0, [Health.PASSING, Health.CRITICAL], 0),  # not long enough
        (60.0, None, [Health.PASSING, Health.CRITICAL], 0),  # critical for another reason
        (60.0, 61.0, [Health.CRITICAL], 0),  # it never worked: it may be starting
        (60.0, 61.0, [], 0),
        (None, 9e9, [Health.PASSING, Health.CRITICAL], 0),  # switched off
        (0.0, 9e9, [Health.PASSING, Health.CRITICAL], 0),
    ],
)
def test_when_a_child_is_restarted(
    limit: float | None, hung_for: float | None, healths_seen: list[Health], restarts: int
) -> None:
    """Only if it worked since its start, and has been hung for long enough; once for each start."""
    events: list[RegistrarEvent] = []
    observer = InstanceObserver(lambda event, subject, /, **fields: events.append(event))
    for status in healths_seen:
        observer(RegistrarEvent.HEALTH, "kato-1", status=status.value)
    child: Any = FakeChild(polls=3)
    registrar: Any = FakeRegistrar(hung_for)
    assert _run_until_stop_signal(child, registrar, observer, limit, 0.0)
    assert child.restarts == restarts
    expected = [RegistrarEvent.CHILD_HUNG, RegistrarEvent.CHILD_STARTED] * restarts
    assert events[len(healths_seen) :] == expected
    assert (None in child.waited) == (not limit)  # no polling when it is switched off


def test_value_of_the_option(child: Instance) -> None:
    """A value that is no duration is named before anything starts; exit 2."""
    flags = ["-f", str(child.file), "--restart-hung", "often"]
    done = kato_consul("exec", *flags, "--", "true")
    assert done.returncode == 2
    assert "--restart-hung: 'often' is not a duration" in done.stderr


def test_run_reports_a_hung_instance_once(
    agent: ConsulAgent, service: str, child: Instance, tmp_path: Path
) -> None:
    """`run` prints once that it is hung, and once that it passes again; as JSON with a field."""
    with (
        StandInKato(store=tmp_path / "own.sqlite", port=child.port) as kato,
        started("run", "-f", child.file, "--json", env=agent_env(agent)) as process,
    ):
        line_with(process, '"instance.info"')
        kato.freeze()
        event = json.loads(line_with(process, HUNG))
        assert event["event"] == "instance.health"
        assert (event["status"], event["hung"]) == ("critical", True)
        assert eventually(lambda: health(agent, service) == "critical")
        done = kato_consul("instances", "--service", service, env=agent_env(agent))
        assert HUNG in done.stdout
        kato.thaw()
        line = line_with(process, '"instance.health"')  # the next one
        assert (json.loads(line)["status"], json.loads(line)["hung"]) == ("passing", False)
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 0


def test_run_and_instances_name_the_issue_of_a_busy_machine(
    service: str, child: Instance, tmp_path: Path
) -> None:
    """A busy instance stays passing; `run` and `instances` print what KATO reports."""
    with (
        ConsulAgent(config={"check_update_interval": "100ms"}) as quick,
        StandInKato(store=tmp_path / "own.sqlite", port=child.port) as kato,
        started("run", "-f", child.file, env=agent_env(quick)) as process,
    ):
        kato.switch(issues=["High CPU usage"])
        busy = "its machine is busy: High CPU usage"
        line_with(process, f"{service}-1: passing: {busy}")

        def listed() -> str:
            return kato_consul("instances", "--service", service, env=agent_env(quick)).stdout

        assert eventually(lambda: busy in listed())
        assert "1 passing" in listed()
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 0
