"""Settings: addresses, environment variables, precedence and validation."""

import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from kato_consul._secret import Secret
from kato_consul.errors import ConfigurationError
from kato_consul.settings import ENGINES, Settings
from tests.environment import settings_of

HIDDEN = "b1gs8d1e-0000-hidden"
FORMS = (
    "use host:port, http://host:port, https://host:port, each with a path if a gateway needs one, "
    "or unix:///path, in CONSUL_HTTP_ADDR or --consul"
)


# --- addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("127.0.0.1:8500", "http://127.0.0.1:8500"),
        ("consul.test:8500", "http://consul.test:8500"),
        ("http://consul.test:8500", "http://consul.test:8500"),
        ("http://consul.test:8500/", "http://consul.test:8500"),
        ("https://consul.test:8501", "https://consul.test:8501"),
        ("consul.test", "http://consul.test:80"),
        ("http://consul.test", "http://consul.test:80"),
        ("https://consul.test", "https://consul.test:443"),
        ("[::1]:8500", "http://[::1]:8500"),
        ("http://[2001:db8::1]:8500", "http://[2001:db8::1]:8500"),
        ("https://[::1]", "https://[::1]:443"),
        ("unix:///run/consul.sock", "unix:///run/consul.sock"),
        ("http://fd00::5:8500", "http://[fd00::5]:8500"),
        ("http://[fe80::1%25eth0]:8500", "http://[fe80::1%eth0]:8500"),
        ("fd00::5:8500", "http://[fd00::5]:8500"),
        ("https://2001:db8:0:0:0:0:0:1:8501", "https://[2001:db8:0:0:0:0:0:1]:8501"),
        ("::1:8500", "http://[::1]:8500"),
    ],
)
def test_address_becomes_an_origin(address: str, origin: str) -> None:
    """Every form that Consul's tools accept becomes scheme, host and port, or a socket's path."""
    assert Settings(consul_addr=address).consul_origins == (origin,)


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("consul.test:8501", "https://consul.test:8501"),
        ("consul.test", "https://consul.test:443"),
        ("http://consul.test:8501", "https://consul.test:8501"),
        ("https://consul.test:8501", "https://consul.test:8501"),
        ("unix:///run/consul.sock", "unix:///run/consul.sock"),
    ],
)
def test_consul_ssl_makes_every_address_https(address: str, origin: str) -> None:
    """With ``consul_ssl`` an address with http is https, too."""
    assert Settings(consul_addr=address, consul_ssl=True).consul_origins == (origin,)


@pytest.mark.parametrize(
    ("address", "origin", "path"),
    [
        ("http://gateway.test:8080/consul", "http://gateway.test:8080", "/consul"),
        ("http://gateway.test:8080/consul/", "http://gateway.test:8080", "/consul"),
        ("gateway.test/a/b", "http://gateway.test:80", "/a/b"),
        ("https://[::1]/consul", "https://[::1]:443", "/consul"),
        ("http://fd00::5:8500/consul", "http://[fd00::5]:8500", "/consul"),
        ("http://gateway.test:8080/", "http://gateway.test:8080", ""),
    ],
)
def test_address_may_have_a_path(address: str, origin: str, path: str) -> None:
    """A gateway may serve Consul's API under a path, as for Consul's own client since 1.13."""
    assert Settings(consul_addr=address).consul_addresses == ((origin, path),)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://",
        ":8500",
        "ftp://consul.test:8500",
        "consul.test:port",
        "consul.test:99999",
        "http://consul.test:8500/ui#x",
        "http://consul.test:8500/a b",
        "http://consul.test:8500/über",
        "http://fd00::5",
        "fd00::5:",
        "fd00::xyz:8500",
        "con sul.test:8500",
        " consul.test:8500",
        "consul.test:8500\n",
        "consul\t.test:8500",
        "::1",
        "[::1",
        "/run/consul.sock",
        "unix://run/consul.sock",
    ],
)
def test_invalid_address_is_refused(address: str) -> None:
    """The message contains the invalid address and the valid forms."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(consul_addr=address)
    assert repr(address) in str(caught.value)
    assert str(caught.value).endswith(f": {FORMS}")


@pytest.mark.parametrize(
    "address",
    [
        f"http://me:{HIDDEN}@consul.test:8500",
        f"http://me:{HIDDEN}@consul.test:8500/path",
        f"me:{HIDDEN}@consul.test",
        f"{HIDDEN}@consul.test:port",
        f"http://consul.test:8500?token={HIDDEN}",
        f"consul.test:8500/?token={HIDDEN}",
        f"unix:///run/consul.sock?token={HIDDEN}",
    ],
)
def test_address_with_a_secret_is_refused_without_showing_it(address: str) -> None:
    """The message about a user, a password or a query in the address does not contain it."""
    makers: list[Callable[[], Settings]] = [
        lambda: Settings(consul_addr=address),
        lambda: settings_of({"CONSUL_HTTP_ADDR": address}),
    ]
    for make in makers:
        with pytest.raises(ConfigurationError, match="CONSUL_HTTP_TOKEN instead") as caught:
            make()
        assert HIDDEN not in f"{caught.value} {caught.value!r} {vars(caught.value)}"
        assert str(caught.value).endswith(FORMS)


def test_message_about_an_invalid_address_contains_the_variable() -> None:
    """The message contains the variable and its value."""
    with pytest.raises(ConfigurationError, match=r"'consul\.test:port' .* in CONSUL_HTTP_ADDR"):
        settings_of({"CONSUL_HTTP_ADDR": "consul.test:port"})


# --- tokens ---------------------------------------------------------------------------------

INVALID_TOKENS = [
    f"{HIDDEN}\n#old",
    f"{HIDDEN} old",
    f"{HIDDEN}\told",
    f"{HIDDEN}é",
    f"{HIDDEN}\x7f",
]


@pytest.mark.parametrize("token", [HIDDEN, f"  {HIDDEN}\n", Secret(HIDDEN)])
def test_token_is_kept_as_a_secret(token: Secret | str) -> None:
    """A token is kept as a `Secret`; spaces around a text are removed."""
    settings = Settings(consul_token=token)
    assert settings.token == settings.consul_token == Secret(HIDDEN)


@pytest.mark.parametrize("token", [None, "", "  ", Secret("")])
def test_empty_token_is_none(token: Secret | str | None) -> None:
    """An empty token counts as no token."""
    assert not Settings(consul_token=token).token


@pytest.mark.parametrize("token", INVALID_TOKENS)
def test_token_that_a_header_cannot_carry_is_refused(token: str, tmp_path: Path) -> None:
    """Such a token is refused from any source. The message does not contain it."""
    (tmp_path / "token").write_text(token, encoding="utf-8")
    makers: list[Callable[[], Settings]] = [
        lambda: Settings(consul_token=token),
        lambda: Settings(consul_token=Secret(token)),
        lambda: settings_of({"CONSUL_HTTP_TOKEN": token}),
        lambda: settings_of({"CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token")}),
    ]
    for make in makers:
        with pytest.raises(ConfigurationError, match="the Consul token contains a space") as caught:
            make()
        assert HIDDEN not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize(("token", "kind"), [(HIDDEN.encode(), "bytes"), (12345, "int")])
def test_token_of_another_type_is_refused(token: Any, kind: str) -> None:
    """The message contains the type, not the token."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(consul_token=token)
    assert str(caught.value) == f"consul_token must be text, not {kind}"


# --- the environment ------------------------------------------------------------------------


def test_defaults_without_variables() -> None:
    """The defaults: the local agent, no token, the service ``kato``."""
    settings = settings_of({})
    assert (settings.consul_origins[0], settings.token, settings.service) == (
        "http://127.0.0.1:8500",
        Secret(""),
        "kato",
    )


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("CONSUL_HTTP_ADDR", "consul.test:8500", "consul_addr", "consul.test:8500"),
        ("CONSUL_HTTP_SSL", "true", "consul_ssl", True),
        ("CONSUL_HTTP_SSL_VERIFY", "false", "consul_verify", False),
        ("CONSUL_CACERT", "/tls/ca.pem", "consul_cacert", Path("/tls/ca.pem")),
        ("CONSUL_CAPATH", "/tls", "consul_capath", Path("/tls")),
        ("CONSUL_HTTP_TOKEN", HIDDEN, "token", Secret(HIDDEN)),
        ("CONSUL_HTTP_TOKEN", f" {HIDDEN}\n", "token", Secret(HIDDEN)),
        ("CONSUL_HTTP_AUTH", "me:hidden", "auth", Secret("me:hidden")),
        (
            "CONSUL_TLS_SERVER_NAME",
            "server.dc1.consul",
            "consul_tls_server_name",
            "server.dc1.consul",
        ),
        ("CONSUL_NAMESPACE", "team", "namespace", "team"),
        ("CONSUL_PARTITION", "west", "partition", "west"),
        ("KATO_CONSUL_SERVICE", "memory", "service", "memory"),
        ("KATO_CONSUL_STATE_DIR", "/var/lib/app", "state_dir", Path("/var/lib/app")),
        ("KATO_URL", "http://kato:8000", "kato_urls", ("http://kato:8000",)),
        (
            "KATO_URL",
            "http://a:1, http://b:2 http://c",
            "kato_urls",
            ("http://a:1", "http://b:2", "http://c"),
        ),
    ],
)
def test_variable_sets_its_setting(variable: str, text: str, name: str, value: object) -> None:
    """Each variable sets one setting."""
    assert getattr(settings_of({variable: text}), name) == value


def test_client_certificate_and_key_from_variables() -> None:
    """The client certificate and its key are set by two variables."""
    settings = settings_of({"CONSUL_CLIENT_CERT": "c.pem", "CONSUL_CLIENT_KEY": "k.pem"})
    assert (settings.consul_client_cert, settings.consul_client_key) == (
        Path("c.pem"),
        Path("k.pem"),
    )


@pytest.mark.parametrize(
    "variable",
    [
        "CONSUL_HTTP_ADDR",
        "CONSUL_HTTP_SSL",
        "CONSUL_HTTP_SSL_VERIFY",
        "CONSUL_CACERT",
        "CONSUL_CAPATH",
        "CONSUL_CLIENT_CERT",
        "CONSUL_CLIENT_KEY",
        "CONSUL_HTTP_TOKEN",
        "CONSUL_HTTP_TOKEN_FILE",
        "CONSUL_HTTP_AUTH",
        "CONSUL_TLS_SERVER_NAME",
        "CONSUL_NAMESPACE",
        "CONSUL_PARTITION",
        "KATO_CONSUL_SERVICE",
        "KATO_CONSUL_STATE_DIR",
        "KATO_URL",
    ],
)
def test_empty_variable_is_ignored(variable: str) -> None:
    """An empty variable is ignored, as in Consul's own tools."""
    assert settings_of({variable: ""}) == settings_of({})


def test_settings_in_code_are_merged_with_the_environment() -> None:
    """What is not given in code is read from the environment; what is given wins, also None."""
    environ = {"CONSUL_HTTP_ADDR": "env.test:8500", "CONSUL_HTTP_TOKEN": HIDDEN}
    merged = settings_of(environ, deadline=2)
    assert (merged.consul_addr, merged.token, merged.deadline) == (
        "env.test:8500",
        Secret(HIDDEN),
        2,
    )
    given = settings_of(environ, consul_addr=None, consul_token=None)
    assert (given.consul_addr, given.token) == (None, Secret(""))


def test_environment_is_read_at_construction_only() -> None:
    """A copy with one other setting keeps those that were read, and reads no variable again."""
    settings = settings_of({"CONSUL_HTTP_ADDR": "env.test:8500"})
    with mock.patch.dict(os.environ, {"CONSUL_HTTP_ADDR": "b.test:1", "KATO_CONSUL_ZONE": "z"}):
        copy = replace(settings, service="search")
    assert (copy.consul_addr, copy.zone, copy.service) == ("env.test:8500", "", "search")


def test_trust_env_false_reads_no_variable() -> None:
    """With ``trust_env=False`` only the settings in code count."""
    environ = {"CONSUL_HTTP_ADDR": "env.test:8500", "CONSUL_HTTP_TOKEN_FILE": "/nowhere/token"}
    settings = settings_of(environ, trust_env=False)
    assert settings == replace(settings_of({}), trust_env=False)


def test_signature_names_the_variables() -> None:
    """``help(Settings)`` shows each setting's variable and its default."""
    assert "service: 'str' = $KATO_CONSUL_SERVICE or 'kato'" in str(
        inspect.signature(Settings)
    ).replace("service: str", "service: 'str'")


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true_values(text: str) -> None:
    """The values that Go's ParseBool parses as true."""
    assert settings_of({"CONSUL_HTTP_SSL": text}).consul_ssl is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_false_values(text: str) -> None:
    """The values that Go's ParseBool parses as false."""
    assert settings_of({"CONSUL_HTTP_SSL_VERIFY": text}).consul_verify is False


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"CONSUL_HTTP_SSL": "yes"}, "CONSUL_HTTP_SSL must be true or false, not 'yes'"),
        ({"CONSUL_HTTP_SSL_VERIFY": "no"}, "CONSUL_HTTP_SSL_VERIFY must be true or false"),
        (
            {"CONSUL_HTTP_TOKEN_FILE": "/nowhere/token"},
            "(CONSUL_HTTP_TOKEN_FILE): cannot read /nowhere/token: No such file",
        ),
        ({"CONSUL_CLIENT_CERT": "c.pem"}, "CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY"),
        ({"CONSUL_CLIENT_KEY": "k.pem"}, "CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY"),
    ],
)
def test_invalid_variable_is_refused(environ: dict[str, str], text: str) -> None:
    """The message about an invalid value contains the variable's name."""
    with pytest.raises(ConfigurationError) as caught:
        settings_of(environ)
    assert text in str(caught.value)


# --- precedence -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "file", "env", "token"),
    [
        ("code", "file", "env", "code"),
        ("code", None, "env", "code"),
        (None, "file", "env", "file"),
        (None, "file", None, "file"),
        (None, "", "env", "env"),
        (None, " ", "env", "env"),
        (None, "", None, ""),
        (None, None, "env", "env"),
        (None, None, None, ""),
        ("", "file", "env", ""),
    ],
)
def test_token_precedence(
    tmp_path: Path, code: str | None, file: str | None, env: str | None, token: str
) -> None:
    """Precedence: code, then the file, then the variable. An empty file is ignored."""
    environ = {}
    if file is not None:
        (tmp_path / "token").write_text(f"{file}\n", encoding="utf-8")
        environ["CONSUL_HTTP_TOKEN_FILE"] = str(tmp_path / "token")
    if env is not None:
        environ["CONSUL_HTTP_TOKEN"] = env
    given = {} if code is None else {"consul_token": code}
    assert settings_of(environ, **given).token == Secret(token)


def test_code_takes_precedence_over_the_environment() -> None:
    """A setting given in code takes precedence, also False."""
    environ = {"CONSUL_HTTP_ADDR": "env.test:1", "CONSUL_HTTP_SSL": "true"}
    settings = settings_of(environ, consul_addr="code.test:2", consul_ssl=False)
    assert settings.consul_origins == ("http://code.test:2",)


@pytest.mark.parametrize(
    ("environ", "given"),
    [
        ({"CONSUL_HTTP_TOKEN_FILE": "/nowhere/token"}, {"consul_token": "code"}),
        ({"CONSUL_HTTP_TOKEN_FILE": "/nowhere/token"}, {"consul_token": ""}),
        ({"CONSUL_HTTP_TOKEN": "a b"}, {"consul_token": "code"}),
        ({"CONSUL_HTTP_SSL": "yes"}, {"consul_ssl": False}),
        ({"CONSUL_HTTP_ADDR": "me:hidden@consul.test"}, {"consul_addr": "code.test:2"}),
    ],
)
def test_variable_of_a_setting_given_in_code_is_not_parsed(
    environ: dict[str, str], given: dict[str, Any]
) -> None:
    """An invalid variable does not matter for a setting that is given in code."""
    assert settings_of(environ, **given) == settings_of({}, **given)


# --- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["deadline", "attempt_timeout", "connect_timeout", "keepalive", "query_interval"]
)
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), 1e7, "10", None])
def test_time_that_is_not_above_0_is_refused(name: str, value: Any) -> None:
    """The message contains the setting and the value."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(**{name: value})
    text = f"{name} must be seconds above 0 and up to 1,000,000, not {value!r}"
    assert str(caught.value) == text


@pytest.mark.parametrize("value", [0, -1, 1.5, "60", 10**7])
def test_session_ttl_that_is_not_whole_seconds_above_0_is_refused(value: Any) -> None:
    """The message contains the value."""
    with pytest.raises(ConfigurationError, match=f"session_ttl must be .*, not {value!r}"):
        Settings(session_ttl=value)


@pytest.mark.parametrize("name", ["tags", "kato_urls"])
@pytest.mark.parametrize("value", ["v3", (3,), [None]])
def test_list_that_is_no_list_of_texts_is_refused(name: str, value: Any) -> None:
    """A text instead of a list would make each of its letters an entry."""
    with pytest.raises(ConfigurationError, match=f"{name} must be a tuple of texts"):
        Settings(**{name: value})


@pytest.mark.parametrize(
    "given",
    [
        {"consul_addr": [HIDDEN]},
        {"consul_token_file": 3},
        {"consul_auth": 3},
        {"consul_ssl": "false"},
        {"trust_env": "no"},
        {"service": None},
        {"datacenter": ["east", "west"]},
        {"tags": None},
        {"kato_urls": None},
        {"meta": ["zone"]},
        {"meta": {"zone": 1}},
        {"filter": None},
        {"tagged_address": None},
        {"port_name": 80},
        {"zone": None},
        {"kato_path": None},
        {"kato_tls_server_name": b"kato"},
    ],
    ids=str,
)
def test_value_of_another_type_is_refused(given: dict[str, Any]) -> None:
    """At construction, with the setting's name, and without a value that may be secret."""
    (name,) = given
    with pytest.raises(ConfigurationError, match=f"^{name} must be") as caught:
        Settings(**given)
    assert HIDDEN not in str(caught.value)


def test_settings_can_be_pickled(tmp_path: Path) -> None:
    """With their secrets, but without the content of files. In another process the token file is
    read when they are loaded: a missing one is told there."""
    path = tmp_path / "token"
    path.write_text(HIDDEN)
    settings = Settings(consul_token_file=path, consul_auth="user:password")
    pickled = pickle.dumps(settings)
    assert HIDDEN.encode() not in pickled
    assert pickle.loads(pickled) == settings
    path.unlink()
    code = "import pickle, sys; pickle.load(sys.stdin.buffer)"
    loaded = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True)
    assert b"ConfigurationError: consul_token_file" in loaded.stderr


def test_path_may_be_text(tmp_path: Path) -> None:
    """As in a configuration file."""
    (tmp_path / "token").write_text("abc")
    given: dict[str, Any] = {
        "consul_token_file": f"{tmp_path}/token",
        "state_dir": str(tmp_path),
        "kato_cacert": f"{tmp_path}/ca",
    }
    settings = Settings(**given)
    assert settings.token == Secret("abc")
    assert (settings.state_dir, settings.kato_cacert) == (tmp_path, tmp_path / "ca")


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e7, "10"])
def test_wait_for_instances_that_is_no_time_is_refused(value: Any) -> None:
    """The message contains the setting, the value and what None means."""
    with pytest.raises(ConfigurationError, match=r"wait_for_instances .*None for the whole"):
        Settings(wait_for_instances=value)


@pytest.mark.parametrize("value", [0, 0.5, 30, None])
def test_wait_for_instances(value: float | None) -> None:
    """It may be 0, and None."""
    assert Settings(wait_for_instances=value).wait_for_instances == value


def test_empty_service_is_refused() -> None:
    """The service must have a name."""
    with pytest.raises(ConfigurationError, match="service"):
        Settings(service="")


def test_unknown_setting_is_refused() -> None:
    """A setting that does not exist is refused. The message contains its name."""
    with pytest.raises(TypeError, match="consul_adr"):
        settings_of({}, consul_adr="y")


def test_settings_cannot_be_changed() -> None:
    """Settings are immutable."""
    with pytest.raises(FrozenInstanceError):
        Settings().deadline = 1.0  # type: ignore[misc]


def test_unknown_engine_is_refused() -> None:
    """``engine`` must be one of `ENGINES`."""
    assert {Settings(engine=name).engine for name in ENGINES} == set(ENGINES)
    with pytest.raises(ConfigurationError, match="httptools, httpx, not 'curl'"):
        Settings(engine="curl")


# --- agents and queries ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "origins"),
    [
        (None, ("http://127.0.0.1:8500",)),
        ("a.test:1", ("http://a.test:1",)),
        (
            "a.test:1,https://b.test, unix:///c",
            ("http://a.test:1", "https://b.test:443", "unix:///c"),
        ),
    ],
)
def test_several_agents_are_separated_by_commas(
    address: str | None, origins: tuple[str, ...]
) -> None:
    """Each agent may be in any form."""
    settings = Settings(consul_addr=address)
    assert settings.consul_origins == origins


@pytest.mark.parametrize("address", ["a.test:1,", ",", "a.test:1,,b.test:1", "a.test:1,b test"])
def test_one_invalid_agent_is_refused(address: str) -> None:
    """Every agent's address must be valid."""
    with pytest.raises(ConfigurationError, match=FORMS):
        Settings(consul_addr=address)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, True),
        ({"CONSUL_HTTP_ADDR": "127.0.0.1:8500"}, True),
        ({"KATO_URL": "http://kato:8000"}, False),
        ({"KATO_URL": "http://kato:8000", "CONSUL_HTTP_ADDR": "127.0.0.1:8500"}, True),
        ({"KATO_URL": "http://kato:8000", "CONSUL_HTTP_TOKEN": "x"}, False),
    ],
)
def test_uses_consul(environ: dict[str, str], expected: bool) -> None:
    """With a static list and no address of Consul, Consul is not used: the instances of a local
    agent are different ones."""
    assert settings_of(environ).uses_consul is expected


@pytest.mark.parametrize(
    ("datacenter", "expected"),
    [(None, (None,)), ("", (None,)), ("east", ("east",)), ("east, west", ("east", "west"))],
)
def test_datacenters_are_separated_by_commas(
    datacenter: str | None, expected: tuple[str | None, ...]
) -> None:
    """Without a datacenter it is the agent's own."""
    assert Settings(datacenter=datacenter).datacenters == expected


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"consistency": "strong"}, "consistency must be one of default, stale, consistent"),
        ({"when_all_critical": "panic"}, "when_all_critical must be one of fail, use_all"),
        ({"agent_cache": True, "consistency": "consistent"}, "contradict each other"),
        ({"query": "q", "tags": ("a",)}, "query and tags cannot be combined"),
        ({"query": "q", "meta": {"a": "b"}}, "query and meta cannot be combined"),
        ({"query": "q", "filter": "A == 1"}, "query and filter cannot be combined"),
        ({"query": "q", "datacenter": "a,b"}, "query and several datacenters"),
        ({"datacenter": "a,"}, "datacenter 'a,' contains an empty name"),
    ],
)
def test_contradicting_settings_are_refused(given: dict[str, Any], text: str) -> None:
    """What Consul would refuse or ignore is refused here. The message contains the reason."""
    with pytest.raises(ConfigurationError, match=text):
        Settings(**given)


@pytest.mark.parametrize(
    "url",
    [
        "kato:8000",
        "http://",
        "ftp://kato:8000",
        "http://kato:port",
        "http://kato:0",
        "http://ka to:8000",
        "http://kato?x",
        "http://kato#x",
        "",
        "unix:///kato",
    ],
)
def test_invalid_instance_address_is_refused(url: str) -> None:
    """An instance's address is scheme, host, port and path; any other part would be ignored."""
    with pytest.raises(ConfigurationError, match=r"use http://host:port .* in KATO_URL") as caught:
        Settings(kato_urls=(url,))
    assert repr(url) in str(caught.value)


def test_instance_address_with_a_password_is_refused_without_showing_it() -> None:
    """The message does not contain the password."""
    with pytest.raises(ConfigurationError) as caught:
        settings_of({"KATO_URL": f"http://me:{HIDDEN}@kato:8000"})
    assert HIDDEN not in str(caught.value)


# --- session directory ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [7, True, b"consul", "Consul", f"http://ann:{HIDDEN}@h/0"])
def test_session_directory_that_is_none_is_refused(value: Any) -> None:
    """The error names the setting, and what it may be, without the value, which may be secret."""
    with pytest.raises(ConfigurationError, match=r"^session_directory .* must be consul") as caught:
        Settings(session_directory=value, trust_env=False)
    assert HIDDEN not in str(caught.value)
