"""ACLs of the session directory: the documented policies are sufficient for clients and for
`kato-consul sessions`, with a Consul and a Redis that deny by default. No secret is printed."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kato_consul import KatoClient, SessionDirectoryUnavailable, Settings
from kato_consul._directory import redis_calls, redis_script, redis_scripts
from kato_consul.testing import StandInKato
from kato_consul.testing.ports import HOST
from kato_consul.testing.redis import RedisServer
from tests.cli.running import fresh_name, kato_consul, without_waiting
from tests.security.conftest import POLICIES, AclAgent, policy

RULES = policy("sessions", "kato")
KEYS = RULES[RULES.index("key_prefix") : RULES.index("#", RULES.index("key_prefix"))]


@pytest.fixture
def kato(acl_agent: AclAgent, tmp_path: Path) -> Iterator[StandInKato]:
    """A registered instance of a new service; its name is the service's."""
    with StandInKato(store=tmp_path / "store.sqlite", name=fresh_name()) as running:
        acl_agent.register(running.name, f"{running.name}-1", running.host, running.port)
        yield running
        acl_agent.deregister(f"{running.name}-1")


def rules(kato: StandInKato, *texts: str) -> str:
    """Return rules of the documented policies for this service."""
    return "\n".join(texts).replace("kato-consul/kato/", f"kato-consul/{kato.name}/")


def settings(agent: AclAgent, kato: StandInKato, token: str) -> Settings:
    """Return the settings of a client."""
    return Settings(
        consul_addr=agent.http_addr,
        consul_token=token,
        service=kato.name,
        session_directory="consul",
    )


def env(agent: AclAgent, kato: StandInKato, token: str) -> dict[str, str]:
    """Return the same as variables."""
    return {
        "CONSUL_HTTP_ADDR": agent.http_addr,
        "CONSUL_HTTP_TOKEN": token,
        "KATO_CONSUL_SERVICE": kato.name,
        "KATO_CONSUL_SESSION_DIRECTORY": "consul",
    }


def test_documented_policy_is_sufficient(acl_agent: AclAgent, kato: StandInKato) -> None:
    """A client shares sessions with the policy of clients and that of sessions. The latter alone is
    enough to list them and to release one."""
    token = acl_agent.token(rules(kato, policy("client", kato.name), RULES))
    operator = acl_agent.token(rules(kato, RULES))
    variables = env(acl_agent, kato, operator)
    with KatoClient(settings(acl_agent, kato, token)) as client:
        client.observe("user-1", ["a"])
        done = kato_consul("sessions", "--json", env=variables)
        assert done.returncode == 0, done.stderr
        (entry,) = json.loads(done.stdout)
        assert entry["owner"] is not None
        done = kato_consul("sessions", "--key", "user-1", "--release", "--json", env=variables)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[0]["released"] is True
        assert token not in done.stdout + done.stderr
        assert operator not in done.stdout + done.stderr
        assert client.observe("user-1", ["b"])["time"] == 2
        assert client.session("user-1").facts.takeovers == 0


def test_reading_is_enough_to_list(acl_agent: AclAgent, kato: StandInKato) -> None:
    """And not to release: that is denied, and nothing has changed."""
    both = acl_agent.token(rules(kato, policy("client", kato.name), RULES))
    token = acl_agent.token(rules(kato, KEYS.replace("write", "read")))
    variables = env(acl_agent, kato, token)
    with KatoClient(settings(acl_agent, kato, both)) as client:
        client.observe("user-1", ["a"])
        for command in (["sessions"], ["sessions", "--key", "user-1"]):
            done = kato_consul(*command, env=variables)
            assert (done.returncode, without_waiting(done.stderr)) == (0, "")
        done = kato_consul("sessions", "--key", "user-1", "--release", env=variables)
        assert (done.returncode, done.stdout) == (4, "")
        assert "denied registering 'kato-consul-owner-" in done.stderr
        assert token not in done.stderr
        assert client.session("user-1").facts.owner is not None


@pytest.mark.parametrize("text", ["", KEYS])
def test_hidden_sessions_are_not_called_missing(
    acl_agent: AclAgent, kato: StandInKato, text: str
) -> None:
    """Consul returns an empty list to a token that may not read the keys: that is exit 4, with the
    rules, and neither "no sessions" nor an unknown key."""
    token = acl_agent.token(text)  # KEYS are of another service
    for command in (["sessions"], ["sessions", "--json"], ["sessions", "--key", "user-1"]):
        done = kato_consul(*command, env=env(acl_agent, kato, token))
        assert (done.returncode, done.stdout) == (4, ""), done.stderr
        assert f'key_prefix "kato-consul/{kato.name}/" {{ policy = "write" }}' in done.stderr
        assert token not in done.stderr


@pytest.mark.parametrize("rule", ["key_prefix", "service", "session_prefix"])
def test_each_rule_is_necessary(acl_agent: AclAgent, kato: StandInKato, rule: str) -> None:
    """Without one of the documented rules a call fails: nothing was sent to KATO, and the error has
    the rules."""
    blocks = re.findall(r"^\w+ .*?^}$", RULES, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    kept = [block for block in blocks if not block.startswith(f"{rule} ")]
    assert len(kept) == 2
    token = acl_agent.token(rules(kato, policy("client", kato.name), *kept))
    with KatoClient(settings(acl_agent, kato, token)) as client:
        with pytest.raises(SessionDirectoryUnavailable, match="needs these rules") as caught:
            client.observe("user-1", ["a"])
        assert caught.value.denied
        assert token not in str(caught.value)


# --- Redis ----------------------------------------------------------------------------------


def test_documented_redis_user_is_sufficient(tmp_path: Path) -> None:
    """The line of docs/policies/sessions.acl, in Redis' own ACL file, with no other user: clients
    share sessions, and all of `kato-consul sessions` works."""
    service = fresh_name()
    line = (POLICIES / "sessions.acl").read_text("utf-8")
    line = line.replace("{kato}", f"{{{service}}}").replace("PASSWORD", "a-secret")
    with RedisServer() as server, StandInKato(store=tmp_path / "store.sqlite") as kato:
        server.command("ACL", "SETUSER", *line.split()[1:])
        url = f"redis://kato:a-secret@{HOST}:{server.port}/0"
        variables = {"KATO_CONSUL_SERVICE": service, "KATO_CONSUL_SESSION_DIRECTORY": url}
        clients = Settings(kato_urls=(kato.url,), service=service, session_directory=url)
        with KatoClient(clients) as first, KatoClient(clients) as second:
            first.observe("user-1", ["a"])
            assert second.observe("user-1", ["b"])["time"] == 2
            for command in (["sessions"], ["sessions", "--key", "user-1", "--release"]):
                done = kato_consul(*command, env=variables)
                assert done.returncode == 0, done.stderr
                assert "a-secret" not in done.stdout + done.stderr
            assert first.observe("user-1", ["c"])["time"] == 3
        done = kato_consul("sessions", "--service", "another", env=variables)
        assert done.returncode == 0  # a user may see that there are none; not what there is
        server.command("HSET", "kato-consul:{another}:entry:k", "state", "{}")
        done = kato_consul("sessions", "--service", "another", env=variables)
        assert (done.returncode, done.stdout) == (4, "")
        assert "needs the ACL rules ~kato-consul:{another}:*" in done.stderr


def test_documented_redis_user_is_minimal() -> None:
    """It has the commands that an error names, and these are the ones that are used."""
    words = (POLICIES / "sessions.acl").read_text("utf-8").split()
    granted = {word[1:] for word in words if word.startswith("+")}
    assert granted == set(redis_calls.COMMANDS)
    scripts = inspect.getsource(redis_scripts) + inspect.getsource(redis_script)
    used = {name.lower() for name in re.findall(r"redis\.call\('(\w+)'", scripts)}
    for node in ast.walk(ast.parse(inspect.getsource(redis_calls))):
        if isinstance(node, ast.Constant) and re.fullmatch("[A-Z]+", str(node.value)):
            used.add(str(node.value).lower())
    assert granted - {"select"} <= used  # select is redis-py's, for a database other than 0
