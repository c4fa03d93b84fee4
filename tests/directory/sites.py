"""A deployment with a session directory, in Consul or in Redis: for tests of what users hold."""

from collections.abc import Iterator
from contextlib import contextmanager

from kato_consul import Settings
from kato_consul.testing import Fleet
from kato_consul.testing.redis import RedisServer
from tests.cli.running import fresh_name

KINDS = ("consul", "redis")


class Site:
    """One instance of a service of its own, and its session directory. ``directory`` is what
    ``KATO_CONSUL_SESSION_DIRECTORY`` is set to."""

    def __init__(self, fleet: Fleet, directory: str, redis: RedisServer | None) -> None:
        self.fleet = fleet
        self.directory = directory
        self.redis = redis

    def settings(self, service: str = "", **given: object) -> Settings:
        """Return the settings of a client."""
        return Settings(
            consul_addr=self.fleet.agent.http_addr,
            service=service or self.fleet.settings.service,
            session_directory=self.directory,
            **given,  # type: ignore[arg-type]
        )

    def env(self, service: str = "") -> dict[str, str]:
        """Return the same as variables."""
        return {
            "CONSUL_HTTP_ADDR": self.fleet.agent.http_addr,
            "KATO_CONSUL_SERVICE": service or self.fleet.settings.service,
            "KATO_CONSUL_SESSION_DIRECTORY": self.directory,
        }


@contextmanager
def site(kind: str, password: str = "") -> Iterator[Site]:
    """Start a deployment."""
    with Fleet(1, registered=True, service=fresh_name()) as fleet:
        if kind == "consul":
            yield Site(fleet, "consul", None)
        else:
            with RedisServer(password=password) as server:
                yield Site(fleet, server.url, server)
