"""`kato-consul register`: all instances are registered and passing, or none, with the reason."""

import signal
import subprocess
from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent
from tests.cli.running import (
    ENDS_WITHIN,
    HealthServer,
    agent_env,
    all_at_once,
    get_json,
    healths,
    ids,
    kato_consul,
    line_with,
    started,
    without_waiting,
)
from tests.testing.waiting import eventually


def test_file_with_two_instances(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """Each instance in a file is registered and passing when the command exits with 0."""
    path = tmp_path / "kato.toml"
    path.write_text(instance.table(service, 1) + instance.table(service, 2))
    done = kato_consul("register", "-f", path, env=agent_env(agent))
    assert done.returncode == 0, done.stderr
    assert healths(agent, service) == {f"{service}-1": "passing", f"{service}-2": "passing"}
    assert f"{service}-2: passing" in done.stdout


def test_flags(agent: ConsulAgent, service: str, instance: HealthServer) -> None:
    """One instance can be defined by flags alone; Consul receives all of them."""
    more = ["--tag", "blue", "--tag", "new", "--meta", "zone=a", "--consul", agent.http_addr]
    done = kato_consul("register", *instance.flags(service), *more)
    assert done.returncode == 0, done.stderr
    found = get_json(agent, f"/v1/agent/service/{service}-1")
    assert (found["Address"], found["Port"]) == ("127.0.0.1", instance.port)
    assert found["Tags"] == ["blue", "new"]
    assert found["Meta"] == {"zone": "a"}


def test_check_http(agent: ConsulAgent, service: str, instance: HealthServer) -> None:
    """The agent requests the URL of --check-http; the last registration counts."""
    url = f"http://127.0.0.1:{instance.port}/elsewhere"
    elsewhere = ["--check-http", url, "--wait", "0"]
    assert (
        kato_consul(
            "register", *instance.flags(service), *elsewhere, env=agent_env(agent)
        ).returncode
        == 0
    )
    assert eventually(
        lambda: "503" in get_json(agent, "/v1/agent/checks")[f"service:{service}-1"]["Output"]
    )
    assert kato_consul("register", *instance.flags(service), env=agent_env(agent)).returncode == 0
    assert healths(agent, service) == {f"{service}-1": "passing"}


def test_registering_again(agent: ConsulAgent, service: str, instance: HealthServer) -> None:
    """Registering again is harmless, and the output says so."""
    command = ["register", *instance.flags(service)]
    assert kato_consul(*command, env=agent_env(agent)).returncode == 0
    again = kato_consul(*command, env=agent_env(agent))
    assert again.returncode == 0
    assert f"{service}-1: registered already; nothing that the agent returns" in again.stdout
    changed = kato_consul(
        "register", *instance.flags(service), "--tag", "blue", env=agent_env(agent)
    )
    assert f"{service}-1: registration updated" in changed.stdout
    assert healths(agent, service) == {f"{service}-1": "passing"}


def test_waits_for_a_slow_instance(
    agent: ConsulAgent, service: str, unhealthy: HealthServer
) -> None:
    """An instance that is not passing yet is waited for."""
    with started("register", *unhealthy.flags(service), env=agent_env(agent)) as process:
        line_with(process, f"{service}-1: registered")
        assert eventually(lambda: healths(agent, service) == {f"{service}-1": "critical"})
        assert process.poll() is None
        unhealthy.healthy = True
        assert process.wait(ENDS_WITHIN) == 0


def test_wait_zero(agent: ConsulAgent, service: str, unhealthy: HealthServer) -> None:
    """With --wait 0 it registers and exits."""
    done = kato_consul("register", *unhealthy.flags(service), "--wait", "0", env=agent_env(agent))
    assert done.returncode == 0
    assert ids(agent, service) == {f"{service}-1"}


def test_instance_that_never_passes(
    agent: ConsulAgent, service: str, unhealthy: HealthServer
) -> None:
    """An instance that is not passing in time is named with its state and deregistered; exit 6."""
    done = kato_consul("register", *unhealthy.flags(service), "--wait", "1s", env=agent_env(agent))
    assert done.returncode == 6
    assert "not passing after 1 s" in done.stderr
    assert f"{service}-1: critical" in done.stderr
    assert ids(agent, service) == set()


def test_failed_run_keeps_earlier_registrations(
    agent: ConsulAgent, service: str, unhealthy: HealthServer, tmp_path: Path
) -> None:
    """A run that fails deregisters what it added, not what was registered before."""
    assert (
        kato_consul(
            "register", *unhealthy.flags(service), "--wait", "0", env=agent_env(agent)
        ).returncode
        == 0
    )
    path = tmp_path / "kato.toml"
    path.write_text(unhealthy.table(service, 1) + unhealthy.table(service, 2))
    assert (
        kato_consul("register", "-f", path, "--wait", "500ms", env=agent_env(agent)).returncode == 6
    )
    assert ids(agent, service) == {f"{service}-1"}


def test_rejected_definition(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """When Consul rejects the second of three, none stays registered; the reason is printed."""
    path = tmp_path / "kato.toml"
    refused = instance.table(service, 2, more='meta = { "consul-x" = "x" }\n')
    path.write_text(instance.table(service, 1) + refused + instance.table(service, 3))
    done = kato_consul("register", "-f", path, env=agent_env(agent))
    assert done.returncode == 1
    assert f"{service}-2" in done.stderr
    assert "consul-" in done.stderr
    assert ids(agent, service) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(
    agent: ConsulAgent, service: str, unhealthy: HealthServer, number: signal.Signals
) -> None:
    """Interrupted while it waits, by Ctrl-C or a signal, it leaves no instance; exit 130."""
    with started("register", *unhealthy.flags(service), env=agent_env(agent)) as process:
        line_with(process, f"{service}-1: registered")
        process.send_signal(number)
        _, errors = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 130
    assert without_waiting(errors) == "interrupted\n"
    assert ids(agent, service) == set()


def test_second_signal_during_cleanup(
    agent: ConsulAgent, service: str, unhealthy: HealthServer
) -> None:
    """A second Ctrl-C does not abort the cleanup."""
    with started("register", *unhealthy.flags(service), env=agent_env(agent)) as process:
        line_with(process, f"{service}-1: registered")
        agent.freeze()
        try:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)  # two SIGINT at once would be one
            assert process.stderr is not None
            # It may say before that the agent takes long.
            assert any("already cleaning up" in line for line in process.stderr)
        finally:
            agent.thaw()
        assert process.wait(ENDS_WITHIN) == 130
    assert ids(agent, service) == set()


def test_closed_stdout(agent: ConsulAgent, service: str, unhealthy: HealthServer) -> None:
    """A closed output pipe does not keep it from deregistering what it added."""
    command = ["register", *unhealthy.flags(service), "--wait", "1s"]
    with started(*command, env=agent_env(agent)) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(ENDS_WITHIN) == 6
    assert ids(agent, service) == set()


EVERY_MISTAKE = """
[[service]]
name = "kato"
prot = 8000
check = { interval = "10 seconds" }

[[service]]
name = "kato"
id = "kato-2"
port = 70000
address = "http://10.0.0.5"
"""


def test_all_mistakes_in_a_file(agent: ConsulAgent, tmp_path: Path) -> None:
    """All mistakes are reported at once, each with its place and a valid form; exit 2."""
    path = tmp_path / "kato.toml"
    path.write_text(EVERY_MISTAKE)
    done = kato_consul("register", "-f", path, "--wait", "soon", env=agent_env(agent))
    assert done.returncode == 2
    assert done.stdout == ""
    head, *mistakes = done.stderr.splitlines()
    assert head == "error: 6 mistakes:"
    for expected in (
        "service 1 (kato): prot is not known: did you mean port?",
        "service 1 (kato): port is missing",
        "service 1 (kato): check: interval: '10 seconds' is not a duration: write it like 10s",
        "service 2 (kato-2): port: 70000 is not a port",
        "service 2 (kato-2): address: 'http://10.0.0.5' is not a host name or IP",
    ):
        assert any(f"{path}: {expected}" in line for line in mistakes), expected
    assert "--wait: 'soon' is not a duration" in mistakes[-1]


def test_all_mistakes_in_flags() -> None:
    """Mistakes in flags are reported at once too, with the names of the flags."""
    wrong = ["--port", "0", "--interval", "often", "--check-http", "kato", "--meta", "zone"]
    done = kato_consul("register", *wrong, "--consul", "ftp://consul")
    assert done.returncode == 2
    for expected in (
        "--name is missing",
        "--port: 0 is not a port",
        "--interval: 'often' is not a duration",
        "--check-http: 'kato' is not an http:// or https:// URL",
        "--meta 'zone': write it as KEY=VALUE",
        "the Consul address 'ftp://consul' cannot be used",
    ):
        assert f"  {expected}" in done.stderr


def test_missing_or_conflicting_options() -> None:
    """Missing and conflicting options are named; exit 2."""
    wrong: dict[str, list[str]] = {
        "nothing to register: give -f FILE, or --name and --port": [],
        "--port is missing": ["--name", "kato"],
        "there-is-none.toml: cannot be read: No such file": ["-f", "there-is-none.toml"],
        "either -f FILE or the flags": ["-f", "kato.toml", "--name", "kato"],
    }
    runs = all_at_once(*(["register", *given] for given in wrong.values()))
    for expected, done in zip(wrong, runs, strict=True):
        assert done.returncode == 2
        assert expected in done.stderr


def test_invalid_toml(tmp_path: Path) -> None:
    """A file that is not TOML is named, with the line."""
    path = tmp_path / "kato.toml"
    path.write_text("[[service]]\nname = kato\n")
    done = kato_consul("register", "-f", path)
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert "line 2" in done.stderr


def test_token_is_not_printed(service: str, instance: HealthServer) -> None:
    """A token that Consul does not know: exit 4, and no part of it is printed."""
    token = "11111111-2222-3333-4444-555555555555"
    acl = {"acl": {"enabled": True, "default_policy": "allow"}}
    with ConsulAgent(config=acl) as guarded:
        env = {**agent_env(guarded), "CONSUL_HTTP_TOKEN": token}
        done = kato_consul("register", *instance.flags(service), env=env)
    assert done.returncode == 4
    assert "CONSUL_HTTP_TOKEN" in done.stderr
    assert token not in done.stdout + done.stderr


def test_output_to_a_pipe(agent: ConsulAgent, service: str, instance: HealthServer) -> None:
    """Other programs can read the output: lines without colours or cursor movements."""
    with started("register", *instance.flags(service), env=agent_env(agent)) as process:
        text, errors = process.communicate(timeout=ENDS_WITHIN)
    assert without_waiting(errors) == ""
    assert "\x1b" not in text
    assert [line[10:] for line in text.splitlines()] == [
        f"kato-consul: registering 1 instance with Consul at {agent.http_addr}",
        "kato-consul: waiting up to 60 s until Consul reports passing",
        f"{service}-1: registered",
        f"{service}-1: passing",
    ]


def test_ignored_sigint(agent: ConsulAgent, service: str, unhealthy: HealthServer) -> None:
    """A SIGINT that the shell ignores, as for background jobs, stays ignored."""
    command = ["register", *unhealthy.flags(service), "--wait", "1s"]

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    with started(
        *command, env=agent_env(agent), preexec_fn=ignore, stderr=subprocess.DEVNULL
    ) as process:
        line_with(process, f"{service}-1: registered")
        process.send_signal(signal.SIGINT)
        assert process.wait(ENDS_WITHIN) == 6
