"""ACLs: the documented policies are sufficient and minimal, and tokens are never printed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kato_consul import AsyncDiscovery, ConsulDenied, KatoClient, NoInstances, Settings, Snapshot
from kato_consul.testing import StandInKato
from tests.cli.running import (
    ENDS_WITHIN,
    fresh_name,
    kato_consul,
    line_with,
    started,
    without_waiting,
)
from tests.security.conftest import AclAgent, policy
from tests.testing.waiting import eventually


@pytest.fixture
def kato(tmp_path: Path) -> Iterator[StandInKato]:
    """An instance of a new service; its name is the service's."""
    with StandInKato(store=tmp_path / "store.sqlite", name=fresh_name(), keep_alive=60) as running:
        yield running


def flags(kato: StandInKato) -> list[str]:
    """Return the command line options for the instance."""
    named = ["--name", kato.name, "--id", f"{kato.name}-1", "--address", kato.host]
    return [*named, "--port", str(kato.port), "--interval", "2s"]


def test_documented_policies_are_sufficient(acl_agent: AclAgent, kato: StandInKato) -> None:
    """With the documented policies all commands and the client work; no token is printed."""
    registrar = acl_agent.token(policy("registrar", kato.name))
    client = acl_agent.token(policy("client", kato.name))
    operator = acl_agent.token(policy("operator", kato.name))
    writes = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": registrar}
    deregisters = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": operator}
    reads = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": client}
    service = ["--service", kato.name]
    shown = []
    for command, env in (
        (["register", *flags(kato), "--json"], writes),
        (["drain", f"{kato.name}-1"], deregisters),
        (["drain", "--off", "--all", *service], deregisters),
        (["instances", *service], reads),
        (["instances", "--json", *service], reads),
    ):
        done = kato_consul(*command, env=env)
        assert done.returncode == 0, (command, done.stderr)
        shown.append(done.stdout + done.stderr)
    done = kato_consul("doctor", *service, env=reads)
    assert done.returncode == 0, done.stdout  # a client's token need not register: a note
    assert "token.cannot-register" in done.stdout
    shown.append(done.stdout + done.stderr)
    done = kato_consul("doctor", *service, env=writes)
    assert done.returncode == 0, done.stdout  # a registrar's token can
    shown.append(done.stdout + done.stderr)

    settings = Settings(consul_addr=acl_agent.http_addr, consul_token=client, service=kato.name)
    with KatoClient(settings) as kato_client:
        assert kato_client.observe("user-1", ["a"])["time"] == 1
        shown.append(repr(settings) + repr(vars(kato_client)))

    done = kato_consul("deregister", f"{kato.name}-1", env=deregisters)
    assert done.returncode == 0
    assert f"{kato.name}-1: deregistered" in done.stdout
    shown.append(done.stdout + done.stderr)
    with started("run", *flags(kato), env=writes) as process:
        line_with(process, "all registered")
        process.terminate()
        output, errors = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 0, errors
    shown.append(output + errors)
    assert all(one not in words for words in shown for one in (registrar, client, operator))


def test_operator_removes_an_instance_of_a_dead_node(
    acl_agent: AclAgent, kato: StandInKato
) -> None:
    """The operator's policy is sufficient to find the node, and to remove the instance from it;
    without its rule for nodes the instance is not found."""
    box = f"box-{kato.name}"
    service = {"ID": f"{kato.name}-9", "Service": kato.name, "Port": 8000}
    body: dict[str, object] = {"Node": box, "Address": "127.0.0.9", "Service": service}
    acl_agent.put("/v1/catalog/register", body)
    env = {"CONSUL_HTTP_ADDR": acl_agent.http_addr}
    rules = policy("operator", kato.name)
    env["CONSUL_HTTP_TOKEN"] = acl_agent.token(rules.partition("node_prefix")[0])
    command = ["deregister", f"{kato.name}-9", "--service", kato.name]
    done = kato_consul(*command, env=env)
    assert "was not registered with this agent" in done.stdout
    assert "the token lacks node:read" in done.stdout
    assert kato_consul(*command, "--node", box, env=env).returncode == 1
    env["CONSUL_HTTP_TOKEN"] = acl_agent.token(rules)
    done = kato_consul(*command, env=env)
    assert (done.returncode, f"--node {box}" in done.stderr) == (1, True)
    done = kato_consul(*command, "--node", box, env=env)
    assert (done.returncode, without_waiting(done.stderr)) == (0, "")


@pytest.mark.parametrize(
    ("name", "command", "code"),
    [
        ("registrar", ["register", "--wait", "1s"], 6),
        ("client", ["doctor"], 9),
    ],
)
def test_policies_without_node_rules_are_insufficient(
    acl_agent: AclAgent, kato: StandInKato, name: str, command: list[str], code: int
) -> None:
    """A documented policy without its last rule, the one for nodes, is not sufficient."""
    root = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": acl_agent.root}
    if name == "client":
        assert kato_consul("register", *flags(kato), env=root).returncode == 0
    rules = policy(name, kato.name).partition("node_prefix")[0]
    env = {**root, "CONSUL_HTTP_TOKEN": acl_agent.token(rules)}
    which = flags(kato) if name == "registrar" else ["--service", kato.name]
    done = kato_consul(*command, *which, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    kato_consul("deregister", f"{kato.name}-1", env=root)


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("register", "Missing service:write"),
        ("run", "Missing service:write"),
        ("drain", "denied enabling maintenance"),
        ("deregister", "denied deregistering"),
    ],
)
def test_a_read_only_token_is_denied(
    acl_agent: AclAgent, kato: StandInKato, command: str, missing: str
) -> None:
    """A token that may not write is denied, exit 4; the missing rule is printed, not the token."""
    token = acl_agent.token(policy("client", kato.name))
    env = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": token}
    which = flags(kato)
    if command in ("drain", "deregister"):
        root = {**env, "CONSUL_HTTP_TOKEN": acl_agent.root}
        assert kato_consul("register", *which, env=root).returncode == 0
        which = [f"{kato.name}-1"]
    done = kato_consul(command, *which, env=env)
    assert done.returncode == 4, done.stdout + done.stderr
    assert missing in done.stderr
    assert token not in done.stdout + done.stderr


def test_doctor_detects_hidden_instances(acl_agent: AclAgent, kato: StandInKato) -> None:
    """Consul returns an empty list to a token without read rules: doctor reports that."""
    env = {"CONSUL_HTTP_ADDR": acl_agent.http_addr}
    done = kato_consul("doctor", "--service", kato.name, env=env)
    assert done.returncode == 9
    assert f"Consul hides the instances of {kato.name!r}" in done.stdout
    assert "CONSUL_HTTP_TOKEN" in done.stdout


async def registered(settings: Settings) -> Snapshot:
    """Return the snapshot of a service that must be registered, on asyncio."""
    async with AsyncDiscovery(settings) as discovery:
        return await discovery.registered_snapshot()


@pytest.mark.parametrize(
    ("rules", "lacks"),
    [
        (None, "service:read"),  # the anonymous token
        ('service "other" {{ policy = "read" }}', "service:read"),
        ('service "{}" {{ policy = "read" }}', "node:read"),
        ('node_prefix "" {{ policy = "read" }}', "service:read"),
    ],
)
def test_hidden_instances_are_not_called_unregistered(
    acl_agent: AclAgent, kato: StandInKato, rules: str | None, lacks: str
) -> None:
    """`instances` ends with 4 and names the permission, `watch` prints the same and goes on; a
    client's error names the possibility."""
    root = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": acl_agent.root}
    assert kato_consul("register", *flags(kato), env=root).returncode == 0
    env = {"CONSUL_HTTP_ADDR": acl_agent.http_addr}
    if rules is not None:
        env["CONSUL_HTTP_TOKEN"] = acl_agent.token(rules.format(kato.name))
    try:
        done = kato_consul("instances", "--service", kato.name, env=env)
        assert (done.returncode, done.stdout) == (4, "")
        assert f"the token lacks {lacks}, so Consul hides the instances" in done.stderr
        with started("watch", "--service", kato.name, env=env) as process:
            line_with(process, f"the token lacks {lacks}", stream=process.stderr)
            line_with(process, "no instances")
        settings = Settings(
            consul_addr=acl_agent.http_addr,
            consul_token=env.get("CONSUL_HTTP_TOKEN"),
            service=kato.name,
            deadline=5.0,
        )
        with pytest.raises(ConsulDenied, match=f"the token lacks {lacks}"):
            asyncio.run(registered(settings))
        with KatoClient(settings) as client, pytest.raises(NoInstances, match="Or Consul has ACLs"):
            client.observe("user-1", ["a"])
    finally:
        kato_consul("deregister", f"{kato.name}-1", env=root)


def test_hidden_instances_are_not_called_deregistered(
    acl_agent: AclAgent, kato: StandInKato
) -> None:
    """`deregister` fails if the token may not read the service, and the instance stays."""
    service_id, service = f"{kato.name}-1", ["--service", kato.name]
    acl_agent.register(kato.name, service_id)
    token = acl_agent.token('node_prefix "" { policy = "read" }')
    env = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": token}
    for command in (
        ["deregister", service_id, *service],
        ["deregister", "--all", *service],
        ["drain", "--all", *service],
    ):
        done = kato_consul(*command, env=env)
        assert done.returncode == 4, command
        assert f"the token lacks service:read on '{kato.name}'" in done.stderr
        assert "not registered" not in done.stdout
    assert service_id in services(acl_agent)


@pytest.mark.parametrize("name", ["client", "operator", "registrar"])
def test_a_token_that_may_read_is_not_blamed(
    acl_agent: AclAgent, kato: StandInKato, name: str
) -> None:
    """With a documented policy, a service that does not exist is unknown, exit 5."""
    token = acl_agent.token(policy(name, kato.name))
    env = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": token}
    done = kato_consul("instances", "--service", kato.name, env=env)
    assert (done.returncode, done.stdout) == (5, "")
    assert f"Consul has no service {kato.name!r}" in done.stderr


def test_register_without_node_read_is_rolled_back(acl_agent: AclAgent, kato: StandInKato) -> None:
    """Without node:read Consul hides the instance: the error names it, and nothing is left."""
    token = acl_agent.token(f'service "{kato.name}" {{ policy = "write" }}')
    env = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": token}
    done = kato_consul("register", *flags(kato), "--wait", "1s", env=env)
    assert done.returncode == 6
    assert "node:read" in done.stderr
    answer = httpx.get(
        f"{acl_agent.url}/v1/agent/services",
        headers={"X-Consul-Token": acl_agent.root},
        trust_env=False,
    )
    assert f"{kato.name}-1" not in answer.json()


def test_an_unknown_token_is_denied(acl_agent: AclAgent, kato: StandInKato) -> None:
    """An unknown token is denied, exit 4, and not printed."""
    token = "6c2f1a3e-0000-0000-0000-000000000000"
    env = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": token}
    done = kato_consul("register", *flags(kato), env=env)
    assert done.returncode == 4
    assert token not in done.stdout + done.stderr


def test_a_token_file_takes_precedence(
    acl_agent: AclAgent, kato: StandInKato, tmp_path: Path
) -> None:
    """A token in a file takes precedence over the variable."""
    (tmp_path / "token").write_text(acl_agent.token(policy("registrar", kato.name)) + "\n")
    env = {
        "CONSUL_HTTP_ADDR": acl_agent.http_addr,
        "CONSUL_HTTP_TOKEN": "wrong",
        "CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token"),
    }
    assert kato_consul("register", *flags(kato), env=env).returncode == 0
    assert kato_consul("deregister", f"{kato.name}-1", env=env).returncode == 0


def test_exec_retries_until_the_token_may_register(acl_agent: AclAgent, kato: StandInKato) -> None:
    """`exec` prints a denied registration once and retries; the instance runs meanwhile."""
    token = acl_agent.token(policy("client", kato.name))
    env = {"CONSUL_HTTP_ADDR": acl_agent.http_addr, "CONSUL_HTTP_TOKEN": token}
    with started("exec", *flags(kato), "--drain", "0", "--", "sleep", "600", env=env) as process:
        line_with(process, "Missing service:write")
        rules = policy("registrar", kato.name)
        allow(acl_agent, token, rules)
        line_with(process, f"{kato.name}-1: registered")
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 143
    assert eventually(lambda: f"{kato.name}-1" not in services(acl_agent))


def allow(acl_agent: AclAgent, token: str, rules: str) -> None:
    """Replace the rules of an existing token."""
    headers = {"X-Consul-Token": token}
    response = httpx.get(f"{acl_agent.url}/v1/acl/token/self", headers=headers, trust_env=False)
    known = response.raise_for_status().json()
    policy_id = known["Policies"][0]["ID"]
    name = known["Policies"][0]["Name"]
    acl_agent.put(f"/v1/acl/policy/{policy_id}", {"ID": policy_id, "Name": name, "Rules": rules})


def services(acl_agent: AclAgent) -> dict[str, object]:
    """Return the agent's services, read with the root token."""
    headers = {"X-Consul-Token": acl_agent.root}
    response = httpx.get(f"{acl_agent.url}/v1/agent/services", headers=headers, trust_env=False)
    body: dict[str, object] = response.json()
    return body
