"""What doctor sees of a gateway: its headers, and an Envoy that repeats POSTs."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from kato_consul import Settings, diagnose
from kato_consul._doctor.findings import Finding, Severity
from kato_consul._doctor.gateway import gateway_of
from kato_consul.testing import StandInKato
from kato_consul.testing.gateways import EnvoyServer, GatewayProgram, HaproxyServer, NginxServer
from kato_consul.testing.ports import free_ports
from tests.building import reply
from tests.doctor.behind_gateways import write_configuration

SERVERS: dict[str, type[GatewayProgram]] = {
    "nginx": NginxServer,
    "haproxy": HaproxyServer,
    "envoy": EnvoyServer,
}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ""),
        ({"server": "uvicorn"}, ""),
        ({"server": "kato-consul-proxy"}, ""),
        ({"server": "nginx/1.22.1"}, "nginx/1.22.1"),
        ({"server": "envoy"}, "envoy"),
        ({"server": "istio-envoy"}, "istio-envoy"),
        ({"server": "uvicorn", "x-envoy-upstream-service-time": "3"}, "envoy"),
        ({"server": "uvicorn", "via": "1.1 kong/3.8.0"}, "1.1 kong/3.8.0"),
        ({"server": "x" * 1000}, "x" * 200),
    ],
)
def test_gateway_of_an_answer(headers: dict[str, str], expected: str) -> None:
    """``Server``, ``Via`` or a header of Envoy's."""
    found = gateway_of(reply(200, {}, **headers))
    assert found.startswith(expected) if expected else found == ""
    assert len(found) <= 301


@pytest.fixture
def kato(tmp_path: Path) -> Iterator[StandInKato]:
    """An instance that takes longer than a millisecond."""
    with StandInKato(store=tmp_path / "store.sqlite") as kato:
        kato.switch(slow=0.05)
        yield kato


def findings(
    kind: str, folder: Path, *instances: StandInKato, replaced: Mapping[str, str] | None = None
) -> dict[str, Finding]:
    """Return doctor's findings about instances behind a gateway, by their names.

    ``replaced`` are texts of its configuration.
    """
    (port,) = free_ports(1)
    servers = {f"kato-{number}": one.port for number, one in enumerate(instances, 1)}
    config = write_configuration(kind, folder, port, servers, replaced)
    with SERVERS[kind](config, port) as gateway:
        through = Settings(trust_env=False, kato_urls=(gateway.url,), keepalive=0.1)
        return {one.name: one for one in diagnose(through).findings}


def test_gateway_that_names_itself_is_a_note(kato: StandInKato, tmp_path: Path) -> None:
    """With what keeps it from repeating POSTs."""
    found = findings("nginx", tmp_path, kato)
    assert "proxy_next_upstream has no non_idempotent" in found["instance.gateway"].todo
    assert "instance.keepalive" not in found  # it says that it closes connections


def test_haproxy_is_not_seen(kato: StandInKato, tmp_path: Path) -> None:
    """Its answers are KATO's, header by header."""
    assert found_of_gateways(findings("haproxy", tmp_path, kato)) == set()


@pytest.mark.parametrize(
    ("kind", "named"), [("nginx", "the gateway (nginx"), ("haproxy", "a gate")]
)
def test_instances_behind_a_gateway_are_no_problem(
    kind: str, named: str, kato: StandInKato, tmp_path: Path
) -> None:
    """Two processes answer at its address, as they should: a note, also if no header names it."""
    with StandInKato(store=tmp_path / "store.sqlite") as other:
        found = findings(kind, tmp_path, kato, other)
    assert {one.severity for one in found.values()} == {Severity.NOTE}
    assert f"instances behind {named}" in found["instance.workers"].what


def test_envoy_that_repeats_posts_is_a_warning(kato: StandInKato, tmp_path: Path) -> None:
    """If it takes doctor as internal, as Envoy does before 1.33 with private addresses. Otherwise
    it is a note; and if it repeats nothing."""
    internal = (
        "internal_address_config: { cidr_ranges: [{ address_prefix: 127.0.0.0, prefix_len: 8 }] }"
    )
    accepts = {"use_remote_address: true": f"use_remote_address: true\n          {internal}"}
    repeats = {"retry_on: connect-failure": "retry_on: 5xx,connect-failure"}
    for replaced in ({}, accepts, repeats):
        assert found_of_gateways(findings("envoy", tmp_path, kato, replaced=replaced)) == {
            "instance.gateway"
        }
    found = findings("envoy", tmp_path, kato, replaced={**accepts, **repeats})
    assert found_of_gateways(found) == {"instance.gateway-repeats"}


def found_of_gateways(findings: Iterable[str]) -> set[str]:
    """Return the names of findings about gateways."""
    return {name for name in findings if "gateway" in name}
