"""Instances in Consul that are reached over https and behind a path: commands and transports."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kato_consul import (
    AsyncDiscoveryTransport,
    Discovery,
    DiscoveryTransport,
    KatoClient,
    Registrar,
    ServiceDefinition,
    Settings,
)
from kato_consul.testing import ConsulAgent
from tests.cli.running import ENDS_WITHIN, fresh_name, kato_consul, line_with, started
from tests.security.gateway import KEY, Certificates, Gateway
from tests.shells import wire_server
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A Consul agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for all tests."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def gateway(tmp_path: Path, certificates: Certificates) -> Iterator[Gateway]:
    """A gateway over https that requires a key."""
    with Gateway(tmp_path / "store.sqlite", certificates) as running:
        yield running


@pytest.fixture
def env(agent: ConsulAgent, certificates: Certificates, tmp_path: Path) -> dict[str, str]:
    """The variables that commands need to reach the agent and the gateway."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    return {
        "CONSUL_HTTP_ADDR": agent.http_addr,
        "KATO_CACERT": str(certificates.ca),
        "KATO_API_KEY_FILE": str(tmp_path / "key"),
    }


def flags(gateway: Gateway, service: str) -> list[str]:
    """Return the flags that define the gateway as an instance."""
    named = ["--name", service, "--id", f"{service}-1", "--address", gateway.host]
    where = ["--port", str(gateway.port), "--scheme", "https", "--path", "/kato"]
    return [*named, *where, "--interval", "1s"]


def settings(agent: ConsulAgent, certificates: Certificates, **given: Any) -> Settings:
    """Return settings in code for the agent and the gateway."""
    return Settings(
        trust_env=False,
        consul_addr=agent.http_addr,
        kato_cacert=certificates.ca,
        kato_api_key=KEY,
        deadline=20.0,
        **given,
    )


def put(agent: ConsulAgent, service: str, port: int, **more: Any) -> None:
    """Register an instance without checks."""
    body = {"Name": service, "ID": f"{service}-1", "Address": "127.0.0.1", "Port": port, **more}
    url = f"{agent.url}/v1/agent/service/register"
    httpx.put(url, json=body, trust_env=False).raise_for_status()


def test_run_probes_over_https_and_others_find_it(
    agent: ConsulAgent, gateway: Gateway, env: dict[str, str], certificates: Certificates
) -> None:
    """`run` registers scheme and path, and its probe passes; `instances`, `doctor`, `drain` and a
    client reach the instance with what Consul has."""
    service = fresh_name()
    named = ["--service", service]
    with started("run", *flags(gateway, service), env=env) as process:
        line_with(process, "all registered")
        listed = json.loads(kato_consul("instances", *named, "--json", env=env).stdout)
        (one,) = listed["instances"]
        assert (one["scheme"], one["path"], one["used"]) == ("https", "/kato", True)
        assert gateway.url in kato_consul("instances", *named, env=env).stdout
        with KatoClient(settings(agent, certificates, service=service)) as kato:
            assert kato.observe("user-1", ["a"])["time"] == 1
        done = kato_consul("doctor", *named, "--json", env=env)
        names = {finding["name"] for finding in json.loads(done.stdout)["findings"]}
        assert not {name for name in names if name.startswith(("instance.", "check."))}, names
        drained = kato_consul("drain", f"{service}-1", "--wait", "20s", env=env)
        assert "/kato/concurrency" in [path for path, _ in gateway.requests], drained.stderr
        process.terminate()
        output, errors = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 0, errors
    assert KEY not in output + errors + done.stdout + drained.stdout + drained.stderr
    assert all(headers.get("authorization") == f"Bearer {KEY}" for _, headers in gateway.requests)


@pytest.mark.parametrize(
    ("variable", "finding", "words"),
    [
        ("KATO_API_KEY_FILE", "instance.refused", "KATO_API_KEY_FILE"),
        ("KATO_CACERT", "instance.unreachable", "KATO_CACERT"),
    ],
)
def test_doctor_names_what_is_missing(
    agent: ConsulAgent,
    gateway: Gateway,
    env: dict[str, str],
    variable: str,
    finding: str,
    words: str,
) -> None:
    """Without the key, and without the CA, doctor names the setting."""
    service = fresh_name()
    put(agent, service, gateway.port, Meta={"scheme": "https", "path": "/kato"})
    without = {name: value for name, value in env.items() if name != variable}
    done = kato_consul("doctor", "--service", service, "--json", env=without)
    found = {one["name"]: one["what"] for one in json.loads(done.stdout)["findings"]}
    assert words in found[finding]


def test_probe_names_a_missing_key(
    agent: ConsulAgent, gateway: Gateway, env: dict[str, str]
) -> None:
    """The output of the check in Consul names the setting, and the registration is rolled back."""
    del env["KATO_API_KEY_FILE"]
    service = fresh_name()
    done = kato_consul("run", *flags(gateway, service), "--wait", "1s", env=env)
    assert done.returncode == 6
    assert "KATO_API_KEY_FILE" in " ".join(done.stderr.split())


def test_check_of_a_startup_job_has_the_whole_url(
    agent: ConsulAgent, gateway: Gateway, env: dict[str, str]
) -> None:
    """The agent's own check uses scheme and path. The agent verifies with its own CAs, and has no
    key: without them, the check says so."""
    service = fresh_name()
    done = kato_consul("register", *flags(gateway, service), "--wait", "0", env=env)
    assert done.returncode == 0, done.stderr

    def output() -> str:
        checks = httpx.get(f"{agent.url}/v1/agent/checks", trust_env=False).json()
        text: str = checks[f"kato-probe:{service}-1"]["Output"]
        return text

    assert eventually(lambda: "x509" in output()), output()
    assert f"{gateway.url}/sessions/kato-consul-probe/exists" in output()
    assert KEY not in output()


@pytest.mark.parametrize("shell", ["settings", "metadata"])
def test_instances_without_metadata_are_reached_as_the_settings_say(
    agent: ConsulAgent, gateway: Gateway, certificates: Certificates, shell: str
) -> None:
    """``kato_scheme`` and ``kato_path`` are for instances without metadata only."""
    service = fresh_name()
    meta = {"scheme": "https", "path": "/kato/"} if shell == "metadata" else {}
    put(agent, service, gateway.port, Meta=meta)
    given = {"kato_scheme": "https", "kato_path": "/kato"}
    if shell == "metadata":
        given = {"kato_scheme": "http", "kato_path": "/elsewhere"}
    with KatoClient(settings(agent, certificates, service=service, **given)) as kato:
        assert kato.observe("user-1", ["a"])["time"] == 1


@pytest.mark.parametrize(
    "meta",
    [
        {"scheme": "ftp"},
        {"path": "/a b"},
        {"path": "/a?b"},
        {"path": "/a#b"},
        {"path": "a\r\nb: c"},
    ],
)
def test_invalid_metadata_costs_no_call(
    agent: ConsulAgent, gateway: Gateway, certificates: Certificates, meta: dict[str, str]
) -> None:
    """The instance is listed as unusable, with the reason; calls go to the others."""
    service = fresh_name()
    put(agent, service, 1, ID=f"{service}-odd", Meta=meta)
    put(agent, service, gateway.port, Meta={"scheme": "https", "path": "/kato"})
    used = settings(agent, certificates, service=service)
    with Discovery(used) as discovery:
        errors = {one.id: one.address_error for one in discovery.snapshot().instances}
    assert errors[f"{service}-1"] == ""
    assert errors[f"{service}-odd"].startswith("its metadata has the ")
    with KatoClient(used) as kato:
        for number in range(4):
            assert kato.observe(f"user-{number}", ["a"])["time"] == 1


def test_registrar_without_a_scheme_is_unchanged(agent: ConsulAgent) -> None:
    """A definition without scheme and path writes no metadata for them."""
    service = fresh_name()
    definition = ServiceDefinition(name=service, port=1, address="127.0.0.1", zone="a")
    registrar = Registrar([definition], Settings(consul_addr=agent.http_addr), wait=0)
    try:
        registrar.register()
    finally:
        registrar.close()
    found = httpx.get(f"{agent.url}/v1/agent/services", trust_env=False).json()
    assert found[definition.id]["Meta"] == {"zone": "a"}


Get = Callable[[Settings, str], httpx.Response]


def get_sync(settings: Settings, url: str) -> httpx.Response:
    """GET with a sync transport."""
    with httpx.Client(transport=DiscoveryTransport(settings)) as http:
        return http.get(url)


def get_async(settings: Settings, url: str) -> httpx.Response:
    """GET with an async transport."""

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=AsyncDiscoveryTransport(settings)) as http:
            return await http.get(url)

    return asyncio.run(get())


@pytest.mark.parametrize("get", [get_sync, get_async])
def test_transport_follows_the_metadata(
    agent: ConsulAgent, gateway: Gateway, certificates: Certificates, get: Get
) -> None:
    """The metadata upgrades the URL to https and puts the path before the URL's; the certificate is
    the instance's. The key is sent."""
    service = fresh_name()
    put(agent, service, gateway.port, Meta={"scheme": "https", "path": "/kato"})
    response = get(settings(agent, certificates, service=service), f"http://{service}/health?x=1")
    assert response.json()["status"]
    assert str(response.url) == f"http://{service}/health?x=1"
    path, headers = gateway.requests[-1]
    assert path == "/kato/health"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["host"] == f"127.0.0.1:{gateway.port}"


@pytest.mark.parametrize("get", [get_sync, get_async])
def test_transport_knows_the_service_in_any_case(
    agent: ConsulAgent, certificates: Certificates, get: Get
) -> None:
    """httpx changes the name in a URL to lower case. The key and the path are used all the same."""
    with WireServer(wire_server.respond_ok) as server:
        service = fresh_name().upper()
        put(agent, service, int(server.origin.rsplit(":", 1)[1]))
        used = settings(agent, certificates, service=service, kato_path="/kato")
        assert get(used, f"http://{service}/health").status_code == 200
        assert server.requests[0].startswith(b"GET /kato/health HTTP/1.1\r\n")
        assert KEY.encode() in server.requests[0]


@pytest.mark.parametrize("get", [get_sync, get_async])
def test_transport_sends_the_key_to_no_other_service(
    agent: ConsulAgent, certificates: Certificates, get: Get
) -> None:
    """The settings for KATO are for the service that they name: not its key, path or scheme is used
    for another one, and its CA is not trusted there."""
    with WireServer(wire_server.respond_ok) as server:
        orders = fresh_name()
        put(agent, orders, int(server.origin.rsplit(":", 1)[1]))
        used = settings(agent, certificates, kato_scheme="https", kato_path="/kato")
        assert get(used, f"http://{orders}/new").status_code == 200
        assert server.requests[0].startswith(b"GET /new HTTP/1.1\r\n")
        assert KEY.encode() not in server.requests[0]


@pytest.mark.parametrize("get", [get_sync, get_async])
def test_transport_verifies_other_services_with_the_system(
    agent: ConsulAgent, gateway: Gateway, certificates: Certificates, get: Get
) -> None:
    """The CA for KATO is not used for other services."""
    orders = fresh_name()
    put(agent, orders, gateway.port, Meta={"scheme": "https", "path": "/kato"})
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        get(settings(agent, certificates), f"http://{orders}/health")
    assert gateway.requests == []
