"""Settings: addresses, Consul's variables, and who wins."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from kato_consul._secret import Secret
from kato_consul.errors import ConfigurationError
from kato_consul.settings import ENGINES, Settings

HIDDEN = "b1gs8d1e-0000-hidden"
FORMS = (
    "use host:port, http://host:port, https://host:port or unix:///path, "
    "in CONSUL_HTTP_ADDR or --consul"
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
    ],
)
def test_address(address: str, origin: str) -> None:
    """Every form Consul's tools take becomes scheme, host and port, or a socket's path."""
    assert Settings(consul_addr=address).consul_origin == origin


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
def test_address_with_ssl(address: str, origin: str) -> None:
    """TLS that was asked for is never taken back by an address that says http."""
    assert Settings(consul_addr=address, consul_ssl=True).consul_origin == origin


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://",
        ":8500",
        "ftp://consul.test:8500",
        "consul.test:port",
        "consul.test:99999",
        "http://consul.test:8500/ui",
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
def test_bad_address(address: str) -> None:
    """An address that cannot be used is refused, with itself and the forms that would do."""
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
def test_secret_in_address(address: str) -> None:
    """A user, a password or a query in the address is refused, and not repeated."""
    makers: list[Callable[[], Settings]] = [
        lambda: Settings(consul_addr=address),
        lambda: Settings.from_env({"CONSUL_HTTP_ADDR": address}),
    ]
    for make in makers:
        with pytest.raises(ConfigurationError, match="CONSUL_HTTP_TOKEN instead") as caught:
            make()
        assert HIDDEN not in f"{caught.value} {caught.value!r} {vars(caught.value)}"
        assert str(caught.value).endswith(FORMS)


def test_bad_address_in_the_environment() -> None:
    """An address from the environment is refused with the variable's name, too."""
    with pytest.raises(ConfigurationError, match=r"'consul\.test:port' .* in CONSUL_HTTP_ADDR"):
        Settings.from_env({"CONSUL_HTTP_ADDR": "consul.test:port"})


# --- tokens ---------------------------------------------------------------------------------

BAD_TOKENS = [f"{HIDDEN}\n#old", f"{HIDDEN} old", f"{HIDDEN}\told", f"{HIDDEN}é", f"{HIDDEN}\x7f"]


@pytest.mark.parametrize("token", [HIDDEN, f"  {HIDDEN}\n", Secret(HIDDEN)])
def test_token(token: Secret | str) -> None:
    """A token is kept as a secret however it was given; blanks around a text are no part of it."""
    settings = Settings(consul_token=token)
    assert settings.token == settings.consul_token == Secret(HIDDEN)


@pytest.mark.parametrize("token", [None, "", "  ", Secret("")])
def test_no_token(token: Secret | str | None) -> None:
    """An empty token is none."""
    assert not Settings(consul_token=token).token


@pytest.mark.parametrize("token", BAD_TOKENS)
def test_bad_token(token: str, tmp_path: Path) -> None:
    """A token that cannot travel in a header is refused, wherever it is from, and not repeated."""
    (tmp_path / "token").write_text(token, encoding="utf-8")
    makers: list[Callable[[], Settings]] = [
        lambda: Settings(consul_token=token),
        lambda: Settings(consul_token=Secret(token)),
        lambda: Settings.from_env({"CONSUL_HTTP_TOKEN": token}),
        lambda: Settings.from_env({"CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token")}),
    ]
    for make in makers:
        with pytest.raises(ConfigurationError, match="the Consul token contains a space") as caught:
            make()
        assert HIDDEN not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize(("token", "kind"), [(HIDDEN.encode(), "bytes"), (12345, "int")])
def test_token_is_text(token: Any, kind: str) -> None:
    """A token of another type is refused by that type, and not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(consul_token=token)
    assert str(caught.value) == f"consul_token must be text, not {kind}"


# --- the environment ------------------------------------------------------------------------


def test_defaults() -> None:
    """Without a word from anybody: the local agent, no token, the service called kato."""
    settings = Settings.from_env({})
    assert settings == Settings()
    assert (settings.consul_origin, settings.token, settings.service) == (
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
def test_variable(variable: str, text: str, name: str, value: object) -> None:
    """Each variable is read into its setting."""
    assert getattr(Settings.from_env({variable: text}), name) == value


def test_client_certificate() -> None:
    """Our own certificate and its key come from their variables together."""
    settings = Settings.from_env({"CONSUL_CLIENT_CERT": "c.pem", "CONSUL_CLIENT_KEY": "k.pem"})
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
def test_empty_variable(variable: str) -> None:
    """An empty variable is as good as none, as for Consul's own tools."""
    assert Settings.from_env({variable: ""}) == Settings()


def test_real_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping it is the process's own environment that is read."""
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "consul.test:8500")
    assert Settings.from_env().consul_addr == "consul.test:8500"


def test_only_from_env_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings made in code take nothing from the environment."""
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "consul.test:8500")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", HIDDEN)
    assert (Settings().consul_address, Settings().token) == ("127.0.0.1:8500", Secret(""))


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_flag_true(text: str) -> None:
    """All that Go's ParseBool calls true is true."""
    assert Settings.from_env({"CONSUL_HTTP_SSL": text}).consul_ssl is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_flag_false(text: str) -> None:
    """All that Go's ParseBool calls false is false."""
    assert Settings.from_env({"CONSUL_HTTP_SSL_VERIFY": text}).consul_verify is False


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"CONSUL_HTTP_SSL": "yes"}, "CONSUL_HTTP_SSL must be true or false, not 'yes'"),
        ({"CONSUL_HTTP_SSL_VERIFY": "no"}, "CONSUL_HTTP_SSL_VERIFY must be true or false"),
        (
            {"CONSUL_HTTP_TOKEN_FILE": "/nowhere/token"},
            "CONSUL_HTTP_TOKEN_FILE: cannot read /nowhere/token: No such file",
        ),
        ({"CONSUL_CLIENT_CERT": "c.pem"}, "CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY"),
        ({"CONSUL_CLIENT_KEY": "k.pem"}, "CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY"),
    ],
)
def test_bad_variable(environ: dict[str, str], said: str) -> None:
    """A value that cannot be used is told with the variable's name."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env(environ)
    assert said in str(caught.value)


# --- who wins -------------------------------------------------------------------------------


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
    """A token in code wins over one in a file, and that over a variable; an empty file is none."""
    environ = {}
    if file is not None:
        (tmp_path / "token").write_text(f"{file}\n", encoding="utf-8")
        environ["CONSUL_HTTP_TOKEN_FILE"] = str(tmp_path / "token")
    if env is not None:
        environ["CONSUL_HTTP_TOKEN"] = env
    assert Settings.from_env(environ, consul_token=code).token == Secret(token)


def test_given_wins() -> None:
    """What is given in code wins over the environment; None is not given; False is."""
    environ = {"CONSUL_HTTP_ADDR": "env.test:1", "CONSUL_HTTP_SSL": "true"}
    settings = Settings.from_env(environ, consul_addr="code.test:2", consul_ssl=False)
    assert settings.consul_origin == "http://code.test:2"
    assert Settings.from_env(environ, consul_addr=None).consul_addr == "env.test:1"


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
def test_given_is_not_read(environ: dict[str, str], given: dict[str, Any]) -> None:
    """A setting given in code does not fail for what is wrong with its variable."""
    assert Settings.from_env(environ, **given) == Settings(**given)


# --- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["deadline", "attempt_timeout", "connect_timeout", "keepalive", "query_interval"]
)
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), "10", None])
def test_bad_seconds(name: str, value: Any) -> None:
    """Times are seconds above 0; the error names the setting and the value."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(**{name: value})
    assert str(caught.value) == f"{name} must be seconds above 0, not {value!r}"


def test_no_service() -> None:
    """The service needs a name."""
    with pytest.raises(ConfigurationError, match="service"):
        Settings(service="")


def test_unknown_setting() -> None:
    """A setting that does not exist is refused by name, not ignored."""
    with pytest.raises(ConfigurationError, match="no such setting: consul_adr, tokn"):
        Settings.from_env({}, tokn="x", consul_adr="y")


def test_frozen() -> None:
    """Settings do not change."""
    with pytest.raises(FrozenInstanceError):
        Settings().deadline = 1.0  # type: ignore[misc]


def test_engine() -> None:
    """Only the engines there are can be named."""
    assert {Settings(engine=name).engine for name in ENGINES} == set(ENGINES)
    with pytest.raises(ConfigurationError, match="httptools, httpx, not 'curl'"):
        Settings(engine="curl")


# --- whom to ask, and for what --------------------------------------------------------------


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
def test_several_agents(address: str | None, origins: tuple[str, ...]) -> None:
    """Several agents are listed with commas, each in any form."""
    settings = Settings(consul_addr=address)
    assert (settings.consul_origins, settings.consul_origin) == (origins, origins[0])


@pytest.mark.parametrize("address", ["a.test:1,", ",", "a.test:1,,b.test:1", "a.test:1,b test"])
def test_bad_agent_among_others(address: str) -> None:
    """Each of them has to be usable."""
    with pytest.raises(ConfigurationError, match=FORMS):
        Settings(consul_addr=address)


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, True),
        ({"CONSUL_HTTP_ADDR": "127.0.0.1:8500"}, True),
        ({"KATO_URL": "http://kato:8000"}, False),
        ({"KATO_URL": "http://kato:8000", "CONSUL_HTTP_ADDR": "127.0.0.1:8500"}, True),
        ({"KATO_URL": "http://kato:8000", "CONSUL_HTTP_TOKEN": "x"}, False),
    ],
)
def test_is_consul_asked(environ: dict[str, str], asked: bool) -> None:
    """Who gives instances and no Consul has none: the agent that the machine may have is not
    asked, since its instances are others."""
    assert Settings.from_env(environ).uses_consul is asked


@pytest.mark.parametrize(
    ("datacenter", "expected"),
    [(None, (None,)), ("", (None,)), ("east", ("east",)), ("east, west", ("east", "west"))],
)
def test_datacenters(datacenter: str | None, expected: tuple[str | None, ...]) -> None:
    """Several datacenters are listed with commas; none is the agent's own."""
    assert Settings(datacenter=datacenter).datacenters == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"consistency": "strong"}, "consistency must be one of default, stale, consistent"),
        ({"agent_cache": True, "consistency": "consistent"}, "contradict each other"),
        ({"query": "q", "tags": ("a",)}, "query and tags cannot be combined"),
        ({"query": "q", "meta": {"a": "b"}}, "query and meta cannot be combined"),
        ({"query": "q", "filter": "A == 1"}, "query and filter cannot be combined"),
        ({"query": "q", "datacenter": "a,b"}, "query and several datacenters"),
        ({"datacenter": "a,"}, "datacenter 'a,' contains an empty name"),
    ],
)
def test_what_contradicts(given: dict[str, Any], said: str) -> None:
    """What Consul would refuse, or ignore, is refused here, with the reason."""
    with pytest.raises(ConfigurationError, match=said):
        Settings(**given)


@pytest.mark.parametrize(
    "url",
    [
        "kato:8000",
        "https://kato:8000",
        "http://",
        "http://kato:8000/api",
        "http://kato:port",
        "http://kato:0",
        "http://ka to:8000",
        "http://kato?x",
        "http://kato#x",
        "",
        "unix:///kato",
    ],
)
def test_bad_instance(url: str) -> None:
    """An instance is scheme, host and port: what else there is would be ignored."""
    with pytest.raises(ConfigurationError, match="use http://host:port, in KATO_URL") as caught:
        Settings(kato_urls=(url,))
    assert repr(url) in str(caught.value)


def test_secret_in_an_instance() -> None:
    """A password in it is refused, and not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env({"KATO_URL": f"http://me:{HIDDEN}@kato:8000"})
    assert HIDDEN not in str(caught.value)
