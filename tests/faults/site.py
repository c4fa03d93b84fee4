"""Deployment of the fault cells: one agent, three stand-in instances, a proxy before each."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import httpx

from kato_consul import CheckDefinition, ServiceDefinition, Settings
from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet, StandInKato
from kato_consul.testing.fault_plan import no_fault
from kato_consul.testing.fault_proxy import FaultProxy
from tests.faults.work import Run


@dataclass
class Site:
    """One service in Consul: the fleet's instances, each behind a proxy or at its own address.

    ``consul`` is a proxy before the agent, for cells about the connection to Consul.
    """

    fleet: Fleet
    service: str
    proxies: dict[str, FaultProxy]
    consul: FaultProxy | None = None
    cut_off: bool = False

    @property
    def instances(self) -> dict[str, StandInKato]:
        """The instances by their service ids in Consul."""
        return {
            f"{self.service}-{number}": one
            for number, one in enumerate(self.fleet.instances.values(), 1)
        }

    @property
    def settings(self) -> Settings:
        """A client's settings."""
        settings = replace(self.fleet.settings, service=self.service)
        if self.consul is None:
            return settings
        return replace(settings, consul_addr=f"{self.consul.host}:{self.consul.port}")

    def cut_consul_off(self) -> None:
        """Cut the client's connection to Consul, including requests in flight."""
        assert self.consul is not None
        self.consul.__exit__(None, None, None)
        self.cut_off = True

    def connect_consul(self) -> None:
        """Restore the connection to Consul."""
        if self.cut_off and self.consul is not None:
            self.consul.__enter__()
            self.cut_off = False

    @property
    def url(self) -> str:
        """The URL of an instance, without a proxy."""
        return next(iter(self.fleet.instances.values())).url

    def busiest(self, run: Run) -> str:
        """Return the service id of the instance that most sessions used last."""
        used = [facts.instance for facts in run.facts if facts.instance in self.instances]
        assert used
        return str(max(self.instances, key=used.count))

    def heal(self) -> None:
        """End all faults: instances run, switches are reset, proxies forward everything."""
        self.connect_consul()
        for proxy in self.proxies.values():
            proxy.plan = no_fault
            proxy.release()
            proxy.wait_idle()
        for one in self.fleet.instances.values():
            one.switch(slow=0.0, store="up", hung=False)
            if one.running:
                one.thaw()
            else:
                one.start()

    @staticmethod
    def wait_for_late_writes(ids: Iterable[str | None], instance: StandInKato) -> None:
        """Wait until an instance has completed its requests in flight for these sessions.

        An empty sequence changes nothing and waits for the session's lock. It is sent twice: a
        request that arrived at the same time as the first one has the lock before the second.
        """
        ids = [one for one in ids if one is not None]
        with httpx.Client(base_url=instance.url, trust_env=False, timeout=30.0) as http:
            for one in [*ids, *ids]:
                http.post(f"/sessions/{one}/observe-sequence", json={"observations": []})


@contextlib.contextmanager
def registered(
    fleet: Fleet, service: str, *, proxied: bool, consul_proxied: bool = False
) -> Iterator[Site]:
    """Register the fleet's instances under a separate service name, and wait until they pass."""
    with contextlib.ExitStack() as opened:
        proxies = {}
        definitions = []
        for number, one in enumerate(fleet.instances.values(), 1):
            service_id = f"{service}-{number}"
            host, port = one.host, one.port
            if proxied:
                proxy = proxies[service_id] = opened.enter_context(FaultProxy(one.url))
                host, port = proxy.host, proxy.port
            check = CheckDefinition(http=f"{one.url}/health", interval="300ms", timeout="1s")
            definitions.append(
                ServiceDefinition(name=service, id=service_id, address=host, port=port, check=check)
            )
        opened.enter_context(Registrar(definitions, fleet.settings))
        consul = FaultProxy(fleet.agent.url) if consul_proxied else None
        yield Site(fleet, service, proxies, opened.enter_context(consul) if consul else None)
