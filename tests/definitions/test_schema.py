"""Definitions created in code: defaults, rules, and the payload that is sent to Consul."""

import json
from typing import Any

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.registration_payload import RegistrationPayload, check_payload
from kato_consul._definitions.schema import CheckDefinition, ServiceDefinition
from kato_consul.errors import DefinitionError


def payload(definition: ServiceDefinition) -> dict[str, Any]:
    """Return the body of the registration request."""
    call = ConsulApi("http://consul.test:8500").register(RegistrationPayload(definition))
    body: dict[str, Any] = json.loads(call.send.body)
    return body


def test_name_and_port_are_enough() -> None:
    """The id and a check that needs the store are derived from the name and the port."""
    assert payload(ServiceDefinition(name="kato", port=8000)) == {
        "name": "kato",
        "id": "kato-8000",
        "port": 8000,
        "weights": {"passing": 1, "warning": 1},
        "checks": [
            {
                "CheckID": "kato-probe:kato-8000",
                "name": "KATO and its store",
                "http": "http://localhost:8000/sessions/kato-consul-probe/exists",
                "interval": "5s",
                "timeout": "5s",
            },
        ],
    }


def test_every_field_is_in_the_payload() -> None:
    """Every field is in the payload, under the name that Consul has for it."""
    definition = ServiceDefinition(
        name="kato",
        id="kato-1",
        address="10.0.0.5",
        port=8000,
        tags=("a", "b"),
        meta={"version": "3.10.1"},
        check=CheckDefinition(
            http="http://10.0.0.5:8000/ready",
            interval="2s",
            timeout="500ms",
            name="alive",
            success_before_passing=2,
            failures_before_critical=3,
            deregister_critical_service_after="1m30s",
        ),
    )
    assert payload(definition) == {
        "name": "kato",
        "id": "kato-1",
        "address": "10.0.0.5",
        "port": 8000,
        "tags": ["a", "b"],
        "meta": {"version": "3.10.1"},
        "weights": {"passing": 1, "warning": 1},
        "checks": [
            {
                "CheckID": "service:kato-1",
                "http": "http://10.0.0.5:8000/ready",
                "interval": "2s",
                "timeout": "500ms",
                "name": "alive",
                "SuccessBeforePassing": 2,
                "FailuresBeforeCritical": 3,
                "DeregisterCriticalServiceAfter": "1m30s",
            }
        ],
    }


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("", "http://localhost:8000/health"),
        ("10.0.0.5", "http://10.0.0.5:8000/health"),
        ("kato.test", "http://kato.test:8000/health"),
        ("2001:db8::5", "http://[2001:db8::5]:8000/health"),
    ],
)
def test_check_without_target_requests_health(address: str, url: str) -> None:
    """A check without http and tcp requests /health at the address that clients use."""
    check = CheckDefinition()
    definition = ServiceDefinition(name="kato", port=8000, address=address, check=check)
    assert [one.http for one in definition.plain_checks] == [url]


def test_check_without_target_keeps_its_times() -> None:
    """Interval and timeout may be given without a target."""
    check = CheckDefinition(interval="1s", timeout="2s")
    definition = ServiceDefinition(name="kato", port=8000, check=check)
    (check_sent,) = payload(definition)["checks"]
    assert check_sent == {
        "CheckID": "service:kato-8000",
        "http": "http://localhost:8000/health",
        "interval": "1s",
        "timeout": "2s",
    }


@pytest.mark.parametrize("tcp", ["10.0.0.5:8000", "kato.test:8000", "[2001:db8::5]:8000"])
def test_tcp_check(tcp: str) -> None:
    """The target of a TCP check is sent as it was written."""
    check = CheckDefinition(tcp=tcp)
    assert check_payload(check) == {"tcp": tcp, "interval": "10s", "timeout": "5s"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": ""}, "name: must not be empty"),
        ({"name": "  "}, "name: must not be empty"),
        ({"port": 0}, "port: 0 is not a port: write a number from 1 to 65535"),
        ({"port": -1}, "port: -1 is not a port"),
        ({"port": 65536}, "port: 65536 is not a port"),
        ({"port": "8000"}, "port: '8000' is not a port: write a number from 1 to 65535"),
        ({"port": 8000.0}, "port: 8000.0 is not a port"),
        ({"port": None}, "port: None is not a port"),
        ({"tags": "gpu"}, "tags: 'gpu' is a single string: write a list"),
        ({"address": "http://10.0.0.5"}, "address: 'http://10.0.0.5' is not a host name or IP"),
        ({"address": "10.0.0.5/x"}, "address: '10.0.0.5/x' is not a host name or IP"),
        ({"address": "[::1]"}, "address: '[::1]' is not a host name or IP"),
        ({"address": "a b"}, "address: 'a b' is not a host name or IP"),
        ({"address": "10.0.0.5:8000"}, "address: '10.0.0.5:8000' is not a host name or IP"),
        ({"address": "kato.test:8000"}, "address: 'kato.test:8000' is not a host name or IP"),
        ({"address": "[::1]:8000"}, "address: '[::1]:8000' is not a host name or IP"),
        ({"address": "10.0.0.5?x"}, "address: '10.0.0.5?x' is not a host name or IP"),
        ({"address": "10.0.0.5#x"}, "address: '10.0.0.5#x' is not a host name or IP"),
        (
            {"address": "0.0.0.0"},
            "address: 0.0.0.0 is an address to listen on, not one that clients",
        ),
        ({"address": "::"}, "address: :: is an address to listen on, not one that clients can"),
    ],
)
def test_invalid_service_field_is_reported(fields: dict[str, Any], expected: str) -> None:
    """A field that breaks its rule is reported with its name, its value and the reason."""
    with pytest.raises(DefinitionError) as caught:
        ServiceDefinition(**{"name": "kato", "port": 8000, **fields})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(expected)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"http": "10.0.0.5:8000/health"},
            "http: '10.0.0.5:8000/health' is not an http:// or https://",
        ),
        (
            {"http": "ftp://kato.test/"},
            "http: 'ftp://kato.test/' is not an http:// or https:// URL",
        ),
        ({"http": "http://"}, "http: 'http://' is not an http:// or https:// URL"),
        ({"http": "http://kato.test:99999/"}, "http: 'http://kato.test:99999/' is not"),
        ({"tcp": "kato.test"}, "tcp: 'kato.test' is not host:port"),
        ({"tcp": ":8000"}, "tcp: ':8000' is not host:port"),
        ({"tcp": "kato.test:0"}, "tcp: 'kato.test:0' is not host:port"),
        ({"tcp": "kato.test:http"}, "tcp: 'kato.test:http' is not host:port"),
        ({"tcp": "kato.test:65536"}, "tcp: 'kato.test:65536' is not host:port"),
        ({"tcp": "::1:8000"}, "tcp: '::1:8000' is not host:port, or [address]:port for IPv6"),
        ({"tcp": "2001:db8::5"}, "tcp: '2001:db8::5' is not host:port, or [address]:port"),
        ({"interval": "10"}, "interval: '10' is not a duration: write it like 10s"),
        ({"interval": "0s"}, "interval: must be longer than 0s"),
        ({"timeout": "soon"}, "timeout: 'soon' is not a duration"),
        (
            {"deregister_critical_service_after": "x"},
            "deregister_critical_service_after: 'x' is no",
        ),
        (
            {"deregister_critical_service_after": "59s"},
            "deregister_critical_service_after: '59s' is shorter than Consul's minimum of 1m",
        ),
        ({"success_before_passing": -1}, "success_before_passing: -1 must not be below 0"),
        ({"failures_before_critical": -1}, "failures_before_critical: -1 must not be below 0"),
        ({"http": "http://kato.test/", "tcp": "kato.test:1"}, "give http or tcp, not both"),
    ],
)
def test_invalid_check_field_is_reported(fields: dict[str, Any], expected: str) -> None:
    """A field of a check that breaks its rule is reported in the same way."""
    with pytest.raises(DefinitionError) as caught:
        CheckDefinition(**fields)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(expected)


@pytest.mark.parametrize(
    "check", [CheckDefinition(), CheckDefinition(tcp="a:1"), CheckDefinition(http="http://a/")]
)
def test_invalid_address_is_reported_with_any_check(check: CheckDefinition) -> None:
    """The address is rejected by its own rule, whether or not a check uses it."""
    with pytest.raises(DefinitionError, match=r"address: '10\.0\.0\.5:8000' is not a host"):
        ServiceDefinition(name="kato", port=8000, address="10.0.0.5:8000", check=check)


def test_all_mistakes_are_reported_at_once() -> None:
    """Every field that breaks its rule is reported, in the order of the fields."""
    with pytest.raises(DefinitionError) as caught:
        ServiceDefinition(name="", port=0, address="a/b")
    assert [mistake.partition(":")[0] for mistake in caught.value.mistakes] == [
        "name",
        "port",
        "address",
    ]


@pytest.mark.parametrize(
    "name",
    [".", "..", "a//b", "a/./b", "../x", "/a", "a/..", "a\0b", "a\nb", "a\x7fb", "a\u2028b"],
)
def test_name_that_no_request_can_have(name: str) -> None:
    """Consul registers it, but refuses each request to deregister or to list it."""
    refused = "cannot be in a path of Consul's API"
    with pytest.raises(DefinitionError, match=f"name: .* {refused}"):
        ServiceDefinition(name=name, port=8000)
    with pytest.raises(DefinitionError, match=f"id: .* {refused}"):
        ServiceDefinition(name="kato", port=8000, id=name)
    with pytest.raises(DefinitionError, match=f"id: .* {refused}"):
        CheckDefinition(id=name)


@pytest.mark.parametrize(
    "name", ["web/blue 1:8080", "a/", "...", "a/.b", " ", "ü", "a%2fb", "a?b#c"]
)
def test_odd_ids(name: str) -> None:
    """An id may have all that can be in a path."""
    assert ServiceDefinition(name="kato", port=8000, id=name).id == name


@pytest.mark.parametrize("after", ["1m", "60s", "2h"])
def test_shortest_reap_time_is_accepted(after: str) -> None:
    """Consul's own minimum, one minute, is accepted."""
    check = CheckDefinition(http="http://kato.test/", deregister_critical_service_after=after)
    assert check_payload(check)["DeregisterCriticalServiceAfter"] == after


def test_bool_is_not_a_port() -> None:
    """``True`` is an int in Python, but not a port."""
    with pytest.raises(DefinitionError, match="not a port"):
        ServiceDefinition(name="kato", port=True)
