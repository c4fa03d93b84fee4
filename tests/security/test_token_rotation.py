"""Token rotation: a token file that is replaced while clients and registrars run."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kato_consul import AsyncDiscovery, Discovery, DiscoveryTransport, Settings
from kato_consul.settings import ENGINES
from kato_consul.testing import StandInKato
from tests.cli.running import ENDS_WITHIN, fresh_name, line_with, started
from tests.security.conftest import AclAgent
from tests.security.test_acl import flags, services
from tests.testing.waiting import eventually

RULES = 'service_prefix "" { policy = "write" }\nnode_prefix "" { policy = "read" }'
WITHIN = 20.0


class TokenFile:
    """A token file, as an agent that issues tokens writes it."""

    def __init__(self, agent: AclAgent, path: Path) -> None:
        self._agent = agent
        self.path = path
        self._token = ""
        self.rotate()

    def rotate(self) -> None:
        """Put a new token into the file, by renaming another over it, and delete the old one."""
        old, self._token = self._token, self._agent.token(RULES)
        new = self.path.with_suffix(".new")
        new.write_text(f"{self._token}\n")
        new.rename(self.path)
        if old:
            self._agent.delete_token(old)


@pytest.fixture
def kato(tmp_path: Path) -> Iterator[StandInKato]:
    """An instance of a new service; its name is the service's."""
    with StandInKato(store=tmp_path / "store.sqlite", name=fresh_name(), keep_alive=60) as running:
        yield running


@pytest.fixture
def token_file(acl_agent: AclAgent, tmp_path: Path) -> TokenFile:
    """A token file."""
    return TokenFile(acl_agent, tmp_path / "token")


def test_run_and_client_go_on_with_a_new_token(
    acl_agent: AclAgent, kato: StandInKato, token_file: TokenFile
) -> None:
    """`run` puts its instance back, and deregisters it on SIGTERM; a client sees both."""
    env = {
        "CONSUL_HTTP_ADDR": acl_agent.http_addr,
        "CONSUL_HTTP_TOKEN_FILE": str(token_file.path),
    }
    settings = Settings(
        consul_addr=acl_agent.http_addr, consul_token_file=token_file.path, service=kato.name
    )
    service_id = f"{kato.name}-1"
    with started("run", *flags(kato), env=env) as run, Discovery(settings) as discovery:
        line_with(run, "all registered")
        assert eventually(lambda: len(discovery.snapshot().usable) == 1, within=WITHIN)
        token_file.rotate()
        acl_agent.deregister(service_id)
        line_with(run, "registered again")
        acl_agent.register(kato.name, f"{kato.name}-2")
        assert eventually(lambda: len(discovery.snapshot().usable) == 2, within=WITHIN)
        token_file.rotate()
        kato.kill()  # the agent reports it with the token that the instance was registered with
        assert eventually(lambda: len(discovery.snapshot().usable) == 1, within=WITHIN)
        run.terminate()
        assert run.wait(ENDS_WITHIN) == 0
        assert service_id not in services(acl_agent)
        assert eventually(lambda: len(discovery.snapshot().instances) == 1, within=WITHIN)


@pytest.mark.anyio
@pytest.mark.parametrize("engine", ENGINES)
async def test_async_client_goes_on_with_a_new_token(
    acl_agent: AclAgent, token_file: TokenFile, engine: str
) -> None:
    """The watch of an async client reads the file again, on each engine."""
    settings = Settings(
        consul_addr=acl_agent.http_addr,
        consul_token_file=token_file.path,
        service=fresh_name(),
        engine=engine,
    )
    service = settings.service
    acl_agent.register(service, "a")
    async with AsyncDiscovery(settings) as discovery, asyncio.timeout(WITHIN):
        assert [one.id for one in (await discovery.snapshot()).instances] == ["a"]
        token_file.rotate()
        acl_agent.register(service, "b")
        async for snapshot in discovery.changes():
            if [one.id for one in snapshot.instances] == ["a", "b"]:
                break


def test_token_that_may_not_read_is_replaced(acl_agent: AclAgent, tmp_path: Path) -> None:
    """Consul lists nothing for the first token, and its query blocks. The next one is used soon
    all the same."""
    path, service = tmp_path / "token", fresh_name()
    path.write_text(acl_agent.token('service "other" { policy = "read" }'))
    settings = Settings(
        consul_addr=acl_agent.http_addr, consul_token_file=path, service=service, trust_env=False
    )
    acl_agent.register(service, "a")
    with Discovery(settings) as discovery:
        assert discovery.snapshot().instances == ()
        path.write_text(acl_agent.token(RULES))
        assert eventually(lambda: len(discovery.snapshot().usable) == 1, within=WITHIN)


@pytest.mark.parametrize("engine", ENGINES)
def test_file_that_is_being_replaced_costs_no_call(
    acl_agent: AclAgent, kato: StandInKato, token_file: TokenFile, engine: str
) -> None:
    """It is missing or empty while services are called for the first time."""
    settings = Settings(
        consul_addr=acl_agent.http_addr, consul_token_file=token_file.path, engine=engine
    )
    token = token_file.path.read_text()
    names = [fresh_name() for _ in range(2)]
    for name in names:
        acl_agent.register(name, name, kato.host, kato.port)
    with httpx.Client(transport=DiscoveryTransport(settings)) as http:
        token_file.path.unlink()
        assert http.get(f"http://{names[0]}/health").status_code == 200
        token_file.path.write_text("")
        assert http.get(f"http://{names[1]}/health").status_code == 200
        token_file.path.write_text(token)
