"""Benchmarks of discovery: CPU time of a response, and time to recover. They assert nothing.

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
from tests.discovery.agents import discovers, register, settings_for

INSTANCES = 1_000
QUERY = HealthQuery("kato")
STEP = 0.002
"""Seconds between two polls of a Consul that restarts."""


def entry(number: int, status: str) -> dict[str, Any]:
    """Return the complete record of an instance in Consul 1.8."""
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


def body(critical: int) -> bytes:
    """Return a response in which one instance is critical."""
    numbers = range(INSTANCES)
    return json.dumps(
        [entry(n, "critical" if n == critical else "passing") for n in numbers]
    ).encode()


def costs(rounds: int) -> None:
    """Measure the CPU time from the bytes of a response to the published snapshot."""
    api, store = ConsulApi("http://127.0.0.1:1"), SnapshotStore("kato")
    bodies = [body(critical) for critical in range(rounds)]
    last: HealthResponse | None = None

    def cpu_ms(content: bytes, index: int, query_index: int) -> float:
        nonlocal last
        reply = Reply(200, {"x-consul-index": str(index)}, content)
        started = time.process_time()
        last = api.query_health(QUERY, index=query_index, wait=60.0, last=last).parse(reply)
        store.publish(last.snapshot, 0.0)
        assert store.current is not None
        _ = store.current.usable
        return (time.process_time() - started) * 1_000

    sys.stdout.write(
        f"{INSTANCES} instances, {len(bodies[0]):,} bytes; CPU in ms: median, largest\n"
    )
    print_result(
        "one instance changed", [cpu_ms(one, n + 2, n + 1) for n, one in enumerate(bodies)]
    )
    same = bodies[-1]
    print_result(
        "the same bytes", [cpu_ms(bytes(bytearray(same)), n + 500, n + 499) for n in range(rounds)]
    )
    print_result(
        "the same index", [cpu_ms(bytes(bytearray(same)), 900, 900) for n in range(rounds)]
    )


def recovery(rounds: int) -> None:
    """Measure the time from the first response of a restarted server, to any client, until the
    watch's own response."""
    took = []
    with ConsulCluster(servers=1, clients=0) as cluster:
        (server,) = cluster.servers
        register(server, "kato", 1)
        with Discovery(settings_for(server)) as discovery:
            assert discovers(discovery, "kato-1")
            for _ in range(rounds):
                server.kill()
                time.sleep(2.0)
                server._launch()
                back = first_response(f"{server.url}/v1/health/service/kato")
                store = discovery._service.store
                while store.last_error is not None:
                    time.sleep(STEP)
                took.append((max(0.0, (store.confirmed_at or 0.0) - back)) * 1_000)
    sys.stdout.write(f"killed, started after 2 s: ms until the watch recovers, {rounds} rounds\n")
    print_result("recovery", took)


def first_response(url: str) -> float:
    """Return when the first successful response arrived."""
    with httpx.Client(trust_env=False, timeout=10.0) as http:
        while True:
            try:
                if http.get(url).is_success:
                    return time.monotonic()
            except httpx.HTTPError:
                pass
            time.sleep(STEP)


def print_result(name: str, values: list[float]) -> None:
    """Print one line of the result."""
    sys.stdout.write(f"  {name}: {statistics.median(values):.3f}, {max(values):.3f}\n")


def main() -> None:
    """Run the benchmark that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", choices=["costs", "recovery"])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    (costs if options.benchmark == "costs" else recovery)(options.rounds)


if __name__ == "__main__":
    main()
