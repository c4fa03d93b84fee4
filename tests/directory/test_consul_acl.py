"""ACLs: the least policy of Consul's session directory, with an agent that denies by default."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kato_consul._directory.directory import Stored
from kato_consul.errors import SessionDirectoryUnavailable
from tests.directory.clients import WITHIN, DirectoryClient
from tests.security.conftest import AclAgent
from tests.testing.waiting import eventually

KEYS = 'key_prefix "kato-consul/kato/" { policy = "write" }'
SERVICE = 'service "kato-consul-owner" { policy = "write" }'
SESSION = 'session_prefix "" { policy = "write" }'


@pytest.fixture(scope="module")
def acl_agent() -> Iterator[AclAgent]:
    """An agent that denies by default."""
    with AclAgent() as running:
        yield running


def client(agent: AclAgent, *rules: str) -> DirectoryClient:
    """Return a client whose token has exactly these rules."""
    return DirectoryClient(agent.http_addr, consul_token=agent.token("\n".join(rules)))


def test_the_least_policy_is_sufficient(acl_agent: AclAgent) -> None:
    """Everything works with three rules: hand over, confirm, write, list, leave."""
    rules = KEYS, SERVICE, SESSION
    with client(acl_agent, *rules) as one, client(acl_agent, *rules) as two:
        held, _ = one.acquire("user-1")
        assert one.confirm()
        one.write(held, id="kato-1")
        waiting = two.acquiring("user-1")
        assert eventually(lambda: "user-1" in one.directory.wanted.current)
        one.release(held)
        held, before = waiting.result(WITHIN)
        assert before is not None
        assert before.id == "kato-1"
        assert one.entries() == [Stored(held.entry, owned=True)]
        one.run(one.directory._removal.remove())
        two.release(held)
        one.leave()
        name = f"kato-consul-owner-{one.directory.nonce}"
        assert name not in acl_agent.cli("catalog", "services", "-tags")


@pytest.mark.parametrize(
    ("rules", "denied"),
    [
        ((SERVICE, SESSION), "a transaction on 'kato-consul/kato/"),
        ((KEYS, SESSION), "registering 'kato-consul-owner-"),
        ((KEYS, SERVICE), "creating a Consul session"),
        ((KEYS.replace("write", "read"), SERVICE, SESSION), "a transaction on"),
        ((KEYS.replace("/kato/", "/other/"), SERVICE, SESSION), "a transaction on"),
        ((), "registering 'kato-consul-owner-"),
    ],
)
def test_each_rule_is_necessary(acl_agent: AclAgent, rules: tuple[str, ...], denied: str) -> None:
    """Without one of them, the first call raises at once. The error has what was denied and the
    rules, and not the token."""
    with client(acl_agent, *rules) as one:
        with pytest.raises(SessionDirectoryUnavailable) as caught:
            one.acquire("user-1")
        text = str(caught.value)
        assert f"denied {denied}" in text
        assert all(rule in text for rule in (KEYS, SERVICE, SESSION))
        secret = one.settings.token.reveal()
        assert secret not in f"{text} {caught.value!r} {one.directory!r} {vars(one.directory)}"


def test_a_token_that_is_replaced(acl_agent: AclAgent, tmp_path: Path) -> None:
    """A token lacks a rule; once its file has one that has it, the same client goes on."""
    file = tmp_path / "token"
    file.write_text(acl_agent.token(f"{KEYS}\n{SERVICE}"))
    with DirectoryClient(acl_agent.http_addr, consul_token_file=file) as one:
        with pytest.raises(SessionDirectoryUnavailable, match="creating a Consul session"):
            one.acquire("user-1")
        replaced = tmp_path / "new"
        replaced.write_text(acl_agent.token(f"{KEYS}\n{SERVICE}\n{SESSION}"))
        replaced.rename(file)
        held, _ = one.acquire("user-1")
        one.release(held)
