"""Consul's HTTP API: the requests, and the parsed responses. Errors are in `test_call`."""

import json
from typing import Any

import msgspec
import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import CONSUL_TIMEOUT, ConsulCall, call_consul
from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._definitions.schema import CheckDefinition, ServiceDefinition
from kato_consul._flow import Outcome, Send
from kato_consul._secret import Secret
from kato_consul.models import Health, Snapshot
from tests.building import reply
from tests.flows import Player

AT = "http://consul.test:8500"
TOKEN = "b1gs8d1e-0000-hidden"
RECORD = {
    "Node": {"Node": "n1", "Address": "10.0.0.1"},
    "Service": {"ID": "kato-1", "Service": "kato", "Address": "", "Port": 8000},
    "Checks": [],
}

PAYLOAD = RegistrationPayload(ServiceDefinition(name="kato", id="kato-1", port=1))

api = ConsulApi(AT)


def outcome_of(call: ConsulCall[Any], outcome: Outcome) -> Any:
    """Return the result of `execute` for an outcome."""
    return Player(lambda send: outcome).play(call_consul(call))


# --- requests -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "method", "target"),
    [
        (api.leader(), "GET", "/v1/status/leader"),
        (api.service_names(), "GET", "/v1/catalog/services"),
        (api.health("kato"), "GET", "/v1/health/service/kato"),
        (api.health("kato", wait=60), "GET", "/v1/health/service/kato"),
        (api.health("kato", index=7), "GET", "/v1/health/service/kato?index=7"),
        (
            api.health("kato", index=7, wait=300),
            "GET",
            "/v1/health/service/kato?index=7&wait=300.000s",
        ),
        (
            api.health("kato", index=7, wait=0.0004),  # 0s would be Consul's default, 5 minutes
            "GET",
            "/v1/health/service/kato?index=7&wait=0.001s",
        ),
        (
            api.health("kato").with_parameter("consistent"),
            "GET",
            "/v1/health/service/kato?consistent=",
        ),
        (
            api.health("kato", index=7).with_parameter("near", "_agent&x"),
            "GET",
            "/v1/health/service/kato?index=7&near=_agent%26x",
        ),
        (
            api.register(PAYLOAD),
            "PUT",
            "/v1/agent/service/register?replace-existing-checks=true",
        ),
        (api.deregister("kato-1"), "PUT", "/v1/agent/service/deregister/kato-1"),
        (api.agent_services(), "GET", "/v1/agent/services"),
    ],
)
def test_call_is_the_documented_request(call: ConsulCall[Any], method: str, target: str) -> None:
    """Each call is the request that Consul's API documents, to the agent, without more headers."""
    assert call.send == Send(AT, method, target, CONSUL_TIMEOUT, {}, call.send.body)


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a/b c?", "a%2Fb%20c%3F"),
        ("100%", "100%25"),
        ("kätö", "k%C3%A4t%C3%B6"),
        ("a&b=c#d", "a%26b%3Dc%23d"),
        ("kato-1.x_y~z", "kato-1.x_y~z"),
    ],
)
def test_names_are_escaped(name: str, escaped: str) -> None:
    """A name is one segment of the path, with any characters."""
    assert api.health(name).send.target == f"/v1/health/service/{escaped}"
    assert api.deregister(name).send.target == f"/v1/agent/service/deregister/{escaped}"


def test_registration_is_json() -> None:
    """The body of a registration is JSON with the definition; names are not escaped in it."""
    check = CheckDefinition(http="http://10.0.0.1:8000/health")
    definition = ServiceDefinition(
        name="ka/to", id="kato 1", address="10.0.0.1", port=8000, tags=("a",), check=check
    )
    assert json.loads(api.register(RegistrationPayload(definition)).send.body) == {
        "name": "ka/to",
        "id": "kato 1",
        "address": "10.0.0.1",
        "port": 8000,
        "tags": ["a"],
        "weights": {"passing": 1, "warning": 1},
        "checks": [
            {
                "CheckID": "service:kato 1",
                "http": "http://10.0.0.1:8000/health",
                "interval": "10s",
                "timeout": "5s",
            }
        ],
    }


@pytest.mark.parametrize(
    ("status", "endpoint"),
    [(Health.PASSING, "pass"), (Health.WARNING, "warn"), (Health.CRITICAL, "fail")],
)
def test_ttl_update(status: Health, endpoint: str) -> None:
    """The check is in the path and the note in the query, both escaped."""
    send = api.update_ttl("kato-probe:a/b", status, "all & well").send
    assert (send.method, send.target) == (
        "PUT",
        f"/v1/agent/check/{endpoint}/kato-probe%3Aa%2Fb?note=all+%26+well",
    )


@pytest.mark.parametrize(
    "outcome",
    [
        reply(500, b'CheckID "kato-probe:k" does not have associated TTL'),  # agents before 1.9
        reply(404, b'Unknown check ID "kato-probe:k"'),
    ],
)
def test_ttl_update_of_a_missing_check_is_false(outcome: Outcome) -> None:
    """A missing check is not an error, with the response of any version."""
    assert outcome_of(api.update_ttl("kato-probe:k", Health.PASSING, "ok"), outcome) is False


def test_maintenance_mode() -> None:
    """A reason enables maintenance mode, None disables it."""
    assert api.maintenance("k/1", "drained").send.target == (
        "/v1/agent/service/maintenance/k%2F1?enable=true&reason=drained"
    )
    assert api.maintenance("k", None).send.target.endswith("k?enable=false")
    missing = reply(404, b'No service registered with ID "k"')
    assert outcome_of(api.maintenance("k", "x"), missing) is False


def test_only_a_registration_has_a_body() -> None:
    """Reads and deregistrations have no body."""
    others: list[ConsulCall[Any]] = [
        api.leader(),
        api.service_names(),
        api.health("k"),
        api.deregister("k"),
    ]
    assert {call.send.body for call in others} == {b""}


@pytest.mark.parametrize(
    "name", ["service_names", "health", "register", "deregister", "agent_services"]
)
def test_token_is_in_its_header_only(name: str) -> None:
    """The token is in its header and nowhere else; the call's repr does not contain it."""
    arguments: dict[str, tuple[Any, ...]] = {
        "health": ("kato",),
        "register": (PAYLOAD,),
        "deregister": ("kato-1",),
    }
    call = getattr(ConsulApi(AT, token=lambda: Secret(TOKEN)), name)(*arguments.get(name, ()))
    step = next(call_consul(call))
    assert isinstance(step, Send)
    assert step == msgspec.structs.replace(call.send, headers={"X-Consul-Token": TOKEN})
    assert TOKEN not in f"{call!r} {step!r}"
    assert TOKEN not in repr(call.with_timeout(1.0).with_parameter("near", "_agent"))


@pytest.mark.parametrize("api", [ConsulApi(AT), ConsulApi(AT, token=lambda: Secret(""))])
def test_empty_token_sends_no_header(api: ConsulApi) -> None:
    """Without a token, or with an empty one, the header is not sent."""
    step = next(call_consul(api.agent_services()))
    assert isinstance(step, Send)
    assert step.headers == {}


@pytest.mark.parametrize("path", ["", "/consul"])
def test_all_of_the_api_is_under_the_path(path: str) -> None:
    """A gateway may serve Consul's API under a path."""
    api = ConsulApi(AT, path=path)
    for call in (api.leader(), api.health("kato"), api.register(PAYLOAD), api.deregister("a/b")):
        assert call.send.origin == AT
        assert call.send.target.startswith(f"{path}/v1/")


def test_datacenter_is_sent_to_the_catalog_only() -> None:
    """Catalog and health calls have the datacenter; calls to the agent's own API do not."""
    east = ConsulApi(AT, datacenter="east")
    assert east.health("kato").send.target == "/v1/health/service/kato?dc=east"
    assert east.service_names().send.target == "/v1/catalog/services?dc=east"
    assert "dc=" not in east.register(PAYLOAD).send.target
    assert "dc=" not in east.agent_services().send.target


def test_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """py-consul's own variables have no effect: only `Settings` reads variables."""
    for name, value in {
        "CONSUL_HTTP_ADDR": "elsewhere.test:1",
        "CONSUL_HTTP_TOKEN": TOKEN,
        "CONSUL_HTTP_SSL": "true",
        "CONSUL_HTTP_SSL_VERIFY": "false",
    }.items():
        monkeypatch.setenv(name, value)
    assert ConsulApi(AT).agent_services().send.origin == AT
    assert ConsulApi(AT).agent_services().send.headers == {}


def test_with_timeout_returns_another_call() -> None:
    """The new call has the timeout; the first one is unchanged."""
    call = api.leader()
    assert call.with_timeout(2.0).send.timeout == 2.0
    assert call.send.timeout == CONSUL_TIMEOUT


# --- responses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "outcome", "result"),
    [
        (api.leader(), reply(200, "10.0.0.1:8300"), "10.0.0.1:8300"),
        (api.leader(), reply(200, ""), ""),
        (api.service_names(), reply(200, {"kato": [], "consul": []}), ["consul", "kato"]),
        (api.register(PAYLOAD), reply(200), True),
        (api.deregister("kato-1"), reply(200), True),
        (api.deregister("kato-1"), reply(404, b'Unknown service ID "kato-1"'), False),
        (api.agent_services(), reply(200, {"kato-1": {"Port": 1}}), {"kato-1": {"Port": 1}}),
        (api.health("kato"), reply(200, []), Snapshot("kato", ())),
    ],
)
def test_response_is_parsed(call: ConsulCall[Any], outcome: Outcome, result: object) -> None:
    """The result of a call with a valid response."""
    assert outcome_of(call, outcome) == result


def test_health_response_is_a_snapshot() -> None:
    """A health response is a snapshot, with Consul's index as a number."""
    snapshot = outcome_of(api.health("kato"), reply(200, [RECORD], x_consul_index="42"))
    assert (snapshot.index, [one.id for one in snapshot.instances]) == (42, ["kato-1"])
