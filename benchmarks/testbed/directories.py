"""Session directories to measure: an agent in dev mode, a cluster of three servers on disk, and
Redis; what each has written so far."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import redis

from benchmarks.testbed.processes import SERVICE, register
from kato_consul.testing import ConsulAgent, ConsulCluster, Fleet
from kato_consul.testing.redis import RedisServer

CONSUL, CLUSTER, REDIS = "Consul", "Consul cluster", "Redis"
DIRECTORIES = (CONSUL, CLUSTER, REDIS)


@dataclass(frozen=True)
class RunningDirectory:
    """A directory with instances of KATO.

    ``consul`` is the agent's address, ``setting`` the value of ``Settings.session_directory``.
    ``write`` writes one key as any program would, and may be called by several threads. ``writes``
    returns the number of writes so far: entries of Consul's Raft log, or scripts that Redis ran.
    """

    consul: str
    setting: str
    write: Callable[[], object]
    writes: Callable[[], int]


@contextlib.contextmanager
def start_directory(name: str) -> Iterator[RunningDirectory]:
    """Start a directory, and three stand-in instances that share a store."""
    with contextlib.ExitStack() as stack:
        fleet = stack.enter_context(Fleet(3))
        agent: ConsulAgent = fleet.agent
        if name == CLUSTER:
            agent = stack.enter_context(ConsulCluster(servers=3, clients=1)).clients[0]
        for service_id, instance in fleet.instances.items():
            register(agent, SERVICE, service_id, instance.port)
        if name == REDIS:
            server = stack.enter_context(RedisServer())
            client = stack.enter_context(redis.Redis.from_url(server.url))
            yield RunningDirectory(
                agent.http_addr,
                server.url,
                lambda: client.set("bare", "1"),
                lambda: _script_calls(client),
            )
            return
        http = stack.enter_context(httpx.Client(base_url=agent.url, trust_env=False))
        yield RunningDirectory(
            agent.http_addr,
            "consul",
            lambda: http.put("/v1/kv/bare", content=b"1").raise_for_status(),
            lambda: _raft_index(http),
        )


def _script_calls(client: redis.Redis) -> int:
    """Return how many scripts were run: each is one command of the directory."""
    stats = client.info("commandstats")
    assert isinstance(stats, dict)
    calls = (stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))
    return sum(calls)


def _raft_index(http: httpx.Client) -> int:
    """Return the length of the Raft log, by a write of our own, which is not counted."""
    http.put("/v1/kv/count", content=str(time.monotonic_ns())).raise_for_status()
    (record,) = http.get("/v1/kv/count", params={"consistent": ""}).raise_for_status().json()
    return int(record["ModifyIndex"])
