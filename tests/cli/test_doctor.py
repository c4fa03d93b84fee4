"""`kato-consul doctor`: on real instances with real problems."""

import itertools
import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from kato_consul import (
    CheckDefinition,
    ProbeDefinition,
    Registrar,
    ServiceDefinition,
    Settings,
)
from kato_consul.testing import ConsulAgent, StandInKato, find_consul
from kato_consul.testing.ports import free_ports
from tests.cli.running import HTTP, agent_env, healths, kato_consul, processes
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def leaderless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one server of three: alone, it elects no leader."""
    http, lan, server = free_ports(3)
    ports = {"http": http, "serf_lan": lan, "server": server, "dns": -1, "serf_wan": -1}
    settings = {"server": True, "bootstrap_expect": 3, "bind_addr": "127.0.0.1", "ports": ports}
    folder = tmp_path_factory.mktemp("leaderless")
    (folder / "config.json").write_text(json.dumps({**settings, "data_dir": str(folder / "data")}))
    argv = [str(find_consul()), "agent", "-config-file", str(folder / "config.json")]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{http}/v1/status/leader"
            assert eventually(lambda: responds(url))
            yield f"127.0.0.1:{http}"
        finally:
            process.kill()


def responds(url: str) -> bool:
    """Return whether a request to the URL gets a response."""
    try:
        return HTTP.get(url).status_code > 0
    except httpx.TransportError:
        return False


LONG_KEEP_ALIVE = 60
"""Seconds. Doctor leaves connections idle for 4 s. KATO's default of 5 s leaves a margin of 1 s,
which is too little on a busy machine."""


class Pool:
    """Instances of one service, registered with a plain check of /health."""

    def __init__(self, agent: ConsulAgent, service: str, store: Path) -> None:
        self.agent, self.service, self.store = agent, service, store
        self.instances: dict[str, StandInKato] = {}
        self._open = ExitStack()

    def add(self, number: int, **given: Any) -> StandInKato:
        """Start another instance and register it."""
        options = {"name": self.service, "keep_alive": LONG_KEEP_ALIVE, **given}
        instance = StandInKato(store=self.store, **options)
        self._open.enter_context(instance)
        self.instances[f"{self.service}-{number}"] = instance
        check = CheckDefinition(http=f"{instance.url}/health", interval="200ms", timeout="10s")
        definition = ServiceDefinition(
            name=self.service,
            id=f"{self.service}-{number}",
            address=instance.host,
            port=instance.port,
            check=check,
        )
        settings = Settings(consul_addr=self.agent.http_addr)
        self._open.enter_context(Registrar([definition], settings))
        return instance

    def close(self) -> None:
        """Deregister and end all instances."""
        self._open.close()

    def findings(self) -> tuple[int, dict[str, str]]:
        """Run doctor; return its exit code, and the place of each finding by name."""
        done = kato_consul("doctor", "--json", "--service", self.service, env=agent_env(self.agent))
        found = json.loads(done.stdout)["findings"]
        return done.returncode, {one["name"]: one["where"] for one in found}


@pytest.fixture
def pool(agent: ConsulAgent, service: str, tmp_path: Path) -> Iterator[Pool]:
    """A pool of two."""
    running = Pool(agent, service, tmp_path / "store.sqlite")
    try:
        running.add(1)
        running.add(2)
        yield running
    finally:
        running.close()


def test_healthy_pool(pool: Pool) -> None:
    """A healthy pool: exit 0, and one line that reports it."""
    done = kato_consul("doctor", "--service", pool.service, env=agent_env(pool.agent))
    assert done.returncode == 0, done.stdout
    assert done.stdout == f"{pool.service}: checked Consul and 2 instances: no problems\n"
    assert "keeping connections idle for 4 s" in done.stderr


def test_many_problems(pool: Pool) -> None:
    """A dead store behind a passing check, another SERVICE_NAME, several workers, short keep-alive
    and a dead instance: each is found in the right place; exit 9."""
    first, second = pool.instances.values()
    third = pool.add(3, name="another", workers=2)
    assert eventually(lambda: processes(third) == 2)  # the second is up later than the first
    pool.add(4, keep_alive=1)
    first.switch(store="down")
    second.kill()
    code, found = pool.findings()
    assert code == 9
    assert found["check.false-passing"].startswith(pool.service)
    assert found["pool.knowledge"] == f"service {pool.service!r}"
    assert found["instance.workers"] == f"{pool.service}-3"
    assert found["instance.keepalive"] == f"{pool.service}-4"
    assert {"instance.unreachable", "instance.stale"} & set(found)


def test_hung_and_busy_instances(pool: Pool) -> None:
    """A frozen instance is hung, neither gone nor at a wrong address; a busy one is a note."""
    first, second = pool.instances.values()
    first.freeze()
    second.switch(issues=["High CPU usage"])
    try:
        done = kato_consul("doctor", "--service", pool.service, env=agent_env(pool.agent))
    finally:
        first.thaw()
    assert done.returncode == 9
    hung, what_to_do = done.stdout.splitlines()[:2]
    assert hung.startswith(f"error: {pool.service}-1: hung: it accepts connections and does not")
    assert "restart it" in what_to_do
    assert "KATO reports degraded: High CPU usage" in done.stdout
    assert "instance.stale" not in done.stdout
    assert "instance.unreachable" not in done.stdout


def put(agent: ConsulAgent, path: str, body: Any = None) -> None:
    """Send a PUT request to the agent, without this library."""
    HTTP.put(f"{agent.url}/v1{path}", json=body).raise_for_status()


def test_registrations_with_problems(pool: Pool) -> None:
    """An instance of a dead node, two services with one check id, a TTL check without a registrar,
    and a registration that changes all the time: each is found, and nothing leads to the agent of
    the dead node."""
    agent, name = pool.agent, pool.service
    kato = pool.instances[f"{name}-1"]

    def service(service_id: str, check: dict[str, Any], **more: Any) -> dict[str, Any]:
        known: dict[str, Any] = {
            "ID": service_id,
            "Name": name,
            "Address": kato.host,
            "Port": kato.port,
        }
        return {**known, "Check": check, **more}

    box = f"box-{name}"
    check = {"Node": box, "CheckID": "serfHealth", "Name": "Serf", "Status": "critical"}
    ghost = {"ID": f"{name}-9", "Service": name, "Port": 9}
    body = {"Node": box, "Address": "127.0.0.9", "Service": ghost, "Checks": [check]}
    put(agent, "/catalog/register", body)
    shared = {"CheckID": f"alive-{name}", "TTL": "1h", "Status": "passing"}
    for service_id in ("robbed", "robber"):
        put(agent, "/agent/service/register", service(f"{name}-{service_id}", shared))
    orphan = f"{name}-orphan"
    ttl = {"CheckID": f"kato-probe:{orphan}", "TTL": "100ms"}
    put(agent, "/agent/service/register", service(orphan, ttl))
    over = threading.Event()

    def register_in_turn() -> None:
        # Once a minute, Consul removes dead nodes that were never members of the cluster. And two
        # owners in turn might be the same one at each of doctor's reads.
        owners = (f"host-{number}:/kato.toml" for number in itertools.count())
        check = {"CheckID": f"own-{name}", "TTL": "1h", "Status": "passing"}
        while not over.wait(0.05):
            meta = {"registrar": next(owners)}
            put(agent, "/agent/service/register", service(f"{name}-two", check, Meta=meta))
            put(agent, "/catalog/register", body)

    with ThreadPoolExecutor(1) as threads:
        registering = threads.submit(register_in_turn)
        try:
            command = ["doctor", "--json", "--service", name]
            done = kato_consul(*command, env=agent_env(agent))
        finally:
            over.set()
        registering.result()
    put(agent, "/catalog/deregister", {"Node": box})
    for service_id in ("robbed", "robber", "orphan", "two"):
        put(agent, f"/agent/service/deregister/{name}-{service_id}")

    assert done.stdout.count("\n") == 1
    listed = json.loads(done.stdout)["findings"]
    found = {(one["name"], one["where"]): one["todo"] for one in listed}
    assert found.keys() == {
        ("instance.no-address", f"{name}-9"),
        ("instance.dead-node", f"{name}-9"),
        ("check.none", f"{name}-robbed"),
        ("check.expired", orphan),
        ("instance.flapping", f"{name}-two"),
    }
    remove = found["instance.dead-node", f"{name}-9"]
    assert f"'kato-consul deregister {name}-9 --node {box}', with any agent" in remove
    seen = found["instance.flapping", f"{name}-two"].partition("; seen: ")[2].split(" and ")
    assert len(seen) > 1
    assert all(one.endswith(":/kato.toml") for one in seen)


def test_instance_that_its_registrar_waits_for(pool: Pool) -> None:
    """While a registrar reports that an instance does not respond, it is not to be deregistered by
    hand: the registrar would register it again."""
    kato = pool.add(3)
    definition = ServiceDefinition(
        name=pool.service,
        id=f"{pool.service}-4",
        address=kato.host,
        port=kato.port,
        probe=ProbeDefinition(interval="200ms", timeout="1s"),
    )
    with Registrar([definition], Settings(consul_addr=pool.agent.http_addr)):
        kato.kill()
        critical = {f"{pool.service}-3": "critical", f"{pool.service}-4": "critical"}
        assert eventually(lambda: critical.items() <= healths(pool.agent, pool.service).items())
        command = ["doctor", "--json", "--service", pool.service]
        done = kato_consul(*command, env=agent_env(pool.agent))
    listed = json.loads(done.stdout)["findings"]
    todo = {one["where"]: one["todo"] for one in listed if one["name"] == "instance.stale"}
    assert f"kato-consul deregister {pool.service}-3" in todo[f"{pool.service}-3"]
    assert "deregister " not in todo[f"{pool.service}-4"]
    assert "end the registrar" in todo[f"{pool.service}-4"]


def test_service_that_is_not_kato(agent: ConsulAgent, service: str) -> None:
    """A healthy service with a /health of its own is a note: exit 0, and nothing is created."""
    requests: list[str] = []

    class Orders(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(f"GET {self.path}")
            body = b'{"status": "ok"}' if self.path == "/health" else b"no such page"
            self.send_response(200 if self.path == "/health" else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            requests.append(f"POST {self.path}")
            self.send_error(405)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", free_ports(1)[0]), Orders) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        port = int(server.server_address[1])
        check = CheckDefinition(http=f"http://127.0.0.1:{port}/health", interval="200ms")
        definition = ServiceDefinition(name=service, address="127.0.0.1", port=port, check=check)
        with Registrar([definition], Settings(consul_addr=agent.http_addr)):
            done = kato_consul("doctor", "--service", service, env=agent_env(agent))
        server.shutdown()
    assert done.returncode == 0, done.stdout
    assert "instance.not-kato" in done.stdout
    assert "check.false-passing" not in done.stdout
    assert [one for one in requests if one.startswith("POST")] == []


def test_full_store(pool: Pool) -> None:
    """A store that serves reads but no writes is found, though a plain check is passing; doctor
    deletes its session from an instance that works."""
    first, second = pool.instances.values()
    first.switch(store="full")
    code, found = pool.findings()
    assert (code, found) == (9, {"check.false-passing": f"{pool.service}-1"})
    assert httpx.get(f"{second.url}/sessions/count").json() == {"active_session_count": 0}


def test_static_list_without_consul(pool: Pool) -> None:
    """With KATO_URL alone, the instances are checked, and Consul is not asked for."""
    urls = " ".join(one.url for one in pool.instances.values())
    done = kato_consul("doctor", env={"KATO_URL": urls})
    assert done.returncode == 0, done.stdout
    assert "[consul.none]" in done.stdout
    assert done.stdout.endswith("kato: checked 2 instances: no problems\n")
    assert "Consul" not in done.stderr


def test_no_instance_registered(agent: ConsulAgent, service: str) -> None:
    """No instance at all is an error, with advice."""
    done = kato_consul("doctor", "--service", service, env=agent_env(agent))
    assert done.returncode == 9
    assert "no instance is registered [pool.empty]" in done.stdout


def test_no_consul() -> None:
    """An unreachable Consul is the only finding, with advice; exit 3, as of every command."""
    done = kato_consul("doctor", "--consul", "127.0.0.1:1")
    assert done.returncode == 3
    assert "error: consul: no answer from Consul at http://127.0.0.1:1" in done.stdout
    assert "CONSUL_HTTP_ADDR or --consul" in done.stdout
    done = kato_consul("doctor", "--consul", "127.0.0.1:1", "--json")
    (found,) = json.loads(done.stdout)["findings"]
    assert (done.returncode, found["name"]) == (3, "consul.unreachable")


def test_no_leader(leaderless: str) -> None:
    """A server without a leader answers no other query: this is the only finding; exit 9."""
    done = kato_consul("doctor", "--json", "--consul", leaderless)
    (found,) = json.loads(done.stdout)["findings"]
    assert (done.returncode, found["name"]) == (9, "consul.no-leader")
