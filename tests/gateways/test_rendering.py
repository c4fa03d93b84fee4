"""Templates: what is printed, what is quoted, and what the built-in ones say."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kato_consul import ConfigurationError, Settings
from kato_consul.gateways import (
    GATEWAYS,
    ApiKey,
    GatewayOptions,
    Listen,
    gateway_files,
    gateway_pool,
)
from kato_consul.gateways.rendering import Quote, Template, haproxy_quote, nginx_quote, yaml_quote
from kato_consul.models import Instance, Snapshot

HOSTILE = (
    'x";}\n{',
    "x; include /etc/passwd;",
    "$request_uri",
    "a'b",
    "# comment\n",
    "{{ 7 * 7 }}",
    "\x00",
    "- item: [",
    "a\\",
    "%[src]",
)


def instance(name: str, **more: Any) -> Instance:
    """Return an instance at 10.0.0.1:8000."""
    given = {"service": "kato", "address": "10.0.0.1", "port": 8000, **more}
    return Instance(name, **given)


def rendered(
    kind: str, *instances: Instance, settings: Settings | None = None, **options: Any
) -> str:
    """Return all files of a gateway."""
    settings = settings or Settings(trust_env=False)
    out = Path("/etc/gateway/kato.conf")
    files = gateway_files(GATEWAYS[kind], out, GatewayOptions(**options), settings)
    pool = gateway_pool(Snapshot("kato", instances or (instance("kato-1"),)))
    return "".join(file.render(pool) for file in files)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_value_with_odd_characters_is_not_printed_as_it_is(text: str) -> None:
    """A template has to quote it."""
    with pytest.raises(ConfigurationError, match=r"line 2: .*print it with \| quote"):
        Template("# one\n{{ value }}\n", "mine.j2", nginx_quote).render({"value": text})


@pytest.mark.parametrize("value", ["kato-1", "[::1]:8000", "/kato/a_b~c", "", 3, 1.5, True])
def test_a_plain_value_is_printed_as_it_is(value: object) -> None:
    """Neither quotes nor escapes."""
    assert Template("{{ value }}", "mine.j2", nginx_quote).render({"value": value}) == str(value)


@pytest.mark.parametrize(
    ("quote", "text", "expected"),
    [
        (nginx_quote, 'a "b" \\ c;{}#', '"a \\"b\\" \\\\ c;{}#"'),
        (haproxy_quote, "a 'b' $c \\ #", "'a '\\''b'\\'' $c \\ #'"),
        (yaml_quote, 'a: "b" \\ {}#ä', '"a: \\"b\\" \\\\ {}#\\u00e4"'),
    ],
)
def test_quoted_values(quote: Quote, text: str, expected: str) -> None:
    """Each syntax has its own strings."""
    assert Template("{{ text | quote }}", "mine.j2", quote).render({"text": text}) == expected


@pytest.mark.parametrize("text", ["$host", "a\nb", "\x1b[0m"])
def test_what_nginx_cannot_quote_is_an_error(text: str) -> None:
    """A ``$`` is a variable in each of its strings; control characters are in none."""
    with pytest.raises(ConfigurationError, match=r"mine\.j2, line 1"):
        Template("{{ text | quote }}", "mine.j2", nginx_quote).render({"text": text})


def test_macros_and_loops_print_what_they_print() -> None:
    """What they return was checked piece by piece."""
    source = "{% macro one(x) %}{ a; {{ x }} }{% endmacro %}{{ one('b') }}{{ 'c; d' | safe }}"
    assert Template(source, "mine.j2", nginx_quote).render({}) == "{ a; b }c; d"


def test_mistakes_of_a_template_have_its_name_and_line() -> None:
    """When it is read, and when it is rendered."""
    with pytest.raises(ConfigurationError, match=r"mine\.j2, line 2: "):
        Template("a\n{% if %}\n", "mine.j2", nginx_quote)
    template = Template("a\nb\n{{ pool.sevrers }}\n", "mine.j2", nginx_quote)
    with pytest.raises(ConfigurationError, match=r"mine\.j2, line 3: .*sevrers"):
        template.render({"pool": gateway_pool(Snapshot("kato", ()))})


@pytest.mark.parametrize("kind", GATEWAYS)
@pytest.mark.parametrize("odd", HOSTILE)
def test_texts_of_consul_change_no_line_but_names(kind: str, odd: str) -> None:
    """An id, a tag or metadata with odd characters: the same lines as for a plain instance."""
    plain = rendered(kind, instance("plain"))
    (name,) = (one.name for one in gateway_pool(Snapshot("kato", (instance(odd),))).servers)
    hostile = instance(odd, tags=(odd,), meta={"zone": odd, odd: odd}, node=odd, output=odd)
    number, of_plain = (
        str(gateway_pool(Snapshot("kato", (one,))).servers[0].number)
        for one in (hostile, instance("plain"))
    )
    assert rendered(kind, hostile).replace(name, "plain").replace(number, of_plain) == plain


@pytest.mark.parametrize("kind", GATEWAYS)
def test_order_of_instances_does_not_matter(kind: str) -> None:
    """Consul may list them in any order; the configuration is the same text."""
    one, two = instance("a"), instance("b", address="10.0.0.2")
    assert rendered(kind, one, two) == rendered(kind, two, one)


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        (
            "nginx",
            [
                "    hash $kato_session consistent;",
                "    server [2001:db8::1]:8000 weight=2 max_fails=0;  # kato-1",
                "    keepalive_timeout 4s;",
                "    proxy_next_upstream error timeout;",
                "    proxy_http_version 1.1;",
                "        proxy_pass http://kato;",
            ],
        ),
        (
            "haproxy",
            [
                "    retry-on conn-failure",
                "    option idle-close-on-response",
                "    balance hash var(txn.session)",
                "    hash-type consistent",
                "    server kato-1 [2001:db8::1]:8000 id 562160070 weight 2",
            ],
        ),
        (
            "envoy",
            [
                "                retry_on: connect-failure,reset-before-request",
                '     "idle_timeout": "4s"',
                '           "address": "2001:db8::1",',
            ],
        ),
        (
            "kong",
            [
                "  hash_on: uri_capture",
                '  - { target: "[2001:db8::1]:8000", weight: 2 }  # kato-1',
                '    paths: [ "~/sessions/(?<session>[^/]+)" ]',
            ],
        ),
    ],
)
def test_built_in_templates(kind: str, lines: list[str]) -> None:
    """The lines that matter are there."""
    text = rendered(kind, instance("kato-1", address="2001:db8::1", weight=2))
    present = {line.strip() for line in text.splitlines()}
    assert [line for line in lines if line.strip() not in present] == []
    assert "non_idempotent;" not in text


def test_files_for_envoy_and_kong_are_yaml_and_json() -> None:
    """With the instances where these read them."""
    instances = (instance("a"), instance("b", address="kato-b", port=8001, weight=3))
    kong = yaml.safe_load(rendered("kong", *instances, prefix="/kato", rate_limit=5))
    assert [one["target"] for one in kong["upstreams"][0]["targets"]] == [
        "10.0.0.1:8000",
        "kato-b:8001",
    ]
    assert kong["services"][0]["host"] == kong["upstreams"][0]["name"]
    assert kong["services"][0]["plugins"][1]["config"]["second"] == 5
    out = Path("/etc/envoy/kato.yaml")
    settings = Settings(trust_env=False)
    clusters, main = gateway_files(GATEWAYS["envoy"], out, GatewayOptions(), settings)
    pool = gateway_pool(Snapshot("kato", instances))
    bootstrap = yaml.safe_load(main.render(pool))
    source = bootstrap["dynamic_resources"]["cds_config"]["path_config_source"]["path"]
    assert source == str(clusters.placement.path) == "/etc/envoy/kato.clusters.json"
    (cluster,) = json.loads(clusters.render(pool))["resources"]
    assert cluster["ring_hash_lb_config"] == {"minimum_ring_size": 1022}
    endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert [one["load_balancing_weight"] for one in endpoints] == [1, 3]


TLS = Settings(
    trust_env=False,
    kato_cacert=Path("/etc/ca.pem"),
    kato_client_cert=Path("/etc/client.pem"),
    kato_client_key=Path("/etc/client.key"),
    kato_tls_server_name="kato.internal",
)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (
            "nginx",
            [
                "proxy_pass https://kato;",
                "proxy_ssl_verify on;",
                'proxy_ssl_trusted_certificate "/etc/ca.pem";',
                "proxy_ssl_name kato.internal;",
                'proxy_ssl_certificate_key "/etc/client.key";',
            ],
        ),
        (
            "haproxy",
            [
                "default-server ssl verify required ca-file '/etc/ca.pem' crt '/etc/client.pem'\n",
                "weight 1 sni str(kato.internal) verifyhost kato.internal\n",
            ],
        ),
        ("envoy", ['"filename": "/etc/ca.pem"', '"sni": "kato.internal"', "/etc/client.key"]),
        ("kong", ["protocol: https", "tls_verify: true"]),
    ],
)
def test_instances_with_https(kind: str, texts: list[str]) -> None:
    """With the CA and the client certificate of the settings; unverified only if these say so."""
    text = rendered(kind, instance("a", scheme="https"), settings=TLS)
    assert [one for one in texts if one not in text] == []


def test_nginx_with_https_needs_a_ca_file() -> None:
    """It has no way to use the system's, and would verify nothing."""
    with pytest.raises(ConfigurationError, match="KATO_CACERT"):
        rendered("nginx", instance("a", scheme="https"))
    unverified = Settings(trust_env=False, kato_verify=False)
    text = rendered("nginx", instance("a", scheme="https"), settings=unverified)
    assert "proxy_ssl_verify off;" in text


def test_keys_and_limits() -> None:
    """HAProxy compares hashes; the others cannot, and say what to do instead."""
    keys = (ApiKey("shop", "ab" * 32), ApiKey("odd\"'", "cd" * 32))
    text = rendered("haproxy", keys=keys, rate_limit=7)
    assert f"acl known var(txn.hash) -m str {'ab' * 32}" in text
    assert "{ sc_http_req_rate(0) gt 7 }" in text
    for kind in ("nginx", "envoy", "kong"):
        with pytest.raises(ConfigurationError, match="--to proxies"):
            rendered(kind, keys=keys)
    assert "rate=7r/s;" in rendered("nginx", rate_limit=7)
    with pytest.raises(ConfigurationError, match="counts all callers together"):
        rendered("envoy", rate_limit=7)


def test_names_in_a_configuration_follow_the_service() -> None:
    """So that the files of several services can be read by one gateway."""
    settings = Settings(trust_env=False, service="9-kato of a very long name; it is odd")
    text = rendered("nginx", settings=settings, listen=Listen("::", 80))
    assert "upstream kato_9_kato_" in text
    assert "listen [::]:80;" in text
