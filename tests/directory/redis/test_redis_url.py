"""Redis URLs: what is used of them, what is refused, and that a password stays secret."""

import sys

import pytest

from kato_consul._directory.redis_directory import RedisDirectory
from kato_consul._directory.redis_url import (
    check_redis,
    connection_options,
    outcome_of,
    redis_name,
    uses_tls,
)
from kato_consul._flow import RedisCommands, RedisRefused
from kato_consul._secret import Secret
from kato_consul.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "name", "login"),
    [
        ("redis://cache", "Redis at cache:6379/0", (None, None)),
        ("redis://cache:7000/3", "Redis at cache:7000/3", (None, None)),
        ("redis://:p%40ss@cache/", "Redis at cache:6379/0", (None, "p@ss")),
        ("redis://app:secret@10.0.0.1:7000/1", "Redis at 10.0.0.1:7000/1", ("app", "secret")),
        ("rediss://app:secret@[::1]:7000", "Redis at [::1]:7000/0", ("app", "secret")),
    ],
)
def test_what_a_url_says(url: str, name: str, login: tuple[str | None, str | None]) -> None:
    """Host, port and database are in the name; user and password are not."""
    options = connection_options(Secret(url))
    assert redis_name(Secret(url)) == name
    assert (options["username"], options["password"]) == login
    assert uses_tls(Secret(url)) == url.startswith("rediss")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://secret@cache", "has no scheme that is known"),
        ("redis://", "has no host"),
        ("redis://cache:0", "has a port or a part after '#' that cannot be used"),
        ("redis://cache/secret", "has a path that is not the number of a database"),
        ("redis://:sec#ret@cache", "has no host: .* as %XX"),
        ("redis://:secret@cache:port", "cannot be read"),
        ("redis://:secret@[cache", "cannot be read"),
        ("redis://cache?socket_timeout=1", "has the option socket_timeout: it may have those of"),
        ("redis://cache?ssl_ca_certs=/ca", "has the option ssl_ca_certs"),
    ],
)
def test_urls_that_cannot_be_used(url: str, why: str) -> None:
    """The error says why, and contains nothing of the URL's content."""
    with pytest.raises(ConfigurationError, match=why) as caught:
        RedisDirectory(Secret(url), "kato", "host:1")
    assert "secret" not in str(caught.value)
    assert "sec#" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_tls_options() -> None:
    """The name in a certificate is checked unless the URL says otherwise."""
    assert connection_options(Secret("rediss://cache"))["ssl_check_hostname"] is True
    options = connection_options(Secret("rediss://cache?ssl_ca_certs=/ca&ssl_check_hostname=no"))
    assert (options["ssl_ca_certs"], options["ssl_check_hostname"]) == ("/ca", False)


def test_password_is_in_no_repr() -> None:
    """Neither a step nor a directory shows the password."""
    url = Secret("redis://:hidden@cache")
    assert "hidden" not in repr(RedisCommands(url, (("SET", "a", "content"),), 1.0))
    assert "content" not in repr(RedisCommands(url, (("SET", "a", "content"),), 1.0))
    directory = RedisDirectory(url, "kato", "host:1")
    assert "hidden" not in repr(vars(directory)) + repr(vars(directory._calls))


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py, the error says how it is installed."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'kato-consul\[redis\]'"):
        check_redis(Secret("redis://cache"))


@pytest.mark.parametrize(
    ("kind", "text", "code"),
    [
        ("OutOfMemoryError", "command not allowed", "OOM"),
        ("NoScriptError", "No matching script", "NOSCRIPT"),
        ("ReadOnlyError", "You can't write against a read only replica.", "READONLY"),
        ("NoPermissionError", "this user has no permissions", "NOPERM"),
        ("BusyLoadingError", "Redis is loading the dataset in memory", "LOADING"),
        ("AuthenticationError", "Authentication required.", "NOAUTH"),
        ("ResponseError", "NOREPLICAS Not enough good replicas to write.", "NOREPLICAS"),
        ("ResponseError", "Error running script: @user_script:3: -OOM command not", "OOM"),
        ("ResponseError", "The user executing the script can't run this command", "NOPERM"),
        ("ResponseError", "unknown command", "ERR"),
    ],
)
def test_codes_of_refusals(kind: str, text: str, code: str) -> None:
    """The code of an error reply is known also where redis-py, or a script, hides it."""
    import redis.exceptions

    error = getattr(redis.exceptions, kind)(text)
    outcome = outcome_of(error, bytes_sent=True, cause=None)
    assert isinstance(outcome, RedisRefused)
    assert outcome.code == code
    assert outcome.message == text
