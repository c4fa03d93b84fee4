"""Definitions made in code: defaults, rules, and the payload that Consul gets."""

import json
from typing import Any

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.registration_payload import RegistrationPayload, check_payload
from kato_consul._definitions.schema import CheckDefinition, ServiceDefinition
from kato_consul.errors import DefinitionError


def payload(definition: ServiceDefinition) -> dict[str, Any]:
    """The body of the registration."""
    call = ConsulApi("http://consul.test:8500").register(RegistrationPayload(definition))
    body: dict[str, Any] = json.loads(call.send.body)
    return body


def test_smallest() -> None:
    """A name and a port are enough: the id follows from them, and a check that needs the store."""
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


def test_everything() -> None:
    """All that can be given stands in the payload, under Consul's names."""
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
def test_default_check(address: str, url: str) -> None:
    """A check that does not say what it asks asks /health where clients reach the instance."""
    check = CheckDefinition()
    definition = ServiceDefinition(name="kato", port=8000, address=address, check=check)
    assert [one.http for one in definition.plain_checks] == [url]


def test_default_check_keeps_its_times() -> None:
    """Times may be given without saying what is checked."""
    check = CheckDefinition(interval="1s", timeout="2s")
    definition = ServiceDefinition(name="kato", port=8000, check=check)
    (made,) = payload(definition)["checks"]
    assert made == {
        "CheckID": "service:kato-8000",
        "http": "http://localhost:8000/health",
        "interval": "1s",
        "timeout": "2s",
    }


@pytest.mark.parametrize("tcp", ["10.0.0.5:8000", "kato.test:8000", "[2001:db8::5]:8000"])
def test_tcp_check(tcp: str) -> None:
    """A TCP check stands as it was written."""
    check = CheckDefinition(tcp=tcp)
    assert check_payload(check) == {"tcp": tcp, "interval": "10s", "timeout": "5s"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "name: must not be empty"),
        ({"name": "  "}, "name: must not be empty"),
        ({"port": 0}, "port: 0 is no port: a number from 1 to 65535"),
        ({"port": -1}, "port: -1 is no port"),
        ({"port": 65536}, "port: 65536 is no port"),
        ({"port": "8000"}, "port: '8000' is no port: a number from 1 to 65535"),
        ({"port": 8000.0}, "port: 8000.0 is no port"),
        ({"port": None}, "port: None is no port"),
        ({"tags": "gpu"}, "tags: 'gpu' is one text: write a list"),
        ({"address": "http://10.0.0.5"}, "address: 'http://10.0.0.5' is no host name or address"),
        ({"address": "10.0.0.5/x"}, "address: '10.0.0.5/x' is no host name or address"),
        ({"address": "[::1]"}, "address: '[::1]' is no host name or address"),
        ({"address": "a b"}, "address: 'a b' is no host name or address"),
        ({"address": "10.0.0.5:8000"}, "address: '10.0.0.5:8000' is no host name or address"),
        ({"address": "kato.test:8000"}, "address: 'kato.test:8000' is no host name or address"),
        ({"address": "[::1]:8000"}, "address: '[::1]:8000' is no host name or address"),
        ({"address": "10.0.0.5?x"}, "address: '10.0.0.5?x' is no host name or address"),
        ({"address": "10.0.0.5#x"}, "address: '10.0.0.5#x' is no host name or address"),
        ({"address": "0.0.0.0"}, "address: 0.0.0.0 is where a server listens, not where clients"),
        ({"address": "::"}, "address: :: is where a server listens, not where clients reach it"),
    ],
)
def test_bad_service(fields: dict[str, Any], said: str) -> None:
    """A field that breaks its rule is told by name, with its value and why."""
    with pytest.raises(DefinitionError) as caught:
        ServiceDefinition(**{"name": "kato", "port": 8000, **fields})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(said)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"http": "10.0.0.5:8000/health"},
            "http: '10.0.0.5:8000/health' is no http:// or https://",
        ),
        ({"http": "ftp://kato.test/"}, "http: 'ftp://kato.test/' is no http:// or https:// URL"),
        ({"http": "http://"}, "http: 'http://' is no http:// or https:// URL"),
        ({"http": "http://kato.test:99999/"}, "http: 'http://kato.test:99999/' is no"),
        ({"tcp": "kato.test"}, "tcp: 'kato.test' is not host:port"),
        ({"tcp": ":8000"}, "tcp: ':8000' is not host:port"),
        ({"tcp": "kato.test:0"}, "tcp: 'kato.test:0' is not host:port"),
        ({"tcp": "kato.test:http"}, "tcp: 'kato.test:http' is not host:port"),
        ({"tcp": "kato.test:65536"}, "tcp: 'kato.test:65536' is not host:port"),
        ({"tcp": "::1:8000"}, "tcp: '::1:8000' is not host:port, or [address]:port for IPv6"),
        ({"tcp": "2001:db8::5"}, "tcp: '2001:db8::5' is not host:port, or [address]:port"),
        ({"interval": "10"}, "interval: '10' is no duration: write it like 10s"),
        ({"interval": "0s"}, "interval: must be longer than nothing"),
        ({"timeout": "soon"}, "timeout: 'soon' is no duration"),
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
def test_bad_check(fields: dict[str, Any], said: str) -> None:
    """The same for a check."""
    with pytest.raises(DefinitionError) as caught:
        CheckDefinition(**fields)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(said)


@pytest.mark.parametrize(
    "check", [CheckDefinition(), CheckDefinition(tcp="a:1"), CheckDefinition(http="http://a/")]
)
def test_bad_address_with_any_check(check: CheckDefinition) -> None:
    """An address is refused by its own rule, whether or not a check is made of it."""
    with pytest.raises(DefinitionError, match=r"address: '10\.0\.0\.5:8000' is no host"):
        ServiceDefinition(name="kato", port=8000, address="10.0.0.5:8000", check=check)


def test_all_mistakes_at_once() -> None:
    """One round of mending is enough."""
    with pytest.raises(DefinitionError) as caught:
        ServiceDefinition(name="", port=0, address="a/b")
    assert [mistake.partition(":")[0] for mistake in caught.value.mistakes] == [
        "name",
        "port",
        "address",
    ]


@pytest.mark.parametrize("after", ["1m", "60s", "2h"])
def test_reap_minimum(after: str) -> None:
    """Consul's own minimum may be given."""
    check = CheckDefinition(http="http://kato.test/", deregister_critical_service_after=after)
    assert check_payload(check)["DeregisterCriticalServiceAfter"] == after


def test_a_truth_value_is_no_port() -> None:
    """``True`` is an int to Python, but no port."""
    with pytest.raises(DefinitionError, match="no port"):
        ServiceDefinition(name="kato", port=True)
