"""Site of shared sessions: KATO instances, a directory, and clients that share their sessions.

Each client has a proxy of its own before the directory, and all have one before each instance.
"""

import contextlib
import uuid
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from kato_consul import Settings
from kato_consul._directory.entry import Entry
from kato_consul.testing import ConsulAgent, FaultProxy, StandInKato
from kato_consul.testing.fault_plan import no_fault
from kato_consul.testing.history import Final, read_session
from kato_consul.testing.redis import RedisServer
from kato_consul.testing.scratch import ScratchFolder
from tests.directory.clients import DirectoryClient
from tests.directory.redis.owners import Owner, mark_settled
from tests.directory.tcp_proxy import TcpProxy
from tests.shared_sessions.clients import Client, Shell
from tests.shared_sessions.processes import Process

Kind = Literal["consul", "redis"]

KINDS: tuple[Kind, ...] = ("consul", "redis")


@dataclass
class Deployment:
    """The processes of a module's tests: instances, each behind a proxy, an agent and a Redis."""

    instances: list[StandInKato]
    proxies: list[FaultProxy]
    agent: ConsulAgent
    redis: RedisServer

    def in_flight(self) -> bool:
        """Return whether a request has not been answered by its proxy."""
        return any(proxy._in_flight for proxy in self.proxies)

    def heal(self) -> None:
        """End all faults of the instances and their proxies."""
        for proxy in self.proxies:
            proxy.plan = no_fault
            proxy.hang_for = None
            proxy.release()
        for instance in self.instances:
            instance.repair()


@contextlib.contextmanager
def deployed(instances: int = 2) -> Iterator[Deployment]:
    """Start the processes."""
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(ScratchFolder("kato-consul-shared-")).path
        agent = opened.enter_context(ConsulAgent())
        redis = opened.enter_context(RedisServer(config={"maxmemory-policy": "noeviction"}))
        katos = [StandInKato(store=folder / "store.sqlite") for _ in range(instances)]
        for kato in katos:
            opened.enter_context(kato)
        proxies = [opened.enter_context(FaultProxy(kato.url)) for kato in katos]
        yield Deployment(katos, proxies, agent, redis)


class Site:
    """One service of a deployment, and its clients. ``links`` are the proxies between the clients
    and the directory, in the order in which the clients were created.

    Args:
        deployment: the processes.
        kind: which directory the clients use.
        port: the port of a directory that only this service uses; the deployment's unless given.
    """

    def __init__(self, deployment: Deployment, kind: Kind, port: int | None = None) -> None:
        self.deployment = deployment
        self.kind = kind
        self.service = f"kato-{uuid.uuid4().hex[:8]}"
        self._opened = contextlib.ExitStack()
        self.links: list[TcpProxy] = []
        self.port = port or self._default_port()
        if kind == "redis" and port is None:
            mark_settled(deployment.redis, self.service)
        if kind == "consul":
            self.register()

    def _default_port(self) -> int:
        if self.kind == "redis":
            return self.deployment.redis.port
        return int(self.deployment.agent.http_addr.rpartition(":")[2])

    def register(self) -> None:
        """Register the instances with the agent, without checks."""
        for number, proxy in enumerate(self.deployment.proxies):
            payload = {
                "Name": self.service,
                "ID": f"{self.service}-{number}",
                "Address": proxy.host,
                "Port": proxy.port,
            }
            url = f"http://127.0.0.1:{self.port}/v1/agent/service/register"
            httpx.put(url, json=payload, trust_env=False).raise_for_status()

    def settings(self, link: TcpProxy | None = None, **more: Any) -> dict[str, Any]:
        """Return the settings of a client, whose link to the directory this is."""
        port = self.port if link is None else link.port
        given: dict[str, Any] = {"service": self.service, "trust_env": False, **more}
        if self.kind == "consul":
            return {**given, "consul_addr": f"127.0.0.1:{port}", "session_directory": "consul"}
        urls = tuple(proxy.url for proxy in self.deployment.proxies)
        url = f"redis://127.0.0.1:{port}/0"
        return {**given, "kato_urls": urls, "session_directory": url}

    def client(self, shell: Shell = "sync", *, password: str = "", **settings: Any) -> Client:
        """Create a client, with a link of its own to the directory. ``password`` is Redis'."""
        link = self._opened.enter_context(TcpProxy(self.port))
        self.links.append(link)
        given = self.settings(link, **settings)
        if password:
            given["session_directory"] = f"redis://:{password}@127.0.0.1:{link.port}/0"
        return self._opened.enter_context(Client(Settings(**given), shell))

    def process(self, shell: Shell = "sync", *, linked: bool = False, **settings: Any) -> Process:
        """Start a process with a client of its own; ``linked``: with a link to the directory."""
        link = None
        if linked:
            link = self._opened.enter_context(TcpProxy(self.port))
            self.links.append(link)
        return self._opened.enter_context(Process(self.settings(link, **settings), shell))

    def close(self) -> None:
        """End all faults, and close the clients."""
        self.deployment.heal()
        for link in self.links:
            link.delay = 0.0
            link.hold(False)
        self._opened.close()

    def entry(self, key: str) -> Entry | None:
        """Return what the directory has of a session."""
        if self.kind == "redis":
            owner = Owner(f"redis://127.0.0.1:{self.port}/0", self.service)
            try:
                return owner.entry(key)
            finally:
                owner.close()
        with DirectoryClient(f"127.0.0.1:{self.port}", self.service) as client:
            return client.entry(key)

    def dump(self) -> str:
        """Return all that the directory has of the service."""
        if self.kind == "redis":
            redis = self.deployment.redis
            entries = redis.command("KEYS", f"kato-consul:{{{self.service}}}:entry:*")
            return "\n".join(str(redis.command("HGETALL", key)) for key in entries)
        url = f"http://127.0.0.1:{self.port}/v1/kv/kato-consul/{self.service}/"
        records = httpx.get(url, params={"recurse": ""}, trust_env=False).json()
        values = [f"{one['Key']} {b64decode(one['Value'] or '').decode()}" for one in records]
        return "\n".join(values)

    def instance(self, uid: str | None) -> StandInKato:
        """Return the instance that a client calls so."""
        by_uid = {f"{self.service}-{n}": n for n in range(len(self.deployment.proxies))}
        by_uid |= {
            f"{proxy.host}:{proxy.port}": number
            for number, proxy in enumerate(self.deployment.proxies)
        }
        return self.deployment.instances[by_uid[str(uid).removeprefix("http://")]]

    def wipe(self) -> None:
        """Delete all that the directory has of the service, as an operator may."""
        if self.kind == "redis":
            redis = self.deployment.redis
            for key in redis.command("KEYS", f"kato-consul:{{{self.service}}}:*"):
                redis.command("DEL", key)
            return
        url = f"http://127.0.0.1:{self.port}/v1/kv/kato-consul/{self.service}/"
        httpx.delete(url, params={"recurse": ""}, trust_env=False).raise_for_status()

    def stored(self, session_id: str | None) -> Final | None:
        """Return what KATO has of a session, read without the client."""
        return read_session(self.deployment.instances[0].url, session_id)

    def stored_symbols(self, session_id: str | None) -> list[str]:
        """Return the symbols that KATO has in a session, of events with one symbol each."""
        found = self.stored(session_id)
        return [] if found is None else [symbol for (symbol,) in found.stm]
