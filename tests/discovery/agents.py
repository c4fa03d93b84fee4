"""Services at a real agent, without instances behind them, for tests of discovery."""

from collections.abc import Callable
from typing import Any

import httpx

from kato_consul import Discovery, Settings, Snapshot
from kato_consul.testing import ConsulAgent
from tests.testing.waiting import eventually


def http(agent: ConsulAgent, method: str, path: str, body: Any = None) -> Any:
    """Send a request to the agent without this package, and return the decoded response."""
    response = httpx.request(method, f"{agent.url}{path}", json=body, trust_env=False, timeout=30)
    return response.raise_for_status().json() if response.content else None


def register(agent: ConsulAgent, name: str, number: int, **more: Any) -> None:
    """Register an instance. Without a check it is passing."""
    body = {"Name": name, "ID": f"{name}-{number}", "Port": 8000 + number, **more}
    http(agent, "PUT", "/v1/agent/service/register", body)


def register_critical(agent: ConsulAgent, name: str, number: int) -> None:
    """Register an instance with a critical check."""
    register(agent, name, number, Check={"TTL": "1h", "Status": "critical", "Notes": "failed"})


def deregister(agent: ConsulAgent, name: str, number: int) -> None:
    """Deregister an instance."""
    http(agent, "PUT", f"/v1/agent/service/deregister/{name}-{number}")


def settings_for(*agents: ConsulAgent, **more: Any) -> Settings:
    """Return settings with these agents."""
    return Settings(consul_addr=",".join(one.http_addr for one in agents), **more)


def ids(snapshot: Snapshot | None) -> list[str]:
    """Return the ids in a snapshot."""
    return [one.id for one in snapshot.instances] if snapshot else []


def discovers(discovery: Discovery, *expected: str) -> bool:
    """Return whether the snapshot gets exactly these ids, within a time limit."""
    return eventually(lambda: ids(discovery.current) == list(expected))


def discovered(settings: Settings, *, when: Callable[[Snapshot], bool] = bool) -> list[str]:
    """Return the ids in the first snapshot for which ``when`` is true."""
    with Discovery(settings) as discovery:
        for snapshot in discovery.changes():
            if when(snapshot):
                return ids(snapshot)
    raise AssertionError
