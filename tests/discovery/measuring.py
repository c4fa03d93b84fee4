"""What discovery costs, and how soon it is back: measured, and asserted nowhere.

python -m tests.discovery.measuring costs
python -m tests.discovery.measuring recovery --rounds 10
"""

import argparse
import json
import statistics
import sys
import time
from typing import Any

import httpx

from kato_consul import Discovery
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.health_query import HealthQuery, HealthResponse
from kato_consul._flow import Reply
from kato_consul._observable import SnapshotStore
from kato_consul.testing import ConsulCluster
from tests.discovery.agents import at, put, sees

INSTANCES = 1_000
LOOK = HealthQuery("kato")
STEP = 0.002
"""Seconds between two looks at whether Consul is back."""


def entry(number: int, status: str) -> dict[str, Any]:
    """An instance as Consul 1.8 lists it, everything included."""
    node, service = f"agent-{number}", f"kato-{number}"
    addresses = dict.fromkeys(("lan", "lan_ipv4", "wan", "wan_ipv4"), "10.0.0.5")
    indexes = {"CreateIndex": 11, "ModifyIndex": 12}
    check = {"Node": node, "Notes": "", "ServiceTags": ["v3"], "Definition": {}, **indexes}
    return {
        "Node": {
            "ID": "987b1ad8-8d23-704e-c932-f60e0019469c",
            "Node": node,
            "Address": "10.0.0.5",
            "Datacenter": "dc1",
            "TaggedAddresses": addresses,
            "Meta": {"consul-network-segment": ""},
            **indexes,
        },
        "Service": {
            "ID": service,
            "Service": "kato",
            "Tags": ["v3", "blue"],
            "Address": "",
            "Meta": {"version": "3.10.1", "zone": "eu-1", "base_processor_id": "kato"},
            "Port": 8000,
            "Weights": {"Passing": 1, "Warning": 1},
            "EnableTagOverride": False,
            "Proxy": {"MeshGateway": {}, "Expose": {}},
            "Connect": {},
            **indexes,
        },
        "Checks": [
            {**check, "CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "passing",
             "Output": "Agent alive and reachable", "ServiceID": "", "ServiceName": ""},
            {**check, "CheckID": f"kato-probe:{service}", "Name": "kato", "Status": status,
             "Output": "ok", "ServiceID": service, "ServiceName": "kato"},
        ],
    }  # fmt: skip


def body(ill: int) -> bytes:
    """An answer in which one instance is ill."""
    numbers = range(INSTANCES)
    return json.dumps([entry(n, "critical" if n == ill else "passing") for n in numbers]).encode()


def costs(rounds: int) -> None:
    """CPU of a wake-up, from the answer's bytes to what readers see."""
    api, store = ConsulApi("http://127.0.0.1:1"), SnapshotStore("kato")
    bodies = [body(ill) for ill in range(rounds)]
    last: HealthResponse | None = None

    def woken(answer: bytes, index: int, asked: int) -> float:
        nonlocal last
        reply = Reply(200, {"x-consul-index": str(index)}, answer)
        began = time.process_time()
        last = api.query_health(LOOK, index=asked, wait=60.0, last=last).parse(reply)
        store.publish(last.snapshot, 0.0)
        assert store.current is not None
        _ = store.current.usable
        return (time.process_time() - began) * 1_000

    sys.stdout.write(
        f"{INSTANCES} instances, {len(bodies[0]):,} bytes; CPU in ms: median, largest\n"
    )
    tell("one instance changed", [woken(one, n + 2, n + 1) for n, one in enumerate(bodies)])
    same = bodies[-1]
    tell("the same bytes", [woken(bytes(bytearray(same)), n + 500, n + 499) for n in range(rounds)])
    tell("the same index", [woken(bytes(bytearray(same)), 900, 900) for n in range(rounds)])


def recovery(rounds: int) -> None:
    """From the first answer that anybody gets of a server that was killed and started again, to
    the watch's own."""
    took = []
    with ConsulCluster(servers=1, clients=0) as cluster:
        (server,) = cluster.servers
        put(server, "kato", 1)
        with Discovery(at(server)) as discovery:
            assert sees(discovery, "kato-1")
            for _ in range(rounds):
                server.kill()
                time.sleep(2.0)
                server._launch()
                back = answering(f"{server.url}/v1/health/service/kato")
                store = discovery._service.store
                while store.last_error is not None:
                    time.sleep(STEP)
                took.append((max(0.0, (store.confirmed_at or 0.0) - back)) * 1_000)
    sys.stdout.write(f"killed, 2 s away, started: ms until the watch is back, {rounds} rounds\n")
    tell("recovery", took)


def answering(url: str) -> float:
    """When the first good answer came."""
    with httpx.Client(trust_env=False, timeout=10.0) as http:
        while True:
            try:
                if http.get(url).is_success:
                    return time.monotonic()
            except httpx.HTTPError:
                pass
            time.sleep(STEP)


def tell(name: str, values: list[float]) -> None:
    """One line of the result."""
    sys.stdout.write(f"  {name}: {statistics.median(values):.3f}, {max(values):.3f}\n")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["costs", "recovery"])
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    (costs if asked.what == "costs" else recovery)(asked.rounds)


if __name__ == "__main__":
    main()
