"""`kato-consul run`: in Consul while it runs, out of it when it ends."""

import json
import signal
from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent, StandInKato
from tests.cli.running import HTTP, Instance, at, healths, ids, kato_consul, line_with, started
from tests.testing.waiting import eventually

ALL_REGISTERED = "all registered"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
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


def test_a_file_that_changes(
    agent: ConsulAgent, service: str, instance: Instance, tmp_path: Path
) -> None:
    """A file is read again when it changes, or on SIGHUP; one with a mistake changes nothing."""
    path = tmp_path / "kato.toml"
    path.write_text(instance.table(service, 1) + instance.table(service, 2))
    with started("run", "-f", path, env=at(agent)) as process:
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
        assert process.wait(10) == 0
    assert ids(agent, service) == set()


def test_killed_and_started_again(
    agent: ConsulAgent, service: str, instance: Instance, tmp_path: Path
) -> None:
    """What a run that was killed left behind is taken out by the next one when it is critical;
    what is well, and what is somebody else's, is not."""
    path = tmp_path / "kato.toml"
    with Instance() as doomed, Instance() as well:
        tables = [doomed.table(service, 1), well.table(service, 2), instance.table(service, 3)]
        path.write_text("".join(tables))
        with started("run", "-f", path, env=at(agent)) as process:
            line_with(process, ALL_REGISTERED)
            process.kill()
            process.wait(10)
        foreign = ["--name", service, "--id", f"{service}-9", "--port", str(doomed.port)]
        more = ["--check-http", f"http://127.0.0.1:{doomed.port}/health", "--interval", "200ms"]
        done = kato_consul("register", *foreign, *more, env=at(agent))
        assert done.returncode == 0
        path.write_text(tables[2])
        with started("run", "-f", path, env=at(agent)) as process:
            line_with(process, ALL_REGISTERED)
            doomed.healthy = False
            line_with(process, f"{service}-1: left behind by an earlier run, deregistered")
            assert eventually(lambda: healths(agent, service).get(f"{service}-9") == "critical")
            kept = {f"{service}-2", f"{service}-3", f"{service}-9"}
            assert ids(agent, service) == kept
            process.terminate()
            assert process.wait(10) == 0
        for one in (2, 9):
            kato_consul("deregister", f"{service}-{one}", env=at(agent))


def test_killed_and_gone(agent: ConsulAgent, service: str, tmp_path: Path) -> None:
    """When the registrar is killed its checks run out by themselves: nobody vouches any more."""
    with StandInKato(store=tmp_path / "store.sqlite", name=service) as kato:
        flags = ["--name", service, "--id", f"{service}-1", "--address", kato.host]
        flags += ["--port", str(kato.port), "--interval", "200ms"]
        with started("run", *flags, env=at(agent)) as process:
            line_with(process, ALL_REGISTERED)
            assert healths(agent, service) == {f"{service}-1": "passing"}
            process.kill()
            process.wait(10)
        assert eventually(lambda: healths(agent, service) == {f"{service}-1": "critical"})
        kato_consul("deregister", f"{service}-1", env=at(agent))


def test_as_json(agent: ConsulAgent, service: str, instance: Instance) -> None:
    """For machines each event is a JSON line with a stable name."""
    done = kato_consul("register", *instance.flags(service), "--json", env=at(agent))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["event"] for one in events] == ["instance.registered", "instance.passing"]
    assert {one["instance"] for one in events} == {f"{service}-1"}
    kato_consul("deregister", f"{service}-1", env=at(agent))


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
