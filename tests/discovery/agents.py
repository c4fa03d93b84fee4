"""Services in a real agent, without instances behind them: for tests of what is found."""

from collections.abc import Callable
from typing import Any

import httpx

from kato_consul import Discovery, Settings, Snapshot
from kato_consul.testing import ConsulAgent
from tests.testing.waiting import eventually


def http(agent: ConsulAgent, method: str, path: str, body: Any = None) -> Any:
    """Ask the agent, past our client; its answer, read."""
    answer = httpx.request(method, f"{agent.url}{path}", json=body, trust_env=False, timeout=30)
    return answer.raise_for_status().json() if answer.content else None


def put(agent: ConsulAgent, name: str, number: int, **more: Any) -> None:
    """Register an instance; without a check it is passing."""
    body = {"Name": name, "ID": f"{name}-{number}", "Port": 8000 + number, **more}
    http(agent, "PUT", "/v1/agent/service/register", body)


def critical(agent: ConsulAgent, name: str, number: int) -> None:
    """Register an instance whose check says nothing good."""
    put(agent, name, number, Check={"TTL": "1h", "Status": "critical", "Notes": "ill"})


def take_out(agent: ConsulAgent, name: str, number: int) -> None:
    """Deregister it."""
    http(agent, "PUT", f"/v1/agent/service/deregister/{name}-{number}")


def at(*agents: ConsulAgent, **more: Any) -> Settings:
    """Settings for these agents."""
    return Settings(consul_addr=",".join(one.http_addr for one in agents), **more)


def ids(snapshot: Snapshot | None) -> list[str]:
    """The ids in a snapshot."""
    return [one.id for one in snapshot.instances] if snapshot else []


def sees(discovery: Discovery, *expected: str) -> bool:
    """Does it come to see these instances, and no others?"""
    return eventually(lambda: ids(discovery.current) == list(expected))


def found(settings: Settings, *, when: Callable[[Snapshot], bool] = bool) -> list[str]:
    """The ids that a discovery finds."""
    with Discovery(settings) as discovery:
        for snapshot in discovery.changes():
            if when(snapshot):
                return ids(snapshot)
    raise AssertionError
