"""Sidecars: what a definition says, what the agent is sent, and whether the agent has it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kato_consul import (
    ConnectDefinition,
    DefinitionError,
    ProxyDefinition,
    ServiceDefinition,
    SidecarDefinition,
    UpstreamDefinition,
    read_definitions,
)
from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._consul.sidecar_payload import sidecar_matches

UPSTREAM = UpstreamDefinition(destination_name="stock", local_bind_port=9191, config={"a": 1})


def web(sidecar: SidecarDefinition | None) -> ServiceDefinition:
    """Return an instance with this sidecar."""
    connect = ConnectDefinition(sidecar_service=sidecar)
    return ServiceDefinition(name="web", id="web-1", port=8080, connect=connect)


def test_without_a_sidecar() -> None:
    """An instance without a sidecar says nothing about the mesh."""
    for definition in (web(None), replace(web(None), connect=None)):
        assert RegistrationPayload(definition).keywords()["connect"] is None
        assert definition.sidecar_id is None
        assert sidecar_matches(definition, None)


def test_plain_sidecar() -> None:
    """A sidecar without anything is left to the agent. The ids of its checks are the agent's."""
    definition = web(SidecarDefinition())
    assert RegistrationPayload(definition).keywords()["connect"] == {"SidecarService": {}}
    assert definition.sidecar_id == "web-1-sidecar-proxy"
    assert definition.check_ids[1:] == (
        "service:web-1-sidecar-proxy:1",
        "service:web-1-sidecar-proxy:2",
    )


TOML = """
[service]
name = "web"
id = "web-1"
port = 8080
[service.connect.sidecar_service]
port = 21042
tags = ["proxy"]
[service.connect.sidecar_service.proxy]
local_service_port = 8081
config = { protocol = "http" }
[[service.connect.sidecar_service.proxy.upstreams]]
destination_name = "stock"
local_bind_port = 9191
config = { a = 1 }
"""

FULL = SidecarDefinition(
    port=21042,
    tags=("proxy",),
    proxy=ProxyDefinition(
        local_service_port=8081, config={"protocol": "http"}, upstreams=(UPSTREAM,)
    ),
)


def test_everything_is_read_and_sent(tmp_path: Path) -> None:
    """TOML has the same fields as Consul's forms; all are sent under the agent's names."""
    (tmp_path / "web.toml").write_text(TOML)
    (definition,) = read_definitions(tmp_path / "web.toml")
    assert definition == web(FULL)
    assert RegistrationPayload(definition).keywords()["connect"] == {
        "SidecarService": {
            "Port": 21042,
            "Tags": ["proxy"],
            "Proxy": {
                "LocalServicePort": 8081,
                "Config": {"protocol": "http"},
                "Upstreams": [
                    {
                        "DestinationType": "service",
                        "DestinationName": "stock",
                        "LocalBindPort": 9191,
                        "Config": {"a": 1},
                    }
                ],
            },
        }
    }


PROXY: dict[str, Any] = {
    "DestinationServiceName": "web",
    "LocalServiceAddress": "127.0.0.1",
    "LocalServicePort": 8081,
    "Config": {"protocol": "http"},
    "Upstreams": [
        {
            "DestinationType": "service",
            "DestinationName": "stock",
            "LocalBindPort": 9191,
            "Config": {"a": 1},
            "MeshGateway": {},
        }
    ],
}

REGISTERED: dict[str, Any] = {
    "Kind": "connect-proxy",
    "ID": "web-1-sidecar-proxy",
    "Service": "web-sidecar-proxy",
    "Tags": ["proxy"],
    "Meta": {"registrar": "any"},
    "Port": 21042,
    "Address": "",
    "Proxy": PROXY,
}
"""The sidecar as the agent lists it, with what the agent added."""


@pytest.mark.parametrize(
    ("changed", "matches"),
    [
        ({}, True),
        ({"Meta": {"other": "one"}, "Address": "10.0.0.5"}, True),  # the definition has neither
        ({"Port": 21000}, False),
        ({"Service": "other"}, False),
        ({"Tags": []}, False),
        ({"Proxy": {**PROXY, "Upstreams": []}}, False),
        ({"Proxy": {**PROXY, "Upstreams": PROXY["Upstreams"] * 2}}, False),
        ({"Proxy": {**PROXY, "Config": {"protocol": "tcp"}}}, False),
        ({"Proxy": None}, False),
    ],
)
def test_comparison(changed: dict[str, Any], matches: bool) -> None:
    """A sidecar matches if it is as defined; what the agent chose itself does not count."""
    assert sidecar_matches(web(FULL), {**REGISTERED, **changed}) is matches


def test_lost_and_surplus() -> None:
    """A lost sidecar does not match, nor does an upstream that is not defined any more."""
    assert not sidecar_matches(web(FULL), None)
    assert sidecar_matches(web(SidecarDefinition()), {**REGISTERED, "Proxy": {}})
    assert not sidecar_matches(web(SidecarDefinition()), REGISTERED)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('kind = "x"', "connect: sidecar_service: kind is not supported here: register sidecars"),
        ("checks = []", "sidecar_service: checks is not supported here: known keys are port,"),
        ("proxy = { mode = 1 }", "proxy: mode is not supported here: known keys are"),
        ("port = 70000", "sidecar_service: port: 70000 is not a port"),
        (
            "proxy = { upstreams = [{ local_bind_port = 1 }] }",
            "proxy: upstreams 1: destination_name is missing",
        ),
        (
            'proxy = { upstreams = [{ destination_name = "a" }] }',
            "proxy: upstreams 1: local_bind_port is missing",
        ),
        (
            'proxy = { upstreams = [{ destination_name = "a", destination_type = "b" }] }',
            "destination_type: 'b' is not known",
        ),
        ("proxy = { config = 1 }", "proxy: config: must be a table: it is 1"),
    ],
)
def test_mistakes(tmp_path: Path, line: str, expected: str) -> None:
    """What is not supported is a mistake, and never left out without a word."""
    head = '[service]\nname = "web"\nport = 8080\n[service.connect.sidecar_service]\n'
    (tmp_path / "web.toml").write_text(head + line)
    with pytest.raises(DefinitionError) as caught:
        read_definitions(tmp_path / "web.toml")
    assert any(expected in mistake for mistake in caught.value.mistakes)
