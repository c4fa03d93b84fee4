"""What Consul's KV store has of a service's sessions, read without the directory."""

from typing import Any

import httpx

from kato_consul._directory.consul_keys import Keys
from kato_consul.testing import ConsulAgent


def keys(agent: ConsulAgent, service: str) -> dict[str, dict[str, Any]]:
    """Return all records of a service, by the rest of their keys."""
    prefix = Keys(service).prefix
    answer = httpx.get(f"{agent.url}/v1/kv/{prefix}", params={"recurse": ""}, trust_env=False)
    records = answer.json() if answer.is_success else []
    return {record["Key"].removeprefix(prefix): record for record in records}


def waiters(agent: ConsulAgent, service: str, key: str) -> list[str]:
    """Return the keys of a session's waiters."""
    place = Keys(service).place(key)
    start = place.waiters.removeprefix(Keys(service).prefix)
    return [name for name in keys(agent, service) if name.startswith(start)]
