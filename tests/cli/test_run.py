"""`kato-consul run`: in Consul while it runs, out of it when it ends."""

import signal
from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent
from tests.cli.running import HTTP, Instance, at, healths, ids, kato_consul, line_with, started
from tests.testing.waiting import eventually

ALL_REGISTERED = "all registered"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_stays_until_told(
    agent: ConsulAgent, service: str, instance: Instance, tmp_path: Path, number: signal.Signals
) -> None:
    """It stays when all pass; a signal takes all out and is a good end."""
    path = tmp_path / "kato.toml"
    path.write_text(instance.table(service, 1) + instance.table(service, 2))
    with started("run", "-f", path, env=at(agent)) as process:
        line_with(process, ALL_REGISTERED)
        assert healths(agent, service) == {f"{service}-1": "passing", f"{service}-2": "passing"}
        process.send_signal(number)
        said, errors = process.communicate(timeout=10)
    assert process.returncode == 0, errors
    assert f"{service}-1: deregistered" in said
    assert ids(agent, service) == set()


def test_an_agent_that_forgets(agent: ConsulAgent, service: str, instance: Instance) -> None:
    """What the agent lost is put back."""
    with started("run", *instance.flags(service), env=at(agent)) as process:
        line_with(process, ALL_REGISTERED)
        url = f"{agent.url}/v1/agent/service/deregister/{service}-1"
        HTTP.put(url).raise_for_status()
        line_with(process, "registered again")
        assert eventually(lambda: healths(agent, service) == {f"{service}-1": "passing"})
        process.terminate()
        assert process.wait(10) == 0


def test_never_passing(agent: ConsulAgent, service: str, ill: Instance) -> None:
    """Instances that do not pass in time are not kept: exit 6, and they are taken out."""
    done = kato_consul("run", *ill.flags(service), "--wait", "1s", env=at(agent))
    assert done.returncode == 6
    assert ids(agent, service) == set()


def test_told_to_end_while_waiting(agent: ConsulAgent, service: str, ill: Instance) -> None:
    """A signal before all pass takes out what was put in; exit 130."""
    with started("run", *ill.flags(service), env=at(agent)) as process:
        line_with(process, f"{service}-1: registered")
        process.terminate()
        assert process.wait(10) == 130
    assert ids(agent, service) == set()


def test_nobody_reads(agent: ConsulAgent, service: str, instance: Instance) -> None:
    """A reader that went away does not end it, and does not keep it from taking all out."""
    with started("run", *instance.flags(service), env=at(agent)) as process:
        line_with(process, ALL_REGISTERED)
        assert process.stdout is not None
        process.stdout.close()
        process.terminate()
        assert process.wait(10) == 0
    assert ids(agent, service) == set()
