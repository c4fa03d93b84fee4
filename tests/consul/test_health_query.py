"""What is asked of Consul: filters, datacenters, how sure; and a text inside a filter."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.health_query import HealthQuery, health_queries, quoted
from kato_consul.errors import ConfigurationError
from kato_consul.settings import Settings

HEALTH, QUERY = "/v1/health/service/kato", "/v1/query/nearest/execute"


def asked(query: HealthQuery) -> tuple[str, list[tuple[str, str]]]:
    """The path and the parameters of the first request."""
    url = urlsplit(ConsulApi("http://consul.test:8500").query_health(query).send.target)
    return url.path, parse_qsl(url.query, keep_blank_values=True)


@pytest.mark.parametrize(
    ("given", "path", "parameters"),
    [
        ({}, HEALTH, []),
        ({"tags": ("a", "b&c")}, HEALTH, [("tag", "a"), ("tag", "b&c")]),
        ({"tags": "v3"}, HEALTH, [("tag", "v3")]),
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
def test_asked(given: dict[str, Any], path: str, parameters: list[tuple[str, str]]) -> None:
    """Each setting is the parameter that Consul's API documents for it."""
    (query,) = health_queries(Settings(**given))
    assert asked(query) == (path, parameters)


def test_datacenters() -> None:
    """Several datacenters are several questions, in their order."""
    east, west = health_queries(Settings(datacenter="east, west", tags=("v3",)))
    assert asked(east) == (HEALTH, [("tag", "v3"), ("dc", "east")])
    assert asked(west) == (HEALTH, [("tag", "v3"), ("dc", "west")])


@pytest.mark.parametrize(
    ("query", "cached", "headers"),
    [
        (None, False, {}),
        (None, True, {}),  # kept true by the agent: Cache-Control is ignored there
        ("nearest", False, {}),
        ("nearest", True, {"Cache-Control": "max-age=7"}),
    ],
)
def test_cache_control(query: str | None, cached: bool, headers: dict[str, str]) -> None:
    """The agent keeps a prepared query's answer for days unless told how old it may be."""
    settings = Settings(query=query, agent_cache=cached, query_interval=7.5)
    (asked,) = health_queries(settings)
    assert ConsulApi("http://consul.test:8500").query_health(asked).send.headers == headers


def test_query_is_escaped() -> None:
    """A query's name stays one segment of the path."""
    assert asked(HealthQuery("kato", query="a/b c"))[0] == "/v1/query/a%2Fb%20c/execute"


@pytest.mark.parametrize("given", [{"consistency": "stale"}, {"agent_cache": True}, {}])
def test_surely(given: dict[str, Any]) -> None:
    """What an empty answer is confirmed by is consistent and past the cache, whatever was set."""
    (query,) = health_queries(Settings(**given, tags=("v3",)))
    assert asked(query.consistent())[1] == [("tag", "v3"), ("consistent", "")]


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
def test_quoted(text: str, expected: str) -> None:
    """A text is put into those quotes that are not in it: Consul escapes nothing there."""
    assert quoted(text) == expected


@pytest.mark.parametrize("text", ['`"', "`\\", "`\n"])
def test_not_quotable(text: str) -> None:
    """A text with both kinds is refused: no quotes hold it."""
    with pytest.raises(ConfigurationError, match="cannot be used in a filter"):
        quoted(text)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (HealthQuery("kato"), ""),
        (HealthQuery("kato", tags=("v3",), datacenter="east"), " with tag 'v3' in east"),
        (HealthQuery("kato", filter="A == 1"), " where A == 1"),
        (HealthQuery("kato", query="nearest"), " by the prepared query 'nearest'"),
    ],
)
def test_words(query: HealthQuery, words: str) -> None:
    """What is looked for, for an error that says that there is nobody."""
    assert query.description == words
