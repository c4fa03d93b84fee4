"""Kinds of checks, their ids, and what they become in a registration."""

from pathlib import Path
from typing import Any

import pytest

from kato_consul import DefinitionError, read_definitions
from kato_consul._consul.registration_payload import RegistrationPayload, check_payload
from kato_consul._definitions.collisions import check_for_collisions
from kato_consul._definitions.schema import CheckDefinition, ServiceDefinition
from kato_consul._registration.registrar_state import RegistrarState

TIMES = {"interval": "10s", "timeout": "5s"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"udp": "10.0.0.5:53"}, {"UDP": "10.0.0.5:53", **TIMES}),
        ({"grpc": "10.0.0.5:1/kato"}, {"GRPC": "10.0.0.5:1/kato", **TIMES}),
        ({"grpc": "[::1]:1", "grpc_use_tls": True},
         {"GRPC": "[::1]:1", "GRPCUseTLS": True, **TIMES}),
        ({"h2ping": "10.0.0.5:1"}, {"H2PING": "10.0.0.5:1", **TIMES}),
        ({"h2ping": "10.0.0.5:1", "h2ping_use_tls": False},
         {"H2PING": "10.0.0.5:1", "H2PingUseTLS": False, **TIMES}),
        ({"os_service": "nginx"}, {"OSService": "nginx", **TIMES}),
        ({"ttl": "30s", "id": "alive"}, {"ttl": "30s", "CheckID": "alive"}),
        ({"alias_service": "web-1"}, {"AliasService": "web-1"}),
        ({"alias_node": "box"}, {"AliasNode": "box"}),
        ({"alias_service": "web-1", "alias_node": "box"},
         {"AliasService": "web-1", "AliasNode": "box"}),
        ({"tcp": "10.0.0.5:1", "tcp_use_tls": True, "tls_server_name": "web"},
         {"tcp": "10.0.0.5:1", "TCPUseTLS": True, "TLSServerName": "web", **TIMES}),
        ({"http": "http://web/", "disable_redirects": True, "output_max_size": 100},
         {"http": "http://web/", "DisableRedirects": True, "OutputMaxSize": 100, **TIMES}),
    ],
)  # fmt: skip
def test_payload_of_each_kind(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each field is sent under the agent's own name; what was not given is left to the agent."""
    assert check_payload(CheckDefinition(**fields)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"grpc": "web"}, "grpc: 'web' is not host:port or host:port/service"),
        ({"udp": "web"}, "udp: 'web' is not host:port"),
        ({"h2ping": "::1:80"}, "h2ping: '::1:80' is not host:port, or [address]:port for IPv6"),
        ({"ttl": "soon"}, "ttl: 'soon' is not a duration"),
        ({"ttl": "0s"}, "ttl: must be longer than 0s"),
        ({"os_service": " "}, "os_service: must not be empty"),
        ({"alias_service": ""}, "alias_service: must not be empty"),
        ({"output_max_size": -1}, "output_max_size: -1 must not be below 0"),
        ({"tcp": "web:1", "ttl": "30s"}, "give tcp or ttl, not both"),
        ({"tcp": "web:1", "alias_node": "box"}, "give tcp or alias_service, not both"),
        ({"tcp": "a:1", "udp": "a:1", "grpc": "a:1"}, "give only one of tcp, udp, grpc"),
        ({"ttl": "30s", "interval": "5s"}, "interval: a ttl check has none: leave it out"),
    ],
)
def test_mistakes(fields: dict[str, Any], expected: str) -> None:
    """A check has one kind, and a target of this kind."""
    with pytest.raises(DefinitionError) as caught:
        CheckDefinition(**fields)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(expected)


@pytest.mark.parametrize(
    "value",
    [
        "$HOST_IP",
        "${HOST_IP}",
        "%HOST_IP%",
        "{{HOST_IP}}",
        "{{ .HOST_IP }}",
        "{HOST_IP}",
        "<HOST_IP>",
    ],
)
def test_reference_that_was_not_replaced(value: str) -> None:
    """An address that looks like a reference is a mistake that says what was meant."""
    with pytest.raises(DefinitionError) as caught:
        ServiceDefinition(name="web", port=80, address=value)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"address: {value!r} has a reference that was not replaced")
    assert "write ${HOST_IP}" in mistake
    assert "--expand" in mistake
    with pytest.raises(DefinitionError, match="was not replaced"):
        CheckDefinition(tcp=f"{value}:80")
    with pytest.raises(DefinitionError, match="was not replaced"):
        CheckDefinition(http=f"http://{value}:80/")


@pytest.mark.parametrize("address", ["a..b", "a" * 64, "web\0", "käse", "a,b", "a b", "@a@"])
def test_address_that_no_client_can_use(address: str) -> None:
    """An address is a host name or an IP address, as clients need it."""
    with pytest.raises(DefinitionError, match="is not a host name or IP address"):
        ServiceDefinition(name="web", port=80, address=address)


# --- ids ------------------------------------------------------------------------------------

TCP = CheckDefinition(tcp="127.0.0.1:1")
ALIVE = CheckDefinition(tcp="127.0.0.1:1", id="alive")


def service(service_id: str, *checks: CheckDefinition) -> ServiceDefinition:
    """Return an instance with these checks."""
    return ServiceDefinition(name="web", id=service_id, port=80, checks=checks)


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ((), ("kato-probe:w",)),
        ((TCP,), ("service:w",)),
        ((ALIVE,), ("alive",)),
        ((TCP, TCP), ("service:w:1", "service:w:2")),
        ((TCP, ALIVE, TCP), ("service:w:1", "alive", "service:w:3")),
    ],
)
def test_ids(checks: tuple[CheckDefinition, ...], expected: tuple[str, ...]) -> None:
    """A check has its own id, or the one that the agent would generate."""
    definition = service("w", *checks)
    assert definition.check_ids == expected
    sent = RegistrationPayload(definition).keywords()
    assert tuple(one["CheckID"] for one in [sent["check"], *sent["extra_checks"]]) == expected


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ((ALIVE, ALIVE), "the check id 'alive' is used by checks 1 and by checks 2"),
        (
            (CheckDefinition(tcp="a:1", id="service:w:2"), TCP),
            "the check id 'service:w:2' is used by checks 1 and by checks 2",
        ),
    ],
)
def test_one_id_twice_in_a_service(checks: tuple[CheckDefinition, ...], expected: str) -> None:
    """One id twice in a service is a mistake, also if the agent would generate one of them."""
    with pytest.raises(DefinitionError) as caught:
        service("w", *checks)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(expected)


def test_id_of_the_probe() -> None:
    """A plain check must not have the id of the probe."""
    with pytest.raises(DefinitionError, match="'kato-probe:web-80' is used by probe and by check"):
        ServiceDefinition(
            name="web",
            port=80,
            check=CheckDefinition(tcp="a:1", id="kato-probe:web-80"),
            probe=PROBE,
        )


PROBE = service("any").probe


@pytest.mark.parametrize(
    ("definitions", "expected"),
    [
        ([service("a", ALIVE), service("b", ALIVE)],
         "the check id 'alive' is used by definition 1 (a) and by definition 2 (b): give each"),
        ([service("a", TCP), service("b", CheckDefinition(tcp="a:1", id="service:a"))],
         "the check id 'service:a' is used by definition 1 (a) and by definition 2 (b)"),
        ([service("a", TCP), service("a", ALIVE)], "the id 'a' is used 2 times"),
    ],
)  # fmt: skip
def test_definitions_in_code(definitions: list[ServiceDefinition], expected: str) -> None:
    """Definitions that are given to a registrar together must not share an id either."""
    state = RegistrarState([service("a", ALIVE)])
    for give in (check_for_collisions, RegistrarState, state.replace):
        with pytest.raises(DefinitionError) as caught:
            give(definitions)
        (mistake,) = caught.value.mistakes
        assert mistake.startswith(expected)
    assert set(state.instances) == {"a"}


# --- warnings -------------------------------------------------------------------------------


SHORT = '"deregister_critical_service_after": "30s"'


@pytest.mark.parametrize(
    ("name", "check", "expected"),
    [
        (
            "web.json",
            f'{{"tcp": "a:1", "interval": "10s", {SHORT}}}',
            "deregister_critical_service_after: '30s' is shorter than Consul's minimum: it becomes",
        ),
        ("web.json", '{"ttl": "30s"}', "ttl: the service itself must report its health"),
        ("web.json", '{"alias_node": "box"}', "end with a panic if they have no node 'box'"),
        ("web.toml", '{ ttl = "30s" }', "ttl: the service itself must report its health"),
    ],
)
def test_warnings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, check: str, expected: str
) -> None:
    """What is taken, but may surprise, is a warning with its location; it is logged by default."""
    text = f'[service]\nname = "web"\nport = 80\ncheck = {check}\n'
    if name.endswith(".json"):
        text = f'{{"service": {{"name": "web", "port": 80, "check": {check}}}}}'
    (tmp_path / name).write_text(text)
    warnings: list[str] = []
    read_definitions(tmp_path / name, on_warning=warnings.append)
    (warning,) = warnings
    assert warning.startswith(f"{tmp_path / name}: service 1 (web): check: ")
    assert expected in warning
    assert caplog.records == []
    (definition,) = read_definitions(tmp_path / name)
    assert [record.name for record in caplog.records] == ["kato_consul.definitions"]
    assert definition.plain_checks[0].deregister_critical_service_after in (None, "1m")


def test_generated_id_of_a_service_without_an_id(tmp_path: Path) -> None:
    """The agent's ids of checks follow from the service's id, which in Consul's forms is its name;
    a collision with one of them has its location too."""
    check = '{"tcp": "a:1", "interval": "10s"}'
    other = '{"id": "service:web:1", "tcp": "a:1", "interval": "10s"}'
    text = '{"service": {"name": "web", "port": 80, "checks": [%s, %s]}}'
    path = tmp_path / "web.json"
    path.write_text(text % (check, check))
    (definition,) = read_definitions(path)
    assert definition.check_ids == ("service:web:1", "service:web:2")
    path.write_text(text % (check, other))
    with pytest.raises(DefinitionError) as caught:
        read_definitions(path)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"{path}: service 1 (web): the check id 'service:web:1' is used by")


def test_short_reap_time_in_toml(tmp_path: Path) -> None:
    """In TOML, this package's own form, it is a mistake: it would not be what was written."""
    check = '{ tcp = "a:1", deregister_critical_service_after = "30s" }'
    (tmp_path / "web.toml").write_text(f'[service]\nname = "web"\nport = 80\ncheck = {check}\n')
    with pytest.raises(DefinitionError, match="'30s' is shorter than Consul's minimum of 1m"):
        read_definitions(tmp_path / "web.toml")
