"""`kato-consul deregister`: deregisters the named instances, and no others."""

from pathlib import Path

import pytest

from kato_consul import CheckDefinition, Registrar, ServiceDefinition, Settings
from kato_consul.testing import ConsulAgent, ConsulCluster
from tests.cli.running import (
    ENDS_WITHIN,
    HTTP,
    HealthServer,
    agent_env,
    all_at_once,
    get_json,
    ids,
    kato_consul,
    line_with,
    started,
    without_waiting,
)
from tests.testing.waiting import eventually


@pytest.fixture
def file(agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path) -> Path:
    """A file of three instances, all of them registered."""
    path = tmp_path / "kato.toml"
    path.write_text("".join(instance.table(service, number) for number in (1, 2, 3)))
    assert kato_consul("register", "-f", path, "--wait", "0", env=agent_env(agent)).returncode == 0
    return path


def test_all_of_a_service_that_has_none(agent: ConsulAgent, service: str) -> None:
    """It ends with 0, and says that there was nothing to do."""
    done = kato_consul("deregister", "--all", "--service", service, env=agent_env(agent))
    assert done.returncode == 0
    assert without_waiting(done.stderr) == f"this agent has no instance of '{service}'\n"


def test_by_id(agent: ConsulAgent, service: str, file: Path) -> None:
    """Ids are arguments or given with --id; other instances stay registered."""
    command = ["deregister", f"{service}-1", "--id", f"{service}-3", f"{service}-1"]
    done = kato_consul(*command, env=agent_env(agent))
    assert done.returncode == 0, done.stderr
    assert [line[10:] for line in done.stdout.splitlines()] == [
        f"{service}-1: deregistered",
        f"{service}-3: deregistered",
    ]
    assert ids(agent, service) == {f"{service}-2"}


def test_by_file(agent: ConsulAgent, service: str, file: Path) -> None:
    """All instances in a file are deregistered."""
    assert kato_consul("deregister", "-f", file, env=agent_env(agent)).returncode == 0
    assert ids(agent, service) == set()


def test_unknown_instance(agent: ConsulAgent, service: str) -> None:
    """An instance that is not registered counts as deregistered, and is reported as such."""
    done = kato_consul("deregister", f"{service}-1", env=agent_env(agent))
    assert done.returncode == 0
    assert f"{service}-1: was not registered" in done.stdout


@pytest.fixture
def ghost(young_agent: ConsulAgent, service: str) -> str:
    """The node of two instances that were only registered in the catalog; Consul reports one such
    node as dead."""
    node = f"box-{service}"
    checks = [{"Node": node, "CheckID": "serfHealth", "Name": "Serf", "Status": "critical"}]
    for number in (8, 9):
        put_catalog(young_agent, node, f"{service}-{number}", service, Checks=checks)
    return node


def put_catalog(
    agent: ConsulAgent, node: str, service_id: str, service: str, **more: object
) -> None:
    """Register an instance in the catalog, without an agent."""
    entry = {"ID": service_id, "Service": service, "Port": 8000}
    body = {"Node": node, "Address": "127.0.0.9", "Service": entry, **more}
    HTTP.put(f"{agent.url}/v1/catalog/register", json=body).raise_for_status()


def in_catalog(agent: ConsulAgent, service: str) -> set[tuple[str, str]]:
    """Return the node and the id of each instance in the catalog."""
    found = get_json(agent, f"/v1/catalog/service/{service}")
    return {(one["Node"], one["ServiceID"]) for one in found}


def test_instance_of_a_dead_node(young_agent: ConsulAgent, service: str, ghost: str) -> None:
    """Without --node it is refused, and the command to use is printed; that command removes the
    instance from the catalog, and no other. It works for any name of the service."""
    done = kato_consul("deregister", f"{service}-9", env=agent_env(young_agent))
    assert done.returncode == 1
    assert "was not registered" not in done.stdout
    assert f"on node {ghost}, whose agent is dead" in done.stderr
    command = f"kato-consul deregister {service}-9 --node {ghost}"
    assert command in done.stderr
    done = kato_consul(*command.split()[1:], env=agent_env(young_agent))
    assert done.returncode == 0, done.stderr
    assert f"{service}-9: deregistered" in done.stdout
    assert in_catalog(young_agent, service) == {(ghost, f"{service}-8")}
    done = kato_consul(*command.split()[1:], env=agent_env(young_agent))
    assert done.returncode == 0, done.stderr
    assert "was not registered" in done.stdout


def test_all_instances_of_a_dead_node(young_agent: ConsulAgent, service: str, ghost: str) -> None:
    """--all --node removes those of the service; others of the node stay."""
    put_catalog(young_agent, ghost, "other-1", f"other-{service}")
    command = ["deregister", "--all", "--node", ghost, "--service", service]
    done = kato_consul(*command, env=agent_env(young_agent))
    assert done.returncode == 0, done.stderr
    assert in_catalog(young_agent, service) == set()
    assert in_catalog(young_agent, f"other-{service}") == {(ghost, "other-1")}


def test_node_without_an_agent(agent: ConsulAgent, service: str) -> None:
    """A node that was only registered in the catalog, without Consul's check of nodes, is dead: no
    agent would register the instance again."""
    node = f"external-{service}"
    put_catalog(agent, node, f"{service}-1", service)
    done = kato_consul("deregister", f"{service}-1", "--node", node, env=agent_env(agent))
    assert done.returncode == 0, done.stderr
    assert in_catalog(agent, service) == set()


def test_unknown_node(agent: ConsulAgent) -> None:
    """A node that the catalog does not have: exit 1, and nothing is called deregistered."""
    done = kato_consul("deregister", "kato-1", "--node", "no-such-node", env=agent_env(agent))
    assert (done.returncode, done.stdout) == (1, "")
    assert "the catalog has no such node" in done.stderr


def test_a_killed_agent_and_a_living_one(service: str) -> None:
    """In a cluster: the instance of a living agent is refused at another agent, with the command to
    use; when its agent is killed, it can be removed with --node at the other one."""
    with ConsulCluster(servers=1, clients=2) as cluster:
        here, there = cluster.clients
        body = {"ID": f"{service}-1", "Name": service, "Port": 8000}
        HTTP.put(f"{there.url}/v1/agent/service/register", json=body).raise_for_status()
        assert eventually(lambda: in_catalog(here, service) == {(there.node, f"{service}-1")})
        for more in ([], ["--node", there.node]):
            done = kato_consul("deregister", f"{service}-1", *more, env=agent_env(here))
            assert done.returncode == 1, done.stdout
            assert f"on node {there.node} (127.0.0.1), whose agent is alive" in done.stderr
            assert f"'kato-consul deregister {service}-1 --consul ADDRESS', with" in done.stderr
        there.kill()
        command = ["deregister", f"{service}-1", "--node", there.node]

        def removed() -> bool:
            return kato_consul(*command, env=agent_env(here)).returncode == 0

        assert eventually(removed, within=60)  # until Consul has noticed the death
        assert in_catalog(here, service) == set()


def test_beside_a_registrar_that_runs(
    agent: ConsulAgent, service: str, instance: HealthServer
) -> None:
    """`run` registers the instance again: exit 1, and the registrar is named. Once it has ended,
    the instance is deregistered for good."""
    with started("run", *instance.flags(service), env=agent_env(agent)) as process:
        line_with(process, "all registered")
        done = kato_consul("deregister", f"{service}-1", env=agent_env(agent))
        assert done.returncode == 1
        assert f"{service}-1: deregistered" in done.stdout
        owner = get_json(agent, f"/v1/agent/service/{service}-1")["Meta"]["registrar"]
        assert f"registered again by the 'kato-consul run' or 'exec' of {owner}" in done.stderr
        process.kill()
        process.wait(ENDS_WITHIN)
    assert ids(agent, service) == {f"{service}-1"}
    done = kato_consul("deregister", f"{service}-1", env=agent_env(agent))
    assert done.returncode == 0, done.stderr
    assert ids(agent, service) == set()


def test_beside_a_registrar_in_a_program(
    agent: ConsulAgent, service: str, instance: HealthServer
) -> None:
    """A registrar without an owner leaves no mark on an instance with a plain check; that it
    registers it again is noticed all the same: exit 1, also with --all."""
    check = CheckDefinition(http=f"http://127.0.0.1:{instance.port}/health", interval="200ms")
    definition = ServiceDefinition(
        name=service, id=f"{service}-1", address="127.0.0.1", port=instance.port, check=check
    )
    with Registrar([definition], Settings(consul_addr=agent.http_addr)):
        for which in ([f"{service}-1"], ["--all", "--service", service]):
            done = kato_consul("deregister", *which, env=agent_env(agent))
            assert done.returncode == 1, done.stdout
            assert "registered again by another program, such as a registrar" in done.stderr
    assert ids(agent, service) == set()


@pytest.mark.parametrize("port", [70_000, -1])
def test_agent_with_an_invalid_port(agent: ConsulAgent, service: str, port: int) -> None:
    """An instance with a port that is none can be deregistered, and does not hinder others."""
    for number, port_number in ((1, port), (2, 8000)):
        body = {"ID": f"{service}-{number}", "Name": service, "Port": port_number}
        HTTP.put(f"{agent.url}/v1/agent/service/register", json=body).raise_for_status()
    assert kato_consul("deregister", f"{service}-2", env=agent_env(agent)).returncode == 0
    done = kato_consul("deregister", "--all", "--service", service, env=agent_env(agent))
    assert done.returncode == 0, done.stderr
    assert ids(agent, service) == set()


def test_missing_or_conflicting_options() -> None:
    """It needs ids, or a file: exit 2, with a message."""
    wrong: list[list[str]] = [
        [],
        ["kato-1", "-f", "kato.toml"],
        [""],
        ["--node", "box"],
        ["kato-1", "--node", ""],
    ]
    for done in all_at_once(*(["deregister", *given] for given in wrong)):
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
