"""Identity of a proxy: which differences matter, and which do not."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from kato_consul import Settings
from kato_consul.proxy import ServerOptions
from kato_consul.proxy.server.identity import Identity

SELECTING: tuple[dict[str, Any], ...] = (
    {"consul_addr": "10.9.9.9:8500"},
    {"consul_addr": "127.0.0.1:8500/consul"},
    {"consul_ssl": True},
    {"namespace": "team-b"},
    {"partition": "part-b"},
    {"datacenter": "dc2"},
    {"tags": ("blue",)},
    {"meta": {"version": "3"}},
    {"filter": 'Service.Meta.version matches "^3"'},
    {"query": "nearest"},
    {"tagged_address": "wan"},
    {"port_name": "http"},
    {"when_all_critical": "use_all"},
    {"kato_urls": ("http://10.0.0.5:8000",)},
    {"kato_urls": ("http://10.0.0.5:8000",), "consul_addr": "127.0.0.1:8500"},
    {"kato_scheme": "https"},
    {"kato_path": "/inner"},
)
"""Settings with which a proxy may use other instances than with the defaults."""

NOT_SELECTING: tuple[dict[str, Any], ...] = (
    {"trust_env": False},
    {"consul_verify": False},
    {"consul_cacert": "ca.pem"},
    {"consul_capath": "cas"},
    {"consul_client_cert": "cert.pem", "consul_client_key": "key.pem"},
    {"consul_token": "secret"},
    {"consul_token_file": "token"},
    {"consul_auth": "user:secret"},
    {"consul_tls_server_name": "consul.test"},
    {"query_interval": 1.0},
    {"consistency": "stale"},
    {"agent_cache": True},
    {"state_dir": "state"},
    {"deadline": 60.0},
    {"attempt_timeout": 5.0},
    {"connect_timeout": 0.5},
    {"wait_for_instances": 0.0},
    {"keepalive": 2.0},
    {"engine": "httpx"},
    {"session_ttl": 60},
    {"zone": "a"},
    {"balancing": "random"},
    {"hedge": True},
    {"kato_verify": False},
    {"kato_cacert": "ca.pem"},
    {"kato_capath": "cas"},
    {"kato_client_cert": "cert.pem", "kato_client_key": "key.pem"},
    {"kato_tls_server_name": "kato.test"},
    {"kato_api_key": "secret"},
    {"kato_api_key_file": "token"},
    {"kato_api_key_header": "apikey"},
    {"kato_headers": {"x-tenant": "secret"}},
    {"journal": "digest"},
)
"""Settings that say how instances and Consul are reached and used, and not which they are. Secrets
are among them: they are never sent, also not hashed."""


def test_identity() -> None:
    """It can be sent without a secret, and a password may change."""
    options = ServerOptions(prefix="/kato")
    own = Identity.of(options, Settings(session_directory="redis://:old@10.0.0.1:6379/0"))
    assert Identity.decode(own.encode()) == own
    assert len(own.encode()) < 300
    assert b"10.0.0.1" not in own.encode()
    settings = Settings(session_directory="redis://shop:new@10.0.0.1:6379/0")
    assert Identity.of(options, settings) == own
    keyed = ServerOptions(prefix="/kato", api_keys=Path("keys"))
    assert Identity.of(keyed, settings).asks == "keys"


def test_other_versions() -> None:
    """A field that is added later is ignored. Without one that this version compares, or with
    another type, nothing is known."""
    own = identity()
    given = asdict(own)
    assert Identity.decode(json.dumps({**given, "added": {"later": [1]}}).encode()) == own
    for name in given:
        without = {one: value for one, value in given.items() if one != name}
        for other in (without, {**given, name: None}, {**given, name: 1}):
            assert Identity.decode(json.dumps(other).encode()) is None
    for encoded in (
        b"",
        b"{}",
        b"[]",
        b"no JSON",
        b"\xff",
        own.encode()[:-5],
        b'{"service":"\xff"}',
    ):
        assert Identity.decode(encoded) is None


def identity(**settings: Any) -> Identity:
    """Return the identity of a proxy with these settings; its session directory is in Redis."""
    directory = "redis://10.0.0.1"
    return Identity.of(ServerOptions(), Settings(**{"session_directory": directory, **settings}))


def differing(one: Identity, other: Identity) -> set[str]:
    """Return the names of the fields that differ."""
    return {name for name, value in asdict(one).items() if value != asdict(other)[name]}


def test_each_setting_is_placed() -> None:
    """A new one, too: does it decide which instances a proxy uses?"""
    elsewhere = {"service", "session_directory"}
    placed = {name for one in (*SELECTING, *NOT_SELECTING) for name in one}
    assert placed | elsewhere == {one.name for one in fields(Settings)}


@pytest.mark.parametrize("given", SELECTING, ids=str)
def test_settings_that_select_instances(given: dict[str, Any]) -> None:
    """Two proxies of one address have to agree on them."""
    assert differing(identity(**given), identity()) == {"instances"}


@pytest.mark.parametrize("given", NOT_SELECTING, ids=str)
def test_settings_that_may_differ(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart may change them."""
    monkeypatch.chdir(tmp_path)
    Path("token").write_text("secret")
    assert identity(**given) == identity()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"consul_addr": "127.0.0.1:8500"}),
        ({"consul_addr": "127.0.0.1:8500"}, {"consul_addr": "http://127.0.0.1:8500/"}),
        (
            {"consul_addr": "https://a:8501"},
            {"consul_addr": "A:8501", "consul_ssl": True},
        ),
        ({"consul_addr": "a:1,b:1"}, {"consul_addr": "b:1, a:1"}),
        ({"kato_urls": ("http://a:80", "http://b")}, {"kato_urls": ("http://B/", "http://a")}),
        ({"tags": ("a", "b")}, {"tags": ("b", "a")}),
        ({"meta": {"a": "1", "b": "2"}}, {"meta": {"b": "2", "a": "1"}}),
        ({"datacenter": "dc1,dc2"}, {"datacenter": "dc1, dc2"}),
        ({"namespace": ""}, {"namespace": None}),
        # Without Consul nothing selects.
        ({"kato_urls": ("http://a",)}, {"kato_urls": ("http://a",), "tags": ("blue",)}),
    ],
)
def test_same_instances(one: dict[str, Any], other: dict[str, Any]) -> None:
    """However they are written."""
    assert identity(**one) == identity(**other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("redis://h", "redis://h:6379/0", True),
        ("redis://h", "redis://H/?db=0", True),
        ("redis://h/3", "redis://h?db=3", True),
        ("redis://h/3?db=1", "redis://h/1", True),
        ("redis://old:a@h", "redis://new:b@h", True),
        ("rediss://h", "rediss://h?ssl_cert_reqs=none", True),
        ("redis://h?db=1", "redis://h?db=2", False),
        ("redis://h/1", "redis://h/2", False),
        ("redis://h", "redis://h:6380", False),
        ("redis://h", "rediss://h", False),
        ("redis://h", "consul", False),
        ("redis://h", None, False),
        ("consul", None, False),
    ],
)
def test_session_directories(one: str, other: str | None, same: bool) -> None:
    """A database of Redis is one of its own; who logs in does not matter."""
    differ = differing(identity(session_directory=one), identity(session_directory=other))
    assert differ == (set() if same else {"directory"})
