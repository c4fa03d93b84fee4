"""`kato-consul run`: instances are registered while it runs, and deregistered when it ends."""

import json
import signal
from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent, StandInKato
from tests.cli.running import (
    ENDS_WITHIN,
    HTTP,
    HealthServer,
    agent_env,
    healths,
    ids,
    kato_consul,
    line_with,
    started,
)
from tests.testing.waiting import eventually

ALL_REGISTERED = "all registered"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_runs_until_a_signal(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path, number: signal.Signals
) -> None:
    """It runs on when all are passing; a signal deregisters all and is a successful end."""
    path = tmp_path / "kato.toml"
    path.write_text(instance.table(service, 1) + instance.table(service, 2))
    with started("run", "-f", path, env=agent_env(agent)) as process:
        line_with(process, ALL_REGISTERED)
        assert healths(agent, service) == {f"{service}-1": "passing", f"{service}-2": "passing"}
        process.send_signal(number)
        output, errors = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 0, errors
    assert f"{service}-1: deregistered" in output
    assert ids(agent, service) == set()


def test_changed_file(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """A file is reloaded when it changes, or on SIGHUP; one with a mistake changes nothing."""
    path = tmp_path / "kato.toml"
    path.write_text(instance.table(service, 1) + instance.table(service, 2))
    with started("run", "-f", path, env=agent_env(agent)) as process:
        line_with(process, ALL_REGISTERED)
        path.write_text(instance.table(service, 2) + instance.table(service, 3))
        line_with(process, "instances in it: 2")
        assert eventually(lambda: ids(agent, service) == {f"{service}-2", f"{service}-3"})
        path.write_text("[[service]]\nprot = 1\n")
        line_with(process, "prot is not known: did you mean port?")
        line_with(process, "the previous definitions stay in effect")
        process.send_signal(signal.SIGHUP)
        line_with(process, "prot is not known")
        path.unlink()
        line_with(process, "is missing; its previous definitions stay in effect")
        assert ids(agent, service) == {f"{service}-2", f"{service}-3"}
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 0
    assert ids(agent, service) == set()


def test_killed_and_started_again(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """What a killed run left behind is deregistered by the next one once it is critical. Healthy
    instances, and those of others, are not."""
    path = tmp_path / "kato.toml"
    with HealthServer() as failing, HealthServer() as healthy:
        tables = [failing.table(service, 1), healthy.table(service, 2), instance.table(service, 3)]
        path.write_text("".join(tables))
        with started("run", "-f", path, env=agent_env(agent)) as process:
            line_with(process, ALL_REGISTERED)
            process.kill()
            process.wait(ENDS_WITHIN)
        foreign = ["--name", service, "--id", f"{service}-9", "--port", str(failing.port)]
        more = ["--check-http", f"http://127.0.0.1:{failing.port}/health", "--interval", "200ms"]
        done = kato_consul("register", *foreign, *more, env=agent_env(agent))
        assert done.returncode == 0
        path.write_text(tables[2])
        with started("run", "-f", path, env=agent_env(agent)) as process:
            line_with(process, ALL_REGISTERED)
            failing.healthy = False
            line_with(process, f"{service}-1: left behind by an earlier run, deregistered")
            assert eventually(lambda: healths(agent, service).get(f"{service}-9") == "critical")
            kept = {f"{service}-2", f"{service}-3", f"{service}-9"}
            assert ids(agent, service) == kept
            process.terminate()
            assert process.wait(ENDS_WITHIN) == 0
        for one in (2, 9):
            kato_consul("deregister", f"{service}-{one}", env=agent_env(agent))


def test_killed(agent: ConsulAgent, service: str, tmp_path: Path) -> None:
    """When the registrar is killed, its TTL checks expire and turn critical."""
    with StandInKato(store=tmp_path / "store.sqlite", name=service) as kato:
        flags = ["--name", service, "--id", f"{service}-1", "--address", kato.host]
        flags += ["--port", str(kato.port), "--interval", "200ms"]
        with started("run", *flags, env=agent_env(agent)) as process:
            line_with(process, ALL_REGISTERED)
            assert eventually(lambda: healths(agent, service) == {f"{service}-1": "passing"})
            process.kill()
            process.wait(ENDS_WITHIN)
        assert eventually(lambda: healths(agent, service) == {f"{service}-1": "critical"})
        kato_consul("deregister", f"{service}-1", env=agent_env(agent))


def test_output_as_json(agent: ConsulAgent, service: str, instance: HealthServer) -> None:
    """With --json each event is a line of JSON with a stable name."""
    done = kato_consul("register", *instance.flags(service), "--json", env=agent_env(agent))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["event"] for one in events] == ["instance.registered", "instance.passing"]
    assert {one["instance"] for one in events} == {f"{service}-1"}
    kato_consul("deregister", f"{service}-1", env=agent_env(agent))


def test_agent_loses_an_instance(agent: ConsulAgent, service: str, instance: HealthServer) -> None:
    """An instance that the agent lost is registered again."""
    with started("run", *instance.flags(service), env=agent_env(agent)) as process:
        line_with(process, ALL_REGISTERED)
        url = f"{agent.url}/v1/agent/service/deregister/{service}-1"
        HTTP.put(url).raise_for_status()
        line_with(process, "registered again")
        assert eventually(lambda: healths(agent, service) == {f"{service}-1": "passing"})
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 0


def test_instance_that_never_passes(
    agent: ConsulAgent, service: str, unhealthy: HealthServer
) -> None:
    """Instances that are not passing in time are deregistered; exit 6."""
    done = kato_consul("run", *unhealthy.flags(service), "--wait", "1s", env=agent_env(agent))
    assert done.returncode == 6
    assert ids(agent, service) == set()


def test_signal_while_waiting(agent: ConsulAgent, service: str, unhealthy: HealthServer) -> None:
    """A signal before all are passing deregisters what was added; exit 130."""
    with started("run", *unhealthy.flags(service), env=agent_env(agent)) as process:
        line_with(process, f"{service}-1: registered")
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 130
    assert ids(agent, service) == set()


def test_closed_stdout(agent: ConsulAgent, service: str, instance: HealthServer) -> None:
    """A closed output pipe does not end it, and does not keep it from deregistering all."""
    with started("run", *instance.flags(service), env=agent_env(agent)) as process:
        line_with(process, ALL_REGISTERED)
        assert process.stdout is not None
        process.stdout.close()
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 0
    assert ids(agent, service) == set()
