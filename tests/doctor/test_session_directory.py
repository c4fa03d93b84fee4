"""Doctor tries the session directory: with real servers, as `diagnose` does."""

from collections.abc import Iterator

import pytest

from kato_consul import Diagnosis, KatoClient, SessionDirectory, Settings, diagnose
from kato_consul._doctor.facts import DirectoryFacts
from kato_consul.testing import StandInKato
from kato_consul.testing.ports import HOST
from tests.directory.sites import KINDS, Site, site
from tests.security.conftest import AclAgent, policy


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A deployment with each kind of directory."""
    with site(str(request.param)) as running:
        yield running


def found(diagnosis: Diagnosis) -> list[str]:
    """Return the names of the findings about the session directory."""
    return [one.name for one in diagnosis.findings if one.name.startswith("directory.")]


def test_directory_that_works(shared: Site) -> None:
    """It is tried, which leaves nothing, and its sessions are counted."""
    with KatoClient(shared.settings()) as kato, SessionDirectory(shared.settings()) as directory:
        kato.observe("user-1", ["a"])
        diagnosis = diagnose(shared.settings(keepalive=0.2))
        assert found(diagnosis) == []
        assert diagnosis.facts.directory == DirectoryFacts(directory.name, sessions=1)
        assert [entry.key for entry in directory.entries()] == ["user-1"]


def test_no_directory(shared: Site) -> None:
    """If none is set, nothing is tried."""
    settings = Settings(
        consul_addr=shared.fleet.agent.http_addr,
        service=shared.fleet.settings.service,
        keepalive=0.2,
    )
    assert diagnose(settings).facts.directory is None


def test_redis_that_evicts() -> None:
    """With a limit and a policy that evicts it is an error; with noeviction, or without a limit,
    it is none."""
    with site("redis") as shared:
        assert shared.redis is not None
        settings = shared.settings(keepalive=0.2)
        shared.redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        assert found(diagnose(settings)) == []
        shared.redis.command("CONFIG", "SET", "maxmemory", "100mb")
        (finding,) = (
            one for one in diagnose(settings).findings if one.name.startswith("directory.")
        )
        assert finding.name == "directory.evicts"
        assert "maxmemory-policy allkeys-lru" in finding.what
        shared.redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert found(diagnose(settings)) == []


def test_redis_that_is_not_reached(shared: Site) -> None:
    """It is a finding, and not raised; its password is not shown."""
    settings = Settings(
        consul_addr=shared.fleet.agent.http_addr,
        service=shared.fleet.settings.service,
        session_directory=f"redis://:hidden@{HOST}:1/0",
        keepalive=0.2,
    )
    diagnosis = diagnose(settings)
    assert found(diagnosis) == ["directory.unavailable"]
    assert "hidden" not in repr(diagnosis)


def test_token_that_lacks_a_rule(acl_agent: AclAgent, kato: StandInKato) -> None:
    """With the documented policies it works; a client's alone is not enough."""
    acl_agent.register("kato", "kato-1", kato.host, kato.port)
    for rules, names in (
        (policy("client", "kato"), ["directory.denied"]),
        (policy("client", "kato") + policy("sessions", "kato"), []),
    ):
        settings = Settings(
            consul_addr=acl_agent.http_addr,
            consul_token=acl_agent.token(rules),
            session_directory="consul",
            keepalive=0.2,
        )
        assert found(diagnose(settings)) == names


@pytest.fixture(scope="module")
def acl_agent() -> Iterator[AclAgent]:
    """An agent that denies by default."""
    with AclAgent() as running:
        yield running


@pytest.fixture
def kato(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInKato]:
    """An instance."""
    with StandInKato(store=tmp_path_factory.mktemp("kato") / "store.sqlite") as running:
        yield running
