"""Health queries: filters, datacenters, consistency, and quotes in filters."""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.health_query import (
    HealthQuery,
    HealthResponse,
    health_queries,
    quoted,
    read_response,
)
from kato_consul.errors import ConfigurationError
from kato_consul.models import Snapshot
from kato_consul.settings import Settings
from tests.building import reply, snapshot

HEALTH, QUERY = "/v1/health/service/kato", "/v1/query/nearest/execute"


def request_of(query: HealthQuery) -> tuple[str, list[tuple[str, str]]]:
    """Return the path and the parameters of the first request."""
    url = urlsplit(ConsulApi("http://consul.test:8500").query_health(query).send.target)
    return url.path, parse_qsl(url.query, keep_blank_values=True)


@pytest.mark.parametrize(
    ("given", "path", "parameters"),
    [
        ({}, HEALTH, []),
        ({"tags": ("a", "b&c")}, HEALTH, [("tag", "a"), ("tag", "b&c")]),
        ({"tags": ["v3"]}, HEALTH, [("tag", "v3")]),
        ({"meta": {"zone": "eu 1"}}, HEALTH, [("filter", 'Service.Meta["zone"] == "eu 1"')]),
        (
            {"meta": {"b": "2", "a": '"'}, "filter": "A == 1 or B == 2"},
            HEALTH,
            [
                (
                    "filter",
                    'Service.Meta["a"] == `"` and Service.Meta["b"] == "2" and (A == 1 or B == 2)',
                )
            ],
        ),
        ({"filter": "A == 1"}, HEALTH, [("filter", "A == 1")]),
        ({"datacenter": "east"}, HEALTH, [("dc", "east")]),
        ({"consistency": "stale"}, HEALTH, [("stale", "")]),
        ({"consistency": "consistent"}, HEALTH, [("consistent", "")]),
        ({"agent_cache": True}, HEALTH, [("cached", "")]),
        ({"agent_cache": True, "consistency": "stale"}, HEALTH, [("stale", ""), ("cached", "")]),
        ({"query": "nearest"}, QUERY, []),
        ({"query": "nearest", "datacenter": "east"}, QUERY, [("dc", "east")]),
        ({"query": "nearest", "consistency": "stale"}, QUERY, [("stale", "")]),
    ],
)
def test_setting_is_a_documented_parameter(
    given: dict[str, Any], path: str, parameters: list[tuple[str, str]]
) -> None:
    """Each setting is sent as the parameter that Consul's API documents."""
    (query,) = health_queries(Settings(**given))
    assert request_of(query) == (path, parameters)


def test_each_datacenter_has_a_query() -> None:
    """Several datacenters have one query each, in their order."""
    east, west = health_queries(Settings(datacenter="east, west", tags=("v3",)))
    assert request_of(east) == (HEALTH, [("tag", "v3"), ("dc", "east")])
    assert request_of(west) == (HEALTH, [("tag", "v3"), ("dc", "west")])


@pytest.mark.parametrize(
    ("query", "cached", "headers"),
    [
        (None, False, {}),
        (None, True, {}),  # the agent keeps this cache up to date, and ignores Cache-Control
        ("nearest", False, {}),
        ("nearest", True, {"Cache-Control": "max-age=7"}),
    ],
)
def test_cache_control_of_a_prepared_query(
    query: str | None, cached: bool, headers: dict[str, str]
) -> None:
    """Without Cache-Control the agent caches a prepared query's result for days."""
    settings = Settings(query=query, agent_cache=cached, query_interval=7.5)
    (health_query,) = health_queries(settings)
    assert ConsulApi("http://consul.test:8500").query_health(health_query).send.headers == headers


def test_name_of_a_prepared_query_is_escaped() -> None:
    """A query's name is one segment of the path."""
    assert (
        request_of(HealthQuery("kato", prepared_query="a/b c"))[0] == "/v1/query/a%2Fb%20c/execute"
    )


@pytest.mark.parametrize("given", [{"consistency": "stale"}, {"agent_cache": True}, {}])
def test_consistent_query_is_not_cached(given: dict[str, Any]) -> None:
    """The read that confirms an empty response is consistent and uncached, with any setting."""
    (query,) = health_queries(Settings(**given, tags=("v3",)))
    assert request_of(query.consistent())[1] == [("tag", "v3"), ("consistent", "")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eu-1", '"eu-1"'),
        ("", '""'),
        ("kätö & 1", '"kätö & 1"'),
        ('say "hi"', '`say "hi"`'),
        ("a\\b", "`a\\b`"),
        ("a`b", '"a`b"'),
        ("two\nlines", "`two\nlines`"),
    ],
)
def test_text_is_quoted_for_a_filter(text: str, expected: str) -> None:
    """A text is quoted with the quotes that it does not contain: Consul has no escapes."""
    assert quoted(text) == expected


@pytest.mark.parametrize("text", ['`"', "`\\", "`\n"])
def test_text_that_cannot_be_quoted_is_refused(text: str) -> None:
    """A text that neither kind of quotes can contain is refused."""
    with pytest.raises(ConfigurationError, match="cannot be used in a filter"):
        quoted(text)


@pytest.mark.parametrize(
    ("query", "description"),
    [
        (HealthQuery("kato"), ""),
        (HealthQuery("kato", tags=("v3",), datacenter="east"), " with tag 'v3' in east"),
        (HealthQuery("kato", filter="A == 1"), " where A == 1"),
        (HealthQuery("kato", prepared_query="nearest"), " by the prepared query 'nearest'"),
    ],
)
def test_description(query: HealthQuery, description: str) -> None:
    """The selection beyond the name, for the error that no instance can be used."""
    assert query.description == description


@pytest.mark.parametrize("last_filtered", [None, False, True])
@pytest.mark.parametrize(
    ("headers", "filtered"),
    [
        ({}, False),
        ({"x_consul_results_filtered_by_acls": "true"}, True),
        ({"x_consul_results_filtered_by_acls": "false"}, False),
    ],
)
def test_filtered_by_acls(
    headers: dict[str, str], filtered: bool, last_filtered: bool | None
) -> None:
    """Whether Consul left out instances is taken from each response, also from one that is not
    decoded again."""
    last = None
    if last_filtered is not None:
        before = replace(snapshot(), filtered=last_filtered)
        last = HealthResponse(before, 7, body=b"[]")

    def decode(index: int, body: bytes, decoded: object) -> Snapshot:
        assert last is None
        return snapshot()

    answer = reply(200, b"[]", x_consul_index="7", **headers)
    assert read_response(answer, decode, 0, last).snapshot.filtered is filtered
