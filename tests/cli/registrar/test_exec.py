"""`kato-consul exec`: the parent process of an instance, from start to drain."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent
from kato_consul.testing.ports import free_ports
from tests.cli.running import (
    ENDS_WITHIN,
    agent_env,
    argv,
    environment,
    get_json,
    healths,
    ids,
    kato_consul,
    leftover_processes,
    line_with,
    marker_env,
    started,
    without_waiting,
)
from tests.testing.waiting import eventually


class ChildInstance:
    """A stand-in that ``exec`` starts: its flags, and its command."""

    def __init__(self, service: str, folder: Path) -> None:
        self.port = free_ports(1)[0]
        self.flags = ["--name", service, "--id", f"{service}-1", "--address", "127.0.0.1"]
        self.flags += ["--port", str(self.port), "--interval", "200ms"]
        self.command = [sys.executable, "-m", "kato_consul.testing.kato.serve"]
        self.command += ["--host", "127.0.0.1", "--port", str(self.port), "--name", service]
        self.command += ["--store", str(folder / "store.sqlite")]
        self.command += ["--switches", str(folder / "switches.json")]


@pytest.fixture
def instance(service: str, tmp_path: Path) -> ChildInstance:
    """An instance that does not run yet."""
    return ChildInstance(service, tmp_path)


def passing(agent: ConsulAgent, service: str) -> bool:
    """Whether Consul reports the instance as passing."""
    return healths(agent, service) == {f"{service}-1": "passing"}


def test_whole_life(agent: ConsulAgent, service: str, instance: ChildInstance) -> None:
    """Started, registered when ready; on SIGTERM drained, stopped, deregistered."""
    mark = marker_env()
    env = {**agent_env(agent), **mark}
    with started("exec", *instance.flags, "--", *instance.command, env=env) as process:
        line_with(process, f"{service}-1: registered")
        assert eventually(lambda: passing(agent, service))
        assert get_json(agent, f"/v1/agent/service/{service}-1")["Port"] == instance.port
        process.terminate()
        line_with(process, f"{service}-1: in maintenance mode")
        line_with(process, f"{service}-1: drained")
        line_with(process, f"{service}-1: deregistered")
        assert process.wait(ENDS_WITHIN) in (0, 143)
    assert ids(agent, service) == set()
    assert eventually(lambda: leftover_processes(mark) == []), leftover_processes(mark)


def test_killed_child(agent: ConsulAgent, service: str, instance: ChildInstance) -> None:
    """A child that is killed is deregistered within 100 ms (measured in
    `tests/faults/registrar_times.py`), and its exit code is returned."""
    with started("exec", *instance.flags, "--", *instance.command, env=agent_env(agent)) as process:
        started_as = line_with(process, "as process")
        line_with(process, f"{service}-1: registered")
        os.kill(int(started_as.split()[-1]), signal.SIGKILL)
        line_with(process, "exited by itself with code 137")
        line_with(process, f"{service}-1: deregistered")
        assert process.wait(ENDS_WITHIN) == 137
    assert ids(agent, service) == set()


def test_second_sigterm_skips_the_wait(
    agent: ConsulAgent, service: str, instance: ChildInstance
) -> None:
    """A second SIGTERM skips the wait for clients; the child is stopped all the same."""
    flags = [*instance.flags, "--drain", "10m"]
    with started("exec", *flags, "--", *instance.command, env=agent_env(agent)) as process:
        child = int(line_with(process, "as process").split()[-1])
        line_with(process, f"{service}-1: registered")
        os.kill(child, signal.SIGSTOP)  # so that it never reports itself idle
        process.terminate()
        line_with(process, "in maintenance mode")
        process.terminate()
        os.kill(child, signal.SIGCONT)
        _, errors = process.communicate(timeout=ENDS_WITHIN)
        assert process.returncode in (0, 143)
    assert "error:" not in errors, errors  # of exec; the child may print something
    assert "Traceback" not in errors, errors
    assert ids(agent, service) == set()


def test_child_that_ignores_sigterm(
    agent: ConsulAgent, service: str, instance: ChildInstance
) -> None:
    """A child that ignores SIGTERM is killed after --stop; exit 137."""
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    stubborn += "print('here', flush=True); time.sleep(600)"
    flags = [*instance.flags, "--drain", "0", "--stop", "200ms"]
    command = [sys.executable, "-c", stubborn]
    with started("exec", *flags, "--", *command, env=agent_env(agent)) as process:
        line_with(process, "here")
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 137
    assert ids(agent, service) == set()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT])
def test_other_signals_are_forwarded(
    agent: ConsulAgent, instance: ChildInstance, number: signal.Signals
) -> None:
    """Other signals are forwarded to the child; its exit code is returned."""
    child = f"""
import signal, sys, time
signal.signal({int(number)}, lambda *_: sys.exit(7))
print("here", flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", child]
    with started("exec", *instance.flags, "--", *command, env=agent_env(agent)) as process:
        line_with(process, "here")
        process.send_signal(number)
        assert process.wait(ENDS_WITHIN) == 7


def test_orphans_are_reaped(agent: ConsulAgent, instance: ChildInstance) -> None:
    """Orphans of the child are reaped while `exec` runs, and killed when it ends."""
    child = """
import os, sys, time
if os.fork() == 0:
    if os.fork() == 0:
        time.sleep(600 if sys.argv[1] == "stays" else 0.1)
    os._exit(0)
os.wait()
print("here", flush=True)
time.sleep(600)
"""
    for kind in ("goes", "stays"):
        mark = marker_env()
        command = [sys.executable, "-c", child, kind]
        flags = [*instance.flags, "--drain", "0"]
        with started("exec", *flags, "--", *command, env={**agent_env(agent), **mark}) as process:
            line_with(process, "here")
            count = 2 if kind == "goes" else 3
            assert eventually(lambda: len(leftover_processes(mark)) == count)  # noqa: B023
            assert eventually(lambda: zombies_of(process.pid) == [])
            process.terminate()
            assert process.wait(ENDS_WITHIN) == 143
        assert eventually(lambda: leftover_processes(mark) == [])  # noqa: B023


def zombies_of(pid: int) -> list[str]:
    """Children of a process that ended and were not waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if fields[0] == "Z" and int(fields[1]) == pid:
            found.append(stat.parent.name)
    return found


def test_consul_down(service: str, instance: ChildInstance) -> None:
    """While Consul is down the child runs, and is registered when Consul answers."""
    with ConsulAgent() as late:
        late.freeze()
        with started(
            "exec", *instance.flags, "--", *instance.command, env=agent_env(late)
        ) as process:
            line_with(process, "as process")
            line_with(process, "passing: KATO and its store answer")
            late.thaw()
            line_with(process, f"{service}-1: registered")
            assert eventually(lambda: passing(late, service))
            late.kill()
            process.terminate()
            assert process.wait(ENDS_WITHIN) in (0, 143)


def test_signal_before_registration(
    agent: ConsulAgent, service: str, instance: ChildInstance
) -> None:
    """Stopped before the instance was ready: there are no clients to wait for, and no error."""
    flags = [*instance.flags, "--drain", "10m"]
    with started("exec", *flags, "--", "sleep", "600", env=agent_env(agent)) as process:
        line_with(process, f"{service}-1: critical")
        process.terminate()
        _, errors = process.communicate(timeout=ENDS_WITHIN)
    assert (process.returncode, without_waiting(errors)) == (143, "")


def test_invalid_tls_files(instance: ChildInstance) -> None:
    """Invalid TLS settings are reported before the child starts: none stays behind."""
    mark = marker_env()
    env = {"CONSUL_HTTP_ADDR": "https://127.0.0.1:1", "CONSUL_CACERT": "/nowhere.pem", **mark}
    done = kato_consul("exec", *instance.flags, "--", "sleep", "600", env=env)
    assert done.returncode == 2
    assert "TLS files" in done.stderr
    assert leftover_processes(mark) == []


def test_output_as_json(agent: ConsulAgent, service: str, instance: ChildInstance) -> None:
    """With --json all output is events, those of the child included."""
    done = kato_consul(
        "exec", *instance.flags, "--json", "--", "sh", "-c", "exit 3", env=agent_env(agent)
    )
    assert (done.returncode, without_waiting(done.stderr)) == (3, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    names = [event["event"] for event in events if event["instance"] == "kato-consul"]
    assert names == ["child.started", "child.ended"]


PROCESS_1 = """
import os, sys
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)  # reparented to process 1 when its parent ends
    os._exit(0)
os.wait()
print("process", os.getpid(), "of", os.getppid(), flush=True)
sys.stdin.read()
import time; time.sleep(600)
"""


def test_as_process_1(agent: ConsulAgent, service: str, instance: ChildInstance) -> None:
    """In a PID namespace of its own, as in a container, it is process 1: it reaps, it forwards
    signals, and exits with the code of the child."""
    alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no permission to make a PID namespace")
    command = argv("exec", *instance.flags, "--drain", "0", "--", sys.executable, "-c", PROCESS_1)
    with subprocess.Popen(
        [*alone, *command],
        env=environment(agent_env(agent)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        line_with(process, "process 2 of 1")
        (inner,) = children_of(process.pid)
        assert eventually(lambda: zombies_of(inner) == [])
        os.kill(inner, signal.SIGTERM)
        assert process.wait(ENDS_WITHIN) == 143


def children_of(pid: int) -> list[int]:
    """The processes that a process started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(pid) for pid in path.read_text().split()]


@pytest.mark.parametrize(
    ("program", "code"), [("no-such-program", 127), ("/etc/passwd", 126), ("no-header", 126)]
)
def test_command_that_cannot_run(
    agent: ConsulAgent,
    service: str,
    instance: ChildInstance,
    program: str,
    code: int,
    tmp_path: Path,
) -> None:
    """A command that cannot be run is named, with a shell's exit code; nothing is registered."""
    if program == "no-header":
        path = tmp_path / program
        path.write_text("echo hello\n")
        path.chmod(0o755)
        program = str(path)
    done = kato_consul("exec", *instance.flags, "--", program, env=agent_env(agent))
    assert done.returncode == code
    assert repr(program) in done.stderr
    assert ids(agent, service) == set()


@pytest.mark.parametrize("separator", [[], ["--"]])
def test_program_that_is_not_kato(
    agent: ConsulAgent, service: str, tmp_path: Path, separator: list[str]
) -> None:
    """With a plain check it is registered at once. On SIGTERM its clients have a second, whatever
    --drain is. Its own options need no `--` before it."""
    port = free_ports(1)[0]
    flags = ["--name", service, "--id", f"{service}-1", "--address", "127.0.0.1"]
    flags += ["--port", str(port), "--check-http", f"http://127.0.0.1:{port}/"]
    flags += ["--interval", "200ms", "--drain", "10m", *separator]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with started(
        "exec", *flags, *command, env=agent_env(agent), cwd=tmp_path, stderr=subprocess.DEVNULL
    ) as process:
        assert eventually(lambda: passing(agent, service))
        process.terminate()
        line_with(process, f"{service}-1: drained: it does not list its requests as KATO does")
        assert process.wait(ENDS_WITHIN) == 143
    assert ids(agent, service) == set()


def test_program_that_never_passed(agent: ConsulAgent, service: str) -> None:
    """No client uses it, so nothing is waited for."""
    flags = ["--name", service, "--id", f"{service}-1", "--address", "127.0.0.1", "--port", "9"]
    flags += ["--check-tcp", "127.0.0.1:9", "--drain", "10m"]
    with started("exec", *flags, "sleep", "600", env=agent_env(agent)) as process:
        line_with(process, f"{service}-1: registered")
        process.terminate()
        line_with(process, f"{service}-1: drained: it was critical")
        assert process.wait(ENDS_WITHIN) == 143
    assert ids(agent, service) == set()


def test_options_after_the_command_are_its_own(service: str) -> None:
    """They are not taken for options of exec, which are missing then: exit 2."""
    done = kato_consul("exec", "--name", service, "true", "--port", "8000")
    assert done.returncode == 2
    assert "--port is missing" in done.stderr


def test_invalid_arguments(tmp_path: Path) -> None:
    """Several instances, or no command: exit 2."""
    path = tmp_path / "kato.toml"
    path.write_text('[[service]]\nname="a"\nport=1\n[[service]]\nname="b"\nport=2\n')
    done = kato_consul("exec", "-f", path, "--", "true")
    assert done.returncode == 2
    assert "one instance" in done.stderr
    assert kato_consul("exec", "--name", "a", "--port", "1").returncode == 2
