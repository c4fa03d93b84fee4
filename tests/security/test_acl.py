"""ACLs: the policies of the documentation are enough, less is not, and tokens stay hidden."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kato_consul import KatoClient, Settings
from kato_consul.testing import StandInKato
from tests.cli.running import fresh_name, kato_consul, line_with, started
from tests.security.conftest import Guarded, policy
from tests.testing.waiting import eventually


@pytest.fixture
def kato(tmp_path: Path) -> Iterator[StandInKato]:
    """An instance of a service that nobody registered before; its name is the service's."""
    with StandInKato(store=tmp_path / "store.sqlite", name=fresh_name()) as made:
        yield made


def flags(kato: StandInKato) -> list[str]:
    """The instance, as flags."""
    named = ["--name", kato.name, "--id", f"{kato.name}-1", "--address", kato.host]
    return [*named, "--port", str(kato.port), "--interval", "2s"]


def test_the_least_policies(guarded: Guarded, kato: StandInKato) -> None:
    """With the documented policies every command and the client work; no token is ever shown."""
    registrar = guarded.token(policy("registrar", kato.name))
    client = guarded.token(policy("client", kato.name))
    operator = guarded.token(policy("operator", kato.name))
    writes = {"CONSUL_HTTP_ADDR": guarded.http_addr, "CONSUL_HTTP_TOKEN": registrar}
    takes_out = {"CONSUL_HTTP_ADDR": guarded.http_addr, "CONSUL_HTTP_TOKEN": operator}
    reads = {"CONSUL_HTTP_ADDR": guarded.http_addr, "CONSUL_HTTP_TOKEN": client}
    service = ["--service", kato.name]
    shown = []
    for command, env in (
        (["register", *flags(kato), "--json"], writes),
        (["drain", f"{kato.name}-1"], takes_out),
        (["drain", "--off", "--all", *service], takes_out),
        (["instances", *service], reads),
        (["instances", "--json", *service], reads),
    ):
        done = kato_consul(*command, env=env)
        assert done.returncode == 0, (command, done.stderr)
        shown.append(done.stdout + done.stderr)
    done = kato_consul("doctor", *service, env=reads)
    assert done.returncode == 8, done.stdout  # a client's token cannot register, which is said
    assert "token.cannot-register" in done.stdout
    shown.append(done.stdout + done.stderr)
    done = kato_consul("doctor", *service, env=writes)
    assert done.returncode == 0, done.stdout  # and a registrar's can
    shown.append(done.stdout + done.stderr)

    settings = Settings(consul_addr=guarded.http_addr, consul_token=client, service=kato.name)
    with KatoClient(settings) as calling:
        assert calling.observe("user-1", ["a"])["time"] == 1
        shown.append(repr(settings) + repr(vars(calling)))

    done = kato_consul("deregister", f"{kato.name}-1", env=takes_out)
    assert done.returncode == 0
    assert f"{kato.name}-1: deregistered" in done.stdout
    shown.append(done.stdout + done.stderr)
    with started("run", *flags(kato), env=writes) as process:
        line_with(process, "all registered")
        process.terminate()
        said, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    shown.append(said + errors)
    assert all(one not in words for words in shown for one in (registrar, client, operator))


@pytest.mark.parametrize(
    ("name", "command", "code"),
    [
        ("registrar", ["register", "--wait", "1s"], 6),
        ("client", ["doctor"], 9),
    ],
)
def test_less_is_not_enough(
    guarded: Guarded, kato: StandInKato, name: str, command: list[str], code: int
) -> None:
    """A documented policy without its last rule, the one about nodes, is too little."""
    root = {"CONSUL_HTTP_ADDR": guarded.http_addr, "CONSUL_HTTP_TOKEN": guarded.root}
    if name == "client":
        assert kato_consul("register", *flags(kato), env=root).returncode == 0
    rules = policy(name, kato.name).partition("node_prefix")[0]
    env = {**root, "CONSUL_HTTP_TOKEN": guarded.token(rules)}
    which = flags(kato) if name == "registrar" else ["--service", kato.name]
    done = kato_consul(*command, *which, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    kato_consul("deregister", f"{kato.name}-1", env=root)


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("register", "Missing service:write"),
        ("run", "Missing service:write"),
        ("drain", "denied putting"),
        ("deregister", "denied deregistering"),
    ],
)
def test_a_token_that_may_only_read(
    guarded: Guarded, kato: StandInKato, command: str, missing: str
) -> None:
    """A token that may not write is denied, exit 4; what is missing is said, the token is not."""
    token = guarded.token(policy("client", kato.name))
    env = {"CONSUL_HTTP_ADDR": guarded.http_addr, "CONSUL_HTTP_TOKEN": token}
    which = flags(kato)
    if command in ("drain", "deregister"):
        root = {**env, "CONSUL_HTTP_TOKEN": guarded.root}
        assert kato_consul("register", *which, env=root).returncode == 0
        which = [f"{kato.name}-1"]
    done = kato_consul(command, *which, env=env)
    assert done.returncode == 4, done.stdout + done.stderr
    assert missing in done.stderr
    assert token not in done.stdout + done.stderr


def test_what_consul_hides(guarded: Guarded, kato: StandInKato) -> None:
    """To a token that may see nothing Consul says that there is nothing: doctor knows better."""
    env = {"CONSUL_HTTP_ADDR": guarded.http_addr}
    done = kato_consul("doctor", "--service", kato.name, env=env)
    assert done.returncode == 9
    assert f"Consul hides the instances of {kato.name!r} from it" in done.stdout
    assert "CONSUL_HTTP_TOKEN" in done.stdout


def test_a_token_that_may_not_see_nodes(guarded: Guarded, kato: StandInKato) -> None:
    """Consul hides what a token may not read: that it may be that is said, and nothing stays."""
    token = guarded.token(f'service "{kato.name}" {{ policy = "write" }}')
    env = {"CONSUL_HTTP_ADDR": guarded.http_addr, "CONSUL_HTTP_TOKEN": token}
    done = kato_consul("register", *flags(kato), "--wait", "1s", env=env)
    assert done.returncode == 6
    assert "node:read" in done.stderr
    answer = httpx.get(
        f"{guarded.url}/v1/agent/services",
        headers={"X-Consul-Token": guarded.root},
        trust_env=False,
    )
    assert f"{kato.name}-1" not in answer.json()


def test_no_such_token(guarded: Guarded, kato: StandInKato) -> None:
    """A token that Consul does not know is denied, exit 4, and not shown."""
    token = "6c2f1a3e-0000-0000-0000-000000000000"
    env = {"CONSUL_HTTP_ADDR": guarded.http_addr, "CONSUL_HTTP_TOKEN": token}
    done = kato_consul("register", *flags(kato), env=env)
    assert done.returncode == 4
    assert token not in done.stdout + done.stderr


def test_the_file_wins(guarded: Guarded, kato: StandInKato, tmp_path: Path) -> None:
    """A token in a file wins over the variable."""
    (tmp_path / "token").write_text(guarded.token(policy("registrar", kato.name)) + "\n")
    env = {
        "CONSUL_HTTP_ADDR": guarded.http_addr,
        "CONSUL_HTTP_TOKEN": "wrong",
        "CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token"),
    }
    assert kato_consul("register", *flags(kato), env=env).returncode == 0
    assert kato_consul("deregister", f"{kato.name}-1", env=env).returncode == 0


def test_a_token_that_comes_late(guarded: Guarded, kato: StandInKato) -> None:
    """What `exec` may not do yet is told once, and tried on: the instance runs all the while."""
    token = guarded.token(policy("client", kato.name))
    env = {"CONSUL_HTTP_ADDR": guarded.http_addr, "CONSUL_HTTP_TOKEN": token}
    with started("exec", *flags(kato), "--drain", "0", "--", "sleep", "600", env=env) as process:
        line_with(process, "Missing service:write")
        rules = policy("registrar", kato.name)
        allow(guarded, token, rules)
        line_with(process, f"{kato.name}-1: registered")
        process.terminate()
        assert process.wait(20) == 143
    assert eventually(lambda: f"{kato.name}-1" not in services(guarded))


def allow(guarded: Guarded, token: str, rules: str) -> None:
    """Give a token that there is already other rules."""
    headers = {"X-Consul-Token": token}
    answer = httpx.get(f"{guarded.url}/v1/acl/token/self", headers=headers, trust_env=False)
    known = answer.raise_for_status().json()
    policy_id = known["Policies"][0]["ID"]
    name = known["Policies"][0]["Name"]
    guarded.put(f"/v1/acl/policy/{policy_id}", {"ID": policy_id, "Name": name, "Rules": rules})


def services(guarded: Guarded) -> dict[str, object]:
    """What the agent has, as the one sees it who may see all."""
    headers = {"X-Consul-Token": guarded.root}
    answer = httpx.get(f"{guarded.url}/v1/agent/services", headers=headers, trust_env=False)
    found: dict[str, object] = answer.json()
    return found
